import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { InterruptedError } from "../errors.ts";

/**
 * Programs that lock the file given to them as descriptor 3. A lock of `flock(2)` belongs to the opened file, which the child
 * shares with us: it outlives the child, and goes when we close the file or die (docs/decisions/018-flock-without-flock.md).
 */
export const HELPERS: readonly (readonly [command: string, ...args: string[]])[] = [
  ["flock", "-x", "3"],
  ["python3", "-c", "import fcntl; fcntl.flock(3, fcntl.LOCK_EX)"],
  ["perl", "-e", "use Fcntl ':flock'; open(F, '+<&=3') && flock(F, LOCK_EX) or exit 1"],
];

/** A program that is still waiting after so many milliseconds waits for another holder. */
const WAITING_MS = 500;

/** A lock that is held until it is given back. */
export interface Held {
  release(): void;
}

/**
 * Takes the exclusive `flock(2)` of a file, as rattler does for a package cache, and waits for other holders.
 * @param waiting called once when another one holds it.
 * @param env where the helper is searched for.
 * @returns undefined where no helper is here, or the system knows no such lock.
 * @throws InterruptedError; what the file system throws
 */
export async function takeFlock(
  path: string,
  signal: AbortSignal,
  env: NodeJS.ProcessEnv,
  waiting: () => void = () => undefined,
  helpers: typeof HELPERS = HELPERS,
): Promise<Held | undefined> {
  if (process.platform === "win32") return undefined;
  const fd = openSync(path, "a+");
  try {
    for (const helper of helpers) {
      if (signal.aborted) throw new InterruptedError();
      if (await lockedBy(helper, fd, signal, env, waiting)) return { release: () => closeSync(fd) };
    }
  } catch (e) {
    closeSync(fd);
    throw e;
  }
  closeSync(fd);
  return undefined;
}

function lockedBy(
  [command, ...args]: (typeof HELPERS)[number],
  fd: number,
  signal: AbortSignal,
  env: NodeJS.ProcessEnv,
  waiting: () => void,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    // In a group of its own: an interrupt from the terminal is ours to answer.
    const child = spawn(command, args, {
      stdio: ["ignore", "ignore", "ignore", fd],
      env: { PATH: env["PATH"] },
      detached: true,
    });
    const timer = setTimeout(waiting, WAITING_MS);
    const stop = () => child.kill();
    signal.addEventListener("abort", stop);
    const end = (settle: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      settle();
    };
    // It is not here, or may not run: the next one.
    child.on("error", () => end(() => resolve(false)));
    child.on("exit", (code) => end(() => (signal.aborted ? reject(new InterruptedError()) : resolve(code === 0))));
  });
}
