import { InterruptedError, TransferError } from "../errors.ts";
import { LostThread } from "../lost-thread.ts";
import type { OpenRequest, Place } from "./place.ts";
import type { Handover, Receivers } from "./receivers.ts";
import { type Clock, withRetries } from "./retry.ts";
import { type Progress, take } from "./take.ts";
import type { Expected, Received } from "./worker-messages.ts";

export interface FetchOptions {
  readonly receivers: Receivers;
  /** Repetitions after the first try, at each place. */
  readonly retryAttempts: number;
  /** A server that asks for a longer pause than this many milliseconds is given up. */
  readonly longestWaitMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Bytes that came in since the last call, negative when some are fetched again; and the size where it is known. */
  readonly onBytes?: (bytes: number, size: number | undefined) => void;
  readonly onRetry?: (told: { error: TransferError; waitMs: number; place: Place }) => void;
}

/** An attempt that broke after this much had come does not count against the retries: the transfer is slow, not dead. */
const PROGRESS = 1024 * 1024;

export type Fetched = { readonly received: Received; readonly version: string | undefined } | "unchanged";

/**
 * Brings one package to the staging folder, hashed and checked in one pass: from the first place that has it, again after
 * what may pass, from where it broke off where the server can. A place whose bytes are wrong is asked once more, then
 * the next one.
 * @param unlessVersion gives "unchanged" without a transfer when the first place still has this version.
 * @throws MirrorError of the first place when none has the package.
 */
export async function fetchPackage(
  expected: Expected,
  places: readonly Place[],
  stagedPath: string,
  unlessVersion: string | undefined,
  options: FetchOptions,
): Promise<Fetched> {
  await options.receivers.ready;
  let first: unknown;
  for (const [i, place] of places.entries()) {
    try {
      return await fromPlace(
        { ...expected, origin: place.origin },
        place,
        `${stagedPath}.${i}`,
        i === 0 ? unlessVersion : undefined,
        options,
      );
    } catch (e) {
      if (e instanceof InterruptedError || options.signal.aborted) throw new InterruptedError(e);
      first ??= e;
      if (i + 1 < places.length && e instanceof TransferError)
        options.onRetry?.({ error: e, waitMs: 0, place: places[i + 1] as Place });
    }
  }
  throw first;
}

async function fromPlace(
  expected: Expected,
  place: Place,
  stagedPath: string,
  unlessVersion: string | undefined,
  options: FetchOptions,
): Promise<Fetched> {
  let alone = false;
  for (let wrongBytes = 0, tries = 0; ; tries++) {
    const handover = options.receivers.begin(expected, `${stagedPath}.${tries}`, alone);
    try {
      return await resuming(handover);
    } catch (e) {
      handover.drop();
      if (e instanceof LostThread && !options.signal.aborted) {
        // Any of those that it had may have ended it. One that ends a thread of its own as well did.
        if (alone) throw e.toldOf(expected.fileName);
        alone = true;
        continue;
      }
      const wrong = e instanceof TransferError && (e.code === "HASH_MISMATCH" || e.code === "SIZE_MISMATCH");
      if (!wrong || wrongBytes++ === 1 || options.retryAttempts === 0) throw e;
      // Damage on the way happens; twice the same is no accident.
      options.onRetry?.({ error: e, waitMs: 0, place });
    }
  }

  async function resuming(handover: Handover): Promise<Fetched> {
    const progress: Progress = { got: 0, version: undefined };
    let before = 0;
    const once = async (): Promise<Fetched> => {
      before = progress.got;
      const resume = progress.version !== undefined && progress.got > 0 ? { ifVersion: progress.version } : {};
      const unless = unlessVersion !== undefined && progress.got === 0 ? { unlessVersion } : {};
      const fetched = await attempt(handover, { start: progress.got, ...resume, ...unless }, progress);
      if (fetched === "unchanged") handover.drop();
      return fetched;
    };
    return withRetries(
      once,
      {
        attempts: options.retryAttempts,
        longestWaitMs: options.longestWaitMs,
        clock: options.clock,
        signal: options.signal,
        onRetry: (error, waitMs) => options.onRetry?.({ error, waitMs, place }),
      },
      () => progress.got - before >= PROGRESS,
    );
  }

  /** One request: by the worker itself where it can open the place, else by us, who hand the bytes over. */
  async function attempt(handover: Handover, request: OpenRequest, progress: Progress): Promise<Fetched> {
    const onBytes = options.onBytes ?? (() => undefined);
    if (place.address) return handover.fetch(place.address, request, progress, onBytes);
    const stream = await place.open(request, options.signal);
    if (stream === "unchanged") return "unchanged";
    const received = await take(stream, handover, expected, progress, options.receivers.portions, onBytes);
    return { received, version: stream.version };
  }
}
