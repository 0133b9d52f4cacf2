import { spawn } from "node:child_process";
import { tmpdir } from "node:os";

const cli = new URL("../../src/cli/main.ts", import.meta.url).pathname;
const usage = new URL("./peak.cjs", import.meta.url).pathname;

/** What peak.cjs writes at the end. */
const PEAK = /peak-rss-kib (\d+)\n/;

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  /** Bytes of memory at its highest. */
  readonly peak: number;
}

/**
 * Runs the command line as a process of its own, with no environment but what it is given.
 * @param flags for node.
 * @param cwd the folder that it runs in.
 */
export function cliRun(
  args: readonly string[],
  env: Readonly<NodeJS.ProcessEnv> = {},
  flags: readonly string[] = [],
  cwd = tmpdir(),
): Promise<Ended> {
  const child = spawn(process.execPath, ["--require", usage, ...flags, cli, ...args], {
    cwd,
    env: { PATH: process.env["PATH"] ?? "", NODE_NO_WARNINGS: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err]: [string[], string[]] = [[], []];
  child.stdout.on("data", (d) => out.push(String(d)));
  child.stderr.on("data", (d) => err.push(String(d)));
  return new Promise((resolve) =>
    child.on("close", (code) => {
      const text = err.join("");
      const [line = "", kib = Number.NaN] = PEAK.exec(text) ?? [];
      resolve({ code, out: out.join(""), err: text.replace(line, ""), peak: Number(kib) * 1024 });
    }),
  );
}
