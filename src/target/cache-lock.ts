import { type Held, takeFlock } from "./flock.ts";

/** The lock that installers hold on a package cache, shared by all work of one run. */
export interface CacheLock {
  /** Runs `work` alone in this process, and while no installer holds the lock where the system has such locks. */
  run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** Lets go. */
  close(): void;
}

/** Kept for this many milliseconds after the last work, so that many small packages don't take it one by one. */
const LINGER_MS = 50;

/** Given up for a moment after this many, so that installers get their turn. */
const LONGEST_MS = 2000;

/**
 * @param path of the lock file.
 * @param waiting called when another holds it.
 * @param instead runs work where the lock can't be had (no helper for `flock` here): runs of ours keep each other out at least.
 * @param without called once in that case.
 */
export function openCacheLock(
  path: string,
  env: NodeJS.ProcessEnv,
  waiting: () => void,
  instead: <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T>,
  without: () => void,
): CacheLock {
  let held: Held | undefined;
  let since = 0;
  let impossible = false;
  let pending = 0;
  let tail: Promise<unknown> = Promise.resolve();
  let linger: NodeJS.Timeout | undefined;
  const release = () => {
    clearTimeout(linger);
    held?.release();
    held = undefined;
  };
  const take = async (signal: AbortSignal) => {
    clearTimeout(linger);
    if (held && performance.now() - since > LONGEST_MS) release();
    if (held || impossible) return;
    held = await takeFlock(path, signal, env, waiting);
    since = performance.now();
    if (held) return;
    impossible = true;
    without();
  };
  return {
    run(work, signal) {
      pending++;
      const mine = tail.then(async () => {
        try {
          await take(signal);
          return await (held ? work() : instead(work, signal));
        } finally {
          if (--pending === 0) linger = setTimeout(release, LINGER_MS).unref();
        }
      });
      tail = mine.catch(() => undefined);
      return mine;
    },
    close: release,
  };
}
