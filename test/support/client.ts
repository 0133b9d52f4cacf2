import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { promisify } from "node:util";
import { python } from "./needs.ts";

const run = promisify(execFile);

/** How often a client is asked that crashes. */
const TRIES = 3;

/** Signals that a program ends itself with by a fault of its own: those of a test, or of a time that is over, are others. */
const CRASHES: readonly (string | null | undefined)[] = ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL"];

/**
 * Runs a program of `test/clients`; gives what it printed. py-rattler 0.28 crashes in a few of some thousand runs, when its threads
 * outlive Python: that says nothing of a channel, and the client is asked again.
 * @param args made anew for each try: a prefix that a crash left half full is not used again.
 */
export async function asked(
  program: string,
  args: () => readonly string[],
  { input = "", env = process.env }: { readonly input?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  for (let tries = 1; ; tries++) {
    const running = run(python, [programOf(program), ...args()], { maxBuffer: 2 ** 28, env });
    running.child.stdin?.on("error", () => undefined).end(input);
    try {
      return (await running).stdout;
    } catch (e) {
      const { signal, message } = e as { signal?: string; message: string };
      if (tries < TRIES && CRASHES.includes(signal)) continue;
      throw new Error(signal ? `${signal}: ${message}` : message, { cause: e });
    }
  }
}

/**
 * Starts a program of `test/clients` that answers a line with a line until the test file ends. One that crashed is started again.
 * @param env besides our own.
 * @returns asks; `afresh` is the line for one that was just started, where that differs.
 */
export function answering(
  program: string,
  env: NodeJS.ProcessEnv = {},
): (line: string, afresh?: () => string) => Promise<string> {
  let now = started(program, env);
  after(() => now.child.stdin?.end());
  return async (line, afresh = () => line) => {
    for (let tries = 1; ; tries++) {
      now.child.stdin?.write(`${tries === 1 ? line : afresh()}\n`);
      const { value } = await now.answers.next();
      if (value !== undefined) return String(value);
      const signal = await now.ended;
      if (tries === TRIES || !CRASHES.includes(signal)) throw new Error(`no answer from ${program}: ${now.said()}`);
      now = started(program, env);
    }
  };
}

interface Started {
  readonly child: ChildProcess;
  readonly answers: AsyncIterator<string>;
  readonly ended: Promise<string | null>;
  readonly said: () => string;
}

function started(program: string, env: NodeJS.ProcessEnv): Started {
  const child = spawn(python, [programOf(program)], { stdio: "pipe", env: { ...process.env, ...env } });
  let said = "";
  child.stderr.on("data", (d) => (said = `${said}${d}`.slice(-5000)));
  // Who has crashed can't be written to.
  child.stdin.on("error", () => undefined);
  const ended = new Promise<string | null>((resolve) => child.once("close", (_, signal) => resolve(signal)));
  return { child, answers: createInterface(child.stdout)[Symbol.asyncIterator](), ended, said: () => said };
}

function programOf(name: string): string {
  return name.startsWith("/") ? name : new URL(`../clients/${name}`, import.meta.url).pathname;
}
