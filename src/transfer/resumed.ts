import { TransferError } from "../errors.ts";
import { changed } from "./part.ts";
import type { Place } from "./place.ts";
import { type RetryOptions, withRetries } from "./retry.ts";

/** Failures before this many further bytes came count together: a transfer that crawls on must not go on for ever. */
const PROGRESS = 1024 * 1024;

/** Which bytes are wanted, and of what state of the file. */
export interface Wanted {
  readonly start: number;
  /** Byte behind the last one. */
  readonly end: number;
  readonly version: string | undefined;
}

/**
 * A file's bytes in order, of a place that can begin anywhere: where the connection breaks it is opened again.
 * @throws TransferError when it breaks too often, or the file changed
 */
export async function* resumed(
  place: Pick<Place, "origin" | "open">,
  wanted: Wanted,
  retry: Omit<RetryOptions, "signal">,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let at = wanted.start;
  let chunks: AsyncIterator<Uint8Array> | undefined;
  let failures = 0;
  let failedAt = at;
  const once = async (): Promise<Uint8Array | undefined> => {
    if (!chunks) {
      const version = wanted.version === undefined ? {} : { ifVersion: wanted.version };
      const stream = await place.open({ start: at, end: wanted.end, ...version }, signal);
      if (stream === "unchanged") throw changed(place.origin);
      if (stream.start !== at) {
        stream.cancel();
        throw changed(place.origin);
      }
      chunks = stream.chunks[Symbol.asyncIterator]();
    }
    try {
      const next = await chunks.next();
      if (!next.done) return next.value;
    } catch (e) {
      chunks = undefined;
      throw e;
    }
    chunks = undefined;
    throw new TransferError(
      "CUT",
      {
        what: place.origin,
        why: `the connection ended ${wanted.end - at} bytes early`,
        next: "run again; what arrived whole is kept",
      },
      { mayPass: true },
    );
  };
  try {
    while (at < wanted.end) {
      const attempts = Math.max(0, retry.attempts - failures);
      const chunk = (await withRetries(once, {
        ...retry,
        attempts,
        signal,
        onRetry: (error, waitMs) => {
          failures++;
          failedAt = at;
          retry.onRetry?.(error, waitMs);
        },
      })) as Uint8Array;
      const taken = chunk.length <= wanted.end - at ? chunk : chunk.subarray(0, wanted.end - at);
      at += taken.length;
      if (at - failedAt >= PROGRESS) failures = 0;
      yield taken;
    }
  } finally {
    await chunks?.return?.();
  }
}
