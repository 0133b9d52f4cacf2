import { InterruptedError, TransferError } from "../errors.ts";
import type { ByteStream, Place } from "./place.ts";
import type { Handover, Receivers } from "./receivers.ts";
import { type Clock, withRetries } from "./retry.ts";
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

/** Bytes are handed to the worker in portions of this size; what is smaller goes in one. */
const PORTION = 1024 * 1024;

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
  for (let wrongBytes = 0; ; wrongBytes++) {
    const handover = options.receivers.begin(expected, `${stagedPath}.${wrongBytes}`);
    try {
      return await resuming(handover);
    } catch (e) {
      handover.drop();
      const wrong = e instanceof TransferError && (e.code === "HASH_MISMATCH" || e.code === "SIZE_MISMATCH");
      if (!wrong || wrongBytes === 1 || options.retryAttempts === 0) throw e;
      // Damage on the way happens; twice the same is no accident.
      options.onRetry?.({ error: e, waitMs: 0, place });
    }
  }

  async function resuming(handover: Handover): Promise<Fetched> {
    const progress = { got: 0, version: undefined as string | undefined };
    let before = 0;
    const once = async (): Promise<Fetched> => {
      before = progress.got;
      const resume = progress.version !== undefined && progress.got > 0 ? { ifVersion: progress.version } : {};
      const unless = unlessVersion !== undefined && progress.got === 0 ? { unlessVersion } : {};
      const stream = await place.open({ start: progress.got, ...resume, ...unless }, options.signal);
      if (stream === "unchanged") {
        handover.drop();
        return "unchanged";
      }
      return { received: await take(stream, handover, progress), version: stream.version };
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

  async function take(
    stream: ByteStream,
    handover: Handover,
    progress: { got: number; version: string | undefined },
  ): Promise<Received> {
    if (stream.start !== progress.got) {
      // The server begins again, or the file changed between two tries.
      await handover.restart();
      options.onBytes?.(-progress.got, stream.size);
      progress.got = 0;
    }
    progress.version = stream.version;
    const wrongSize = (bytes: string) =>
      new TransferError(
        "SIZE_MISMATCH",
        {
          what: `${expected.fileName}: size differs from the one its source promises`,
          why: `expected ${expected.size} bytes, ${place.origin} has ${bytes}`,
          next: "nothing was added; tell the channel's owner if it stays",
        },
        { mayPass: false },
      );
    if (expected.size !== undefined && stream.size !== undefined && stream.size !== expected.size) {
      stream.cancel();
      throw wrongSize(String(stream.size));
    }
    const size = stream.size ?? expected.size;
    const { portions } = options.receivers;
    let portion = portions.take(portionFor(size, progress.got));
    let room = portionFor(size, progress.got);
    let fill = 0;
    const flush = async () => {
      if (fill === 0) return;
      // What is handed over is gone, so the count must be right before anything can fail.
      progress.got += fill;
      const full = portion.subarray(0, fill);
      room = portionFor(size, progress.got);
      portion = portions.take(room);
      fill = 0;
      await handover.chunk(full);
    };
    try {
      for await (const chunk of stream.chunks) {
        options.onBytes?.(chunk.length, size);
        for (let at = 0; at < chunk.length; ) {
          if (fill === room) await flush();
          const n = Math.min(room - fill, chunk.length - at);
          portion.set(chunk.subarray(at, at + n), fill);
          fill += n;
          at += n;
        }
        if (expected.size !== undefined && progress.got + fill > expected.size)
          throw wrongSize(`more than ${progress.got + fill}`);
      }
    } catch (e) {
      await flush();
      throw e;
    }
    const total = progress.got + fill;
    if (stream.size !== undefined && total !== stream.size) {
      await flush();
      throw new TransferError(
        "CUT",
        {
          what: place.origin,
          why: `the connection ended after ${total} of ${stream.size} bytes`,
          next: "run again; what arrived whole is kept",
        },
        { mayPass: true },
      );
    }
    if (progress.got === 0) return handover.whole(portion.subarray(0, fill));
    await flush();
    return handover.finish();
  }
}

/** Room for the next portion: what is left of a small file, or a full portion. One byte more would cost a second one. */
function portionFor(size: number | undefined, got: number): number {
  if (size === undefined) return got === 0 ? 64 * 1024 : PORTION;
  return Math.max(1, Math.min(PORTION, size - got));
}
