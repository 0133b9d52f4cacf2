import { createHash, hash } from "node:crypto";
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { PackageError } from "../errors.ts";
import { type InfoMember, type PackageInfo, type ReadOptions, readPackage } from "./read.ts";
import { readAtBuffer, readAtFile } from "./read-at.ts";
import type { FileFacts } from "./record.ts";

/** What an index says about a package, and what identifies the bytes it was read from. */
export interface WholePackage {
  readonly facts: FileFacts;
  readonly info: PackageInfo;
}

/** Files up to here are read in one call, hashed and looked into where they lie; larger ones are streamed. */
export const IN_MEMORY = 1024 * 1024;

/**
 * The buffer that files are read into, kept between packages: fresh memory for each costs more than reading it does.
 * Members are copies, so nothing of a package points into it. A second reader of this thread takes a buffer of its own.
 */
let idle: Buffer | undefined;

/**
 * Reads a package in a file of this machine: its hashes over every byte, and the wanted members of its `info/`.
 * Small files are read once and whole; of large ones a portion of 1 MiB is in memory at a time, and the part that
 * holds `info/` is read a second time. File calls are synchronous: meant for worker threads.
 * @param fileName what the package is called; decides the format.
 * @throws PackageError what `readPackage` throws; UNREADABLE when the system doesn't give the file or it is none;
 * CHANGED when it was written to or replaced meanwhile, so that hashes and content may not belong together.
 */
export async function readWhole(
  path: string,
  fileName: string,
  wanted: readonly InfoMember[],
  options: ReadOptions = {},
): Promise<WholePackage> {
  const fd = reading(fileName, () => openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)));
  try {
    const before = reading(fileName, () => fstatSync(fd, { bigint: true }));
    if (!before.isFile()) throw unreadable(fileName, "it is no regular file");
    const size = Number(before.size);
    try {
      const whole = await (size <= IN_MEMORY ? small : large)(fd, size, fileName, wanted, options);
      checkUnchanged(path, fileName, before);
      return whole;
    } catch (e) {
      // A file that is being written looks damaged: say what it is.
      checkUnchanged(path, fileName, before);
      throw e;
    }
  } finally {
    closeSync(fd);
  }
}

async function small(
  fd: number,
  size: number,
  fileName: string,
  wanted: readonly InfoMember[],
  options: ReadOptions,
): Promise<WholePackage> {
  const room = idle ?? Buffer.allocUnsafeSlow(IN_MEMORY);
  idle = undefined;
  try {
    const bytes = room.subarray(0, size);
    readFull(fd, bytes, 0, fileName);
    const info = await readPackage(fileName, readAtBuffer(bytes), wanted, options);
    return { facts: { md5: hash("md5", bytes), sha256: hash("sha256", bytes), size }, info };
  } finally {
    idle = room;
  }
}

async function large(
  fd: number,
  size: number,
  fileName: string,
  wanted: readonly InfoMember[],
  options: ReadOptions,
): Promise<WholePackage> {
  const info = await readPackage(fileName, readAtFile(fd, size, fileName), wanted, options);
  const md5 = createHash("md5");
  const sha256 = createHash("sha256");
  const room = idle ?? Buffer.allocUnsafeSlow(IN_MEMORY);
  idle = undefined;
  try {
    for (let at = 0; at < size; at += room.length) {
      const bytes = room.subarray(0, Math.min(room.length, size - at));
      readFull(fd, bytes, at, fileName);
      md5.update(bytes);
      sha256.update(bytes);
    }
  } finally {
    idle = room;
  }
  return { facts: { md5: md5.digest("hex"), sha256: sha256.digest("hex"), size }, info };
}

/** Fills `bytes` from the file's offset `at`. */
function readFull(fd: number, bytes: Uint8Array, at: number, fileName: string): void {
  for (let got = 0; got < bytes.length; ) {
    const n = reading(fileName, () => readSync(fd, bytes, got, bytes.length - got, at + got));
    if (n === 0) throw changed(fileName, "it became shorter");
    got += n;
  }
}

/** Compares with what the path shows now, so that a file moved into its place is seen too. */
function checkUnchanged(path: string, fileName: string, before: BigIntStats): void {
  const now = reading(fileName, () => statSync(path, { bigint: true, throwIfNoEntry: false }));
  if (!now) throw changed(fileName, "it was removed");
  if (now.ino !== before.ino || now.dev !== before.dev) throw changed(fileName, "another file took its place");
  if (now.size !== before.size) throw changed(fileName, `it had ${before.size} bytes, then ${now.size}`);
  if (now.mtimeNs !== before.mtimeNs) throw changed(fileName, "it was written to");
}

function reading<T>(fileName: string, call: () => T): T {
  try {
    return call();
  } catch (e) {
    throw unreadable(fileName, (e as Error).message, e);
  }
}

function unreadable(fileName: string, why: string, cause?: unknown): PackageError {
  return new PackageError("UNREADABLE", {
    what: `${fileName}: can't be read`,
    why,
    next: "check that it is there and its permissions, and run again",
    cause,
  });
}

function changed(fileName: string, why: string): PackageError {
  return new PackageError("CHANGED", {
    what: `${fileName}: changed while it was read`,
    why,
    next: "run again when whatever writes it has finished",
  });
}
