import { closeSync, constants, ftruncateSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";

/** What a package cache of rattler has under one name. */
export interface CacheEntry {
  /** Whether the folder is there. */
  readonly there: boolean;
  /** How often it was written; 0 where nobody counted. */
  readonly revision: number;
  /** Of the archive that was unpacked; undefined where that is not known, which makes clients fetch it again. */
  readonly sha256: string | undefined;
  /** What its `info/index.json` says; undefined where that can't be read, which makes clients fetch it again. */
  readonly index: { readonly subdir: string | undefined } | undefined;
  /** Whether the lock file is there. */
  readonly locked: boolean;
}

/** Bytes of a lock file: a big-endian revision, and the hash where it is known (rattler_cache `CacheMetadataFile`). */
const REVISION = 8;
const HASH = 32;

/**
 * What lies in a cache under an entry's name. Synchronous, like all here: a trip through the thread pool costs ten times what
 * such a call does, and a package takes a dozen of them, one after the other.
 */
export function readEntry(packages: string, name: string): CacheEntry {
  const folder = join(packages, name);
  const bytes = readOr(`${folder}.lock`);
  const there = statSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const full = bytes !== undefined && bytes.length >= REVISION + HASH;
  return {
    there,
    locked: bytes !== undefined,
    revision: bytes && bytes.length >= REVISION ? Number(bytes.readBigUInt64BE(0)) : 0,
    sha256: full ? bytes.toString("hex", REVISION, REVISION + HASH) : undefined,
    index: there ? readIndexJson(folder) : undefined,
  };
}

function readOr(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

function readIndexJson(folder: string): CacheEntry["index"] {
  try {
    const value = JSON.parse(readFileSync(join(folder, "info", "index.json"), "utf8")) as { subdir?: unknown } | null;
    if (typeof value !== "object" || value === null) return undefined;
    return { subdir: typeof value.subdir === "string" ? value.subdir : undefined };
  } catch {
    return undefined;
  }
}

/**
 * Writes an entry's lock file in place, since clients may have it open: revision, and hash if it is known.
 * @param sha256 64 hex digits.
 */
export function writeEntryLock(packages: string, name: string, revision: number, sha256: string | undefined): void {
  const bytes = Buffer.alloc(sha256 === undefined ? REVISION : REVISION + HASH);
  bytes.writeBigUInt64BE(BigInt(revision), 0);
  if (sha256 !== undefined) bytes.write(sha256, REVISION, "hex");
  const fd = openSync(join(packages, `${name}.lock`), constants.O_RDWR | constants.O_CREAT, 0o666);
  try {
    writeSync(fd, bytes, 0, bytes.length, 0);
    ftruncateSync(fd, bytes.length);
  } finally {
    closeSync(fd);
  }
}
