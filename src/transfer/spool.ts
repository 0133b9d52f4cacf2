import { type FileHandle, open } from "node:fs/promises";
import { TransferError } from "../errors.ts";
import type { ByteStream, Place } from "./place.ts";
import { type RetryOptions, withRetries } from "./retry.ts";

/**
 * A whole file of a place that can only be read from its start, written to a file of this machine.
 * @param first a stream of it that has been opened already.
 * @param onBytes told of bytes that came, negative when some are fetched again; and the size where it is known.
 * @returns bytes in all.
 * @throws TransferError
 */
export async function spoolWhole(
  place: Place,
  first: ByteStream | undefined,
  path: string,
  retry: Omit<RetryOptions, "signal">,
  signal: AbortSignal,
  onBytes: (bytes: number, size: number | undefined) => void = () => undefined,
): Promise<number> {
  let opened = first;
  return withRetries(
    async () => {
      const stream = opened ?? (await place.open({}, signal));
      opened = undefined;
      if (stream === "unchanged") throw cut(place.origin, 0, undefined);
      let told = 0;
      const tell = (n: number) => {
        told += n;
        onBytes(n, stream.size);
      };
      const bytes = await writeFrom(stream.chunks, path, signal, tell).catch((e: unknown) => {
        tell(-told);
        throw e;
      });
      if (stream.size !== undefined && bytes !== stream.size) throw cut(place.origin, bytes, stream.size);
      return bytes;
    },
    { ...retry, signal },
  );
}

/** Writes what comes to a new file, or over one that an earlier try began; gives the number of bytes. */
export async function writeFrom(
  chunks: AsyncIterable<Uint8Array>,
  path: string,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): Promise<number> {
  const file = await open(path, "w");
  let bytes = 0;
  try {
    for await (const chunk of chunks) {
      signal.throwIfAborted();
      await writeAll(file, chunk);
      bytes += chunk.length;
      onBytes(chunk.length);
    }
  } finally {
    await file.close();
  }
  return bytes;
}

export async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
}

function cut(origin: string, bytes: number, size: number | undefined): TransferError {
  return new TransferError(
    "CUT",
    {
      what: origin,
      why: `the connection ended after ${bytes} of ${size ?? "unknown"} bytes`,
      next: "run again",
    },
    { mayPass: true },
  );
}
