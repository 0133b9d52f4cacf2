import { asMirrorError, InterruptedError, type MirrorError, UsageError } from "./errors.ts";
import type { MirrorReport } from "./events.ts";
import { mirror } from "./mirror.ts";
import type { MirrorOptions } from "./run.ts";
import { answerMemory } from "./transfer/answers.ts";
import { systemClock } from "./transfer/retry.ts";

export interface WatchOptions extends MirrorOptions {
  /** Milliseconds from the end of one round to the beginning of the next. */
  readonly intervalMs: number;
  /** Told what became of each round. A promise that it gives is waited for. */
  readonly onRound?: (round: Round) => unknown;
}

/** One run of `mirror`: its report, or why it could not begin. */
export type Round = { readonly report: MirrorReport } | { readonly error: MirrorError };

/**
 * Mirrors again and again until the signal aborts: what is new since the last round is taken, what is there is kept. A
 * round that fails is told, and the next one comes all the same: services that are down come back.
 * @throws UsageError when the first round can't begin because of how it was called: no later one would.
 */
export async function watch(options: WatchOptions): Promise<void> {
  const clock = options.clock ?? systemClock;
  const signal = options.signal ?? new AbortController().signal;
  // What services said before is asked for with its ETag, which costs nothing of what they allow; artifacts never change.
  const { answers = answerMemory(), artifacts = new Map() } = options;
  for (let first = true; !signal.aborted; first = false) {
    try {
      const report = await mirror({ ...options, answers, artifacts });
      await options.onRound?.({ report });
    } catch (e) {
      if (first && e instanceof UsageError) throw e;
      const error = asMirrorError(e, "watch");
      if (!(error instanceof InterruptedError)) await options.onRound?.({ error });
    }
    await clock.sleep(options.intervalMs, signal).catch(() => undefined);
  }
}
