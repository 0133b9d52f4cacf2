import type { Entry } from "./credential.ts";

/**
 * The machines of a netrc file, by name, each with its first login. As rattler reads it, `default` is for nobody: it would
 * send a password to any host. Macros and comments are passed over; words may be quoted, as curl has them.
 */
export function parseNetrc(text: string): Map<string, Entry> {
  const machines = new Map<string, Entry>();
  let machine: { name: string; username: string; password: string } | undefined;
  const end = () => {
    if (machine && machine.name !== "" && !machines.has(machine.name)) {
      const { name, username, password } = machine;
      machines.set(name, { kind: "basic", username, password });
    }
    machine = undefined;
  };
  let inMacro = false;
  for (const line of text.split(/\r?\n/)) {
    if (inMacro) {
      inMacro = line.trim() !== "";
      continue;
    }
    const words = wordsOf(line);
    for (let i = 0; i < words.length; i++) {
      const word = words[i] as string;
      if (word === "machine") {
        end();
        machine = { name: (words[++i] ?? "").toLowerCase(), username: "", password: "" };
      } else if (word === "default") {
        end();
      } else if (word === "macdef") {
        end();
        inMacro = true;
        break;
      } else if (word === "login" || word === "user") {
        const username = words[++i] ?? "";
        if (machine) machine.username = username;
      } else if (word === "password") {
        const password = words[++i] ?? "";
        if (machine) machine.password = password;
      } else if (word === "account") i++;
    }
  }
  end();
  return machines;
}

function wordsOf(line: string): string[] {
  const words: string[] = [];
  for (const [, quoted, plain] of line.matchAll(/"((?:\\.|[^"\\])*)"|(\S+)/g)) {
    // A comment takes the rest of its line, but a password may begin with "#".
    if (plain?.startsWith("#") && !/^(?:password|login|account|machine)$/.test(words.at(-1) ?? "")) break;
    words.push(quoted === undefined ? (plain as string) : quoted.replace(/\\(.)/g, "$1"));
  }
  return words;
}
