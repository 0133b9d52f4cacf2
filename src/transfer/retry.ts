import { setTimeout as sleepTimer } from "node:timers/promises";
import { InterruptedError, TransferError } from "../errors.ts";

/** Time as the transfer room sees it; tests bring their own. */
export interface Clock {
  now(): number;
  /** Resolves after `ms`, rejects when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** 0 to 1. */
  random(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (ms, signal) => {
    await sleepTimer(ms, undefined, { signal });
  },
  random: () => Math.random(),
};

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/**
 * Milliseconds to wait before try `n` (1 is the first repetition): exponential with full jitter, so that many clients
 * that failed together do not come back together; never less than what the server asked for.
 */
export function waitBefore(n: number, retryAfterMs: number | undefined, random: number): number {
  const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (n - 1));
  const jittered = ceiling * (0.5 + random / 2);
  return Math.round(retryAfterMs === undefined ? jittered : Math.max(retryAfterMs, 0) + jittered * 0.1);
}

/** `Retry-After` as milliseconds: seconds or an HTTP date (RFC 9110 §10.2.3). */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

export interface RetryOptions {
  /** Repetitions after the first try. */
  readonly attempts: number;
  /** Who asks for a longer pause than this many milliseconds is given up. */
  readonly longestWaitMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onRetry?: (error: TransferError, waitMs: number) => void;
}

/**
 * Runs `work` again after failures that may pass, and only after those.
 * @param movedOn whether the last try got so far that earlier failures no longer count: the transfer is slow, not dead.
 */
export async function withRetries<T>(
  work: () => Promise<T>,
  options: RetryOptions,
  movedOn: () => boolean = () => false,
): Promise<T> {
  for (let failures = 0; ; ) {
    try {
      return await work();
    } catch (e) {
      if (!(e instanceof TransferError) || !e.mayPass || options.signal.aborted) throw e;
      if (movedOn()) failures = 0;
      if (failures >= options.attempts) throw e;
      failures++;
      const wishedMs = waitBefore(failures, e.retryAfterMs, options.clock.random());
      // A pause that nobody asks for is ours to shorten.
      const waitMs = e.retryAfterMs === undefined ? Math.min(wishedMs, options.longestWaitMs) : wishedMs;
      if (waitMs > options.longestWaitMs) {
        const why = `${e.why}; it asks to wait ${Math.ceil(waitMs / 1000)} s, longer than --timeout-seconds allows`;
        throw new TransferError(
          "WAIT_TOO_LONG",
          { what: e.what, why, next: "run again later", cause: e },
          { mayPass: false },
        );
      }
      options.onRetry?.(e, waitMs);
      await options.clock.sleep(waitMs, options.signal).catch((cause: unknown) => {
        throw new InterruptedError(cause);
      });
    }
  }
}
