import { createHash, type Hash } from "node:crypto";
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { md5Lanes, ROOM } from "../codec/md5-lanes.ts";
import { PackageError } from "../errors.ts";
import { type InfoMember, type PackageInfo, type ReadOptions, readPackage } from "./read.ts";
import { readAtBuffer, readAtFile, reading, unreadable } from "./read-at.ts";
import type { FileFacts } from "./record.ts";

/** What an index says about a package, and what identifies the bytes it was read from. */
export interface WholePackage {
  readonly facts: FileFacts;
  readonly info: PackageInfo;
}

/** What became of one file: what it is, or why it can't be used. */
export type FileRead<File> = { readonly file: File } & (
  | { readonly whole: WholePackage; readonly error?: undefined }
  | { readonly error: unknown }
);

/** A package in a file of this machine. */
export interface PackageFile {
  readonly path: string;
  /** What the package is called; decides the format. */
  readonly fileName: string;
}

/** Larger files are hashed alone: the last one in a lane, with nothing beside it, is slower than that. */
const ALONE = 16 * 1024 * 1024;

/** A file that is being read. */
interface Open<File> {
  readonly file: File;
  readonly fd: number;
  readonly before: BigIntStats;
  readonly size: number;
  /** Bytes of it that were hashed, or are about to be. */
  taken: number;
  sha256?: Hash;
}

/**
 * Reads packages in files of this machine: their hashes over every byte, and the wanted members of their `info/`. Several
 * are read side by side, a portion of each, since MD5 of eight takes a third of the time of one after another. What has
 * more than a portion is looked into a second time for its `info/`. File calls are synchronous: meant for worker threads.
 */
export class FileReader<File extends PackageFile> {
  readonly #wanted: readonly InfoMember[];
  readonly #options: ReadOptions;
  readonly #lanes = md5Lanes();
  readonly #open: (Open<File> | undefined)[] = this.#lanes.rooms.map(() => undefined);
  readonly #waiting: File[] = [];
  readonly #done: FileRead<File>[] = [];

  constructor(wanted: readonly InfoMember[], options: ReadOptions = {}) {
    this.#wanted = wanted;
    this.#options = options;
  }

  /** Takes up one more file. */
  add(file: File): void {
    this.#waiting.push(file);
  }

  /**
   * The next file that is read, in the order in which they are through; undefined when none is left. Errors are what
   * `readPackage` throws, and PackageError UNREADABLE when the system doesn't give the file or it is none; CHANGED when it
   * was written to or replaced meanwhile, so that hashes and content may not belong together.
   */
  async next(): Promise<FileRead<File> | undefined> {
    for (;;) {
      for (const lane of this.#open.keys()) {
        while (!this.#open[lane] && this.#waiting.length > 0) await this.#begin(lane, this.#waiting.shift() as File);
      }
      const done = this.#done.shift();
      if (done) return done;
      const through = this.#lanes.run();
      if (through.length === 0) return undefined;
      for (const lane of through) await this.#goOn(lane, this.#open[lane] as Open<File>);
    }
  }

  /** Opens a file in a free lane and reads its first portion, or all of it where it goes alone. */
  async #begin(lane: number, file: File): Promise<void> {
    const one = this.#opened(file);
    if (!one) return;
    if (one.size > ALONE) return this.#finish(lane, one, () => this.#hashAlone(lane, one));
    this.#lanes.begin(lane);
    this.#open[lane] = one;
    return this.#goOn(lane, one);
  }

  #opened(file: File): Open<File> | undefined {
    let fd: number | undefined;
    try {
      // A pipe would be waited for.
      fd = openSync(file.path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
      const before = fstatSync(fd, { bigint: true });
      if (before.isFile()) return { file, fd, before, size: Number(before.size), taken: 0 };
      this.#done.push({ file, error: unreadable(file.fileName, "it is no regular file") });
    } catch (e) {
      this.#done.push({ file, error: unreadable(file.fileName, (e as Error).message, e) });
    }
    if (fd !== undefined) closeSync(fd);
    return undefined;
  }

  /** Gives a lane the next portion of its file, or ends with the file when there is none. */
  async #goOn(lane: number, one: Open<File>): Promise<void> {
    if (one.taken === one.size && one.sha256 !== undefined) {
      return this.#finish(lane, one, () => this.#lanes.digest(lane));
    }
    try {
      const portion = this.#portion(lane, one);
      one.sha256 ??= createHash("sha256");
      one.sha256.update(portion);
      this.#lanes.feed(lane, portion.length, one.taken === one.size);
    } catch (e) {
      await this.#finish(lane, one, () => {
        throw e;
      });
    }
  }

  #hashAlone(lane: number, one: Open<File>): string {
    const md5 = createHash("md5");
    one.sha256 = createHash("sha256");
    while (one.taken < one.size) {
      const portion = this.#portion(lane, one);
      md5.update(portion);
      one.sha256.update(portion);
    }
    return md5.digest("hex");
  }

  /** Reads the next bytes of a file into the lane's room. */
  #portion(lane: number, one: Open<File>): Buffer {
    const portion = this.#lanes.rooms[lane]?.subarray(0, Math.min(ROOM, one.size - one.taken)) as Buffer;
    readFull(one.fd, portion, one.taken, one.file.fileName);
    one.taken += portion.length;
    return portion;
  }

  /** Looks into a file that is hashed, closes it, and frees its lane. */
  async #finish(lane: number, one: Open<File>, md5: () => string): Promise<void> {
    const { file, fd, before, size } = one;
    const { fileName } = file;
    try {
      try {
        const facts = { md5: md5(), sha256: (one.sha256 as Hash).digest("hex"), size };
        // What fits into the room still lies there.
        const room = this.#lanes.rooms[lane] as Buffer;
        const at = size <= ROOM ? readAtBuffer(room.subarray(0, size)) : readAtFile(fd, size, fileName);
        const info = await readPackage(fileName, at, this.#wanted, this.#options);
        checkUnchanged(file.path, fileName, before);
        this.#done.push({ file, whole: { facts, info } });
      } catch (e) {
        // A file that is being written looks damaged: say what it is.
        checkUnchanged(file.path, fileName, before);
        throw e;
      }
    } catch (error) {
      this.#done.push({ file, error });
    } finally {
      closeSync(fd);
      this.#open[lane] = undefined;
    }
  }
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

function changed(fileName: string, why: string): PackageError {
  return new PackageError("CHANGED", {
    what: `${fileName}: changed while it was read`,
    why,
    next: "run again when whatever writes it has finished",
  });
}
