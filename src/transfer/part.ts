import { TransferError } from "../errors.ts";
import type { ByteStream, Open } from "./place.ts";

/** A run of bytes inside a file. */
export interface Part {
  /** Offset of the first one. */
  readonly start: number;
  /** Bytes. */
  readonly length: number;
}

/**
 * Part of a file as a file of its own: offsets, sizes and resuming are those of the part, the version is the whole file's.
 * @param version of the whole file, where it was read before: when it has another one now, the part may lie elsewhere.
 */
export function openPart(open: Open, part: Part, origin: string, version?: string): Open {
  return async (request, signal) => {
    const first = Math.min(request.start ?? 0, part.length);
    const behind = Math.min(request.end ?? part.length, part.length);
    if (first >= behind && request.unlessVersion === undefined)
      return { start: first, size: part.length, version, chunks: nothing(), cancel: () => undefined };
    const known = request.ifVersion ?? version;
    const stream = await open(
      {
        start: part.start + first,
        end: part.start + behind,
        ...(known === undefined ? {} : { ifVersion: known }),
        ...(request.unlessVersion === undefined ? {} : { unlessVersion: request.unlessVersion }),
      },
      signal,
    );
    if (stream === "unchanged") return stream;
    if (stream.start !== part.start + first) {
      stream.cancel();
      throw changed(origin);
    }
    return {
      ...stream,
      start: first,
      size: part.length,
      chunks: atMost(stream, behind - first),
    };
  };
}

/** A file that is another one than it was when its directory was read. */
export function changed(origin: string): TransferError {
  return new TransferError(
    "CUT",
    {
      what: origin,
      why: "the archive it lies in was replaced while it was read, or the server stopped answering range requests",
      next: "run again",
    },
    { mayPass: false },
  );
}

async function* atMost({ chunks }: ByteStream, bytes: number): AsyncGenerator<Uint8Array> {
  let left = bytes;
  for await (const chunk of chunks) {
    const taken = chunk.length <= left ? chunk : chunk.subarray(0, left);
    left -= taken.length;
    if (taken.length > 0) yield taken;
    if (left === 0) return;
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // A part of no bytes.
}
