import { TransferError } from "../../errors.ts";
import type { ReadAt } from "../../package/read-at.ts";
import { openFile } from "../../transfer/open-file.ts";
import { changed, openPart } from "../../transfer/part.ts";
import type { Address, ByteStream, Open, Place } from "../../transfer/place.ts";
import { type RetryOptions, withRetries } from "../../transfer/retry.ts";
import { spoolWhole } from "../../transfer/spool.ts";

/** An archive that can be read at any place: a file here or at a server that answers range requests, or a part of one. */
export interface ArchiveFile extends ReadAt {
  /** For people: where it lies, the archives around it included. */
  readonly origin: string;
  /** The whole file that it lies in, the state in which that was found, and where in it this archive begins. */
  readonly base: { readonly open: Open; readonly address: Address | undefined; readonly version: string | undefined };
  readonly start: number;
  readonly retry: Omit<RetryOptions, "signal">;
  /** Its first bytes, where they have been read. */
  readonly head?: Uint8Array;
}

/** A run of bytes of an archive, as a file of its own. */
export function partOf(
  file: ArchiveFile,
  start: number,
  length: number,
  origin: string,
  signal: AbortSignal,
): ArchiveFile {
  return archiveFile(file.base, file.start + start, length, origin, file.retry, signal);
}

/** A file of this machine as an archive. */
export function localArchive(
  path: string,
  size: number,
  origin: string,
  retry: ArchiveFile["retry"],
  signal: AbortSignal,
): ArchiveFile {
  return archiveFile({ open: openFile(path), address: { path }, version: undefined }, 0, size, origin, retry, signal);
}

/**
 * Opens a place as an archive. One request finds out whether it can be read in parts; where it can't, that request's answer
 * is written to a file of this run.
 * @param spoolPath where that file would lie.
 * @param onBytes told of what is fetched into it.
 * @throws TransferError
 */
export async function openArchiveFile(
  place: Place,
  spoolPath: () => Promise<string>,
  retry: ArchiveFile["retry"],
  signal: AbortSignal,
  onBytes: (bytes: number, size: number | undefined) => void,
): Promise<ArchiveFile> {
  const probe = await withRetries(() => probed(place, signal), { ...retry, signal });
  if ("size" in probe) {
    const { size, version, head } = probe;
    const base = { open: place.open, address: place.address, version };
    return { ...archiveFile(base, 0, size, place.origin, retry, signal), head };
  }
  const path = await spoolPath();
  const bytes = await spoolWhole(place, probe.whole, path, retry, signal, onBytes);
  return localArchive(path, bytes, place.origin, retry, signal);
}

/** Bytes that are asked for first: they tell what it is, and whether a server gives what is asked for. */
export const HEAD = 262;

async function probed(
  place: Place,
  signal: AbortSignal,
): Promise<{ size: number; version: string | undefined; head: Uint8Array } | { whole: ByteStream | undefined }> {
  const stream = await place.open({ start: 0, end: HEAD }, signal);
  if (stream === "unchanged") throw changed(place.origin);
  const { size, version } = stream;
  const chunks = stream.chunks[Symbol.asyncIterator]();
  const begun: Uint8Array[] = [];
  let got = 0;
  let next = await chunks.next();
  for (; !next.done && got <= HEAD; next = await chunks.next()) {
    begun.push(next.value);
    got += next.value.length;
    if (got > HEAD) break;
  }
  if (next.done && got === HEAD && size !== undefined) return { size, version, head: Buffer.concat(begun) };
  // Something of unknown size, of which a part came: asked for again, all of it.
  if (next.done && size !== got) return { whole: undefined };
  // A server that answers with all of it, whatever is asked for.
  const all = async function* (): AsyncGenerator<Uint8Array> {
    try {
      yield* begun;
      for (next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
    } finally {
      await chunks.return?.();
    }
  };
  return { whole: { ...stream, start: 0, chunks: all() } };
}

function archiveFile(
  base: ArchiveFile["base"],
  start: number,
  size: number,
  origin: string,
  retry: ArchiveFile["retry"],
  signal: AbortSignal,
): ArchiveFile {
  const open = openPart(base.open, { start, length: size }, origin, base.version);
  return {
    origin,
    base,
    start,
    size,
    retry,
    read: (offset, length) => withRetries(() => readPart(open, offset, length, origin, signal), { ...retry, signal }),
  };
}

async function readPart(
  open: Open,
  offset: number,
  length: number,
  origin: string,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(length);
  if (length === 0) return bytes;
  const stream = await open({ start: offset, end: offset + length }, signal);
  if (stream === "unchanged") throw changed(origin);
  let got = 0;
  for await (const chunk of stream.chunks) {
    bytes.set(chunk, got);
    got += chunk.length;
  }
  if (got < length) {
    throw new TransferError(
      "CUT",
      { what: origin, why: `the connection ended after ${got} of ${length} bytes`, next: "run again" },
      { mayPass: true },
    );
  }
  return bytes;
}
