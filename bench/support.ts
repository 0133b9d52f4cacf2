import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";

const root = new URL("..", import.meta.url).pathname;

/** Where benchmarks keep what they make once. */
export const cache = join(root, ".cache/bench");
mkdirSync(cache, { recursive: true });

export const cli = join(root, "dist/cli/main.js");

/** Python with the peer's library in it, as `npm test` brings it. */
export const python = join(root, ".cache/venv", process.platform === "win32" ? "Scripts/python.exe" : "bin/python");

export interface Timed {
  readonly seconds: number;
  /** Peak resident memory in MB (10^6 bytes), where the command tells. */
  readonly peakMB: number | undefined;
  /** Seconds of processor time, user and system, where the command is ours. */
  readonly cpu: number | undefined;
  readonly code: number | null;
}

/** Runs a command to its end and times it as a whole process. */
export async function timed(command: string, args: readonly string[]): Promise<Timed> {
  const began = performance.now();
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  let text = "";
  child.stderr.on("data", (d) => {
    text += String(d);
  });
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  const seconds = (performance.now() - began) / 1000;
  const told = (name: string, factor: number): number | undefined => {
    const value = new RegExp(`${name} (\\d+)`).exec(text)?.[1];
    return value === undefined ? undefined : Number(value) * factor;
  };
  if (code !== 0) process.stderr.write(`${command} ended with ${code}: ${text.slice(0, 2000)}\n`);
  return { seconds, peakMB: told("peak-rss-kib", 1024 / 1e6), cpu: told("cpu-us", 1e-6), code };
}

/** Runs our command line, with what it used. */
export function ours(args: readonly string[]): Promise<Timed> {
  return timed(process.execPath, ["--require", join(root, "bench/usage.cjs"), cli, ...args]);
}

/** A cheap file server over a folder, as a process of its own; built once from bench/server. */
export async function serve(folder: string): Promise<{ url: string; stop(): void }> {
  const binary = join(cache, process.platform === "win32" ? "server.exe" : "server");
  if (!existsSync(binary)) {
    const built = spawnSync("go", ["build", "-o", binary, "."], { cwd: join(root, "bench/server"), stdio: "inherit" });
    if (built.status !== 0) throw new Error("the benchmark's server needs Go");
  }
  const child = spawn(binary, [folder], { stdio: ["pipe", "pipe", "inherit"] });
  const url = await new Promise<string>((resolve) => child.stdout.once("data", (d) => resolve(String(d).trim())));
  return { url, stop: () => child.stdin.end() };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

export const span = (values: readonly number[], digits = 2): string =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`;
