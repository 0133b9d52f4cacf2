import { open, readFile, stat } from "node:fs/promises";
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

/** What lies in a cache under an entry's name. */
export async function readEntry(packages: string, name: string): Promise<CacheEntry> {
  const folder = join(packages, name);
  const [bytes, there] = await Promise.all([
    readFile(`${folder}.lock`).catch(() => undefined),
    stat(folder).then(
      (s) => s.isDirectory(),
      () => false,
    ),
  ]);
  const full = bytes !== undefined && bytes.length >= REVISION + HASH;
  return {
    there,
    locked: bytes !== undefined,
    revision: bytes && bytes.length >= REVISION ? Number(bytes.readBigUInt64BE(0)) : 0,
    sha256: full ? bytes.toString("hex", REVISION, REVISION + HASH) : undefined,
    index: there ? await readIndexJson(folder) : undefined,
  };
}

async function readIndexJson(folder: string): Promise<CacheEntry["index"]> {
  try {
    const value = JSON.parse(await readFile(join(folder, "info", "index.json"), "utf8")) as { subdir?: unknown } | null;
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
export async function writeEntryLock(
  packages: string,
  name: string,
  revision: number,
  sha256: string | undefined,
): Promise<void> {
  const bytes = Buffer.alloc(sha256 === undefined ? REVISION : REVISION + HASH);
  bytes.writeBigUInt64BE(BigInt(revision), 0);
  if (sha256 !== undefined) bytes.write(sha256, REVISION, "hex");
  const path = join(packages, `${name}.lock`);
  const file = await open(path, "r+").catch((e: NodeJS.ErrnoException) => {
    if (e.code !== "ENOENT") throw e;
    return open(path, "w");
  });
  try {
    await file.write(bytes, 0, bytes.length, 0);
    await file.truncate(bytes.length);
  } finally {
    await file.close();
  }
}
