import { createHash, type Hash, hash } from "node:crypto";
import { closeSync, linkSync, openSync, rmSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { parseFileName } from "../conda/file-name.ts";
import { recordFacts } from "../conda/record-facts.ts";
import { normaliseRunExports } from "../conda/run-exports.ts";
import { PackageError, TransferError } from "../errors.ts";
import { makeFolderSync } from "../make-folder.ts";
import { readPackage } from "../package/read.ts";
import { type ReadAt, readAtBuffer, readAtFile } from "../package/read-at.ts";
import { type FileFacts, makeRecord } from "../package/record.ts";
import type { PlacePackage, PlacerPlan } from "./placer.ts";
import type { Expected, Received } from "./worker-messages.ts";

const madeFolders = new Set<string>();

/**
 * One package on its way in: hashed and written as its bytes come, then checked against what was promised and read.
 * Runs in a worker thread, where synchronous file calls are the fastest.
 */
export class Reception {
  readonly #expected: Expected;
  readonly #stagedPath: string;
  #fd: number | undefined;
  #md5: Hash | undefined;
  #sha256: Hash | undefined;
  #crc32 = 0;
  #size = 0;

  constructor(expected: Expected, stagedPath: string) {
    this.#expected = expected;
    this.#stagedPath = stagedPath;
  }

  /** The way to the package's place elsewhere. */
  get placer(): PlacerPlan | undefined {
    const { placeIn } = this.#expected;
    return typeof placeIn === "object" ? placeIn : undefined;
  }

  chunk(bytes: Uint8Array): void {
    this.#fd ??= openSync(this.#stagedPath, "wx+");
    this.#md5 ??= createHash("md5");
    this.#sha256 ??= createHash("sha256");
    this.#md5.update(bytes);
    this.#sha256.update(bytes);
    if (this.#expected.crc32 !== undefined) this.#crc32 = crc32(bytes, this.#crc32);
    this.#size += bytes.length;
    writeAll(this.#fd, bytes, this.#stagedPath);
  }

  /** Forgets what came: the next bytes are the file's first. */
  restart(): void {
    if (this.#fd !== undefined) {
      closeSync(this.#fd);
      rmSync(this.#stagedPath, { force: true });
      this.#fd = undefined;
    }
    this.#md5 = undefined;
    this.#sha256 = undefined;
    this.#crc32 = 0;
    this.#size = 0;
  }

  drop(): void {
    this.restart();
  }

  async finish(): Promise<Received> {
    this.#fd ??= openSync(this.#stagedPath, "wx+");
    let received: Received;
    try {
      const facts = {
        md5: (this.#md5 ?? createHash("md5")).digest("hex"),
        sha256: (this.#sha256 ?? createHash("sha256")).digest("hex"),
        size: this.#size,
      };
      received = await this.#check(readAtFile(this.#fd, this.#size, this.#expected.fileName), facts, this.#crc32);
    } catch (e) {
      this.drop();
      throw e;
    } finally {
      if (this.#fd !== undefined) closeSync(this.#fd);
      this.#fd = undefined;
    }
    return { ...received, placed: this.#place(received.subdir) };
  }

  /** A small package in one piece: nothing is written before it has passed every check. To be stored then. */
  async whole(bytes: Uint8Array): Promise<Received> {
    const facts = { md5: hash("md5", bytes), sha256: hash("sha256", bytes), size: bytes.length };
    const sum = this.#expected.crc32 === undefined ? 0 : crc32(bytes);
    return this.#check(readAtBuffer(bytes), facts, sum);
  }

  /** Puts a small package that has passed into its place elsewhere where there is a way, else onto the disk. */
  async store(bytes: Uint8Array, received: Received, place: PlacePackage | undefined, signal: AbortSignal) {
    if (place && (await place(bytes, received, signal))) return { ...received, placed: true };
    const fd = openSync(this.#stagedPath, "wx");
    try {
      writeAll(fd, bytes, this.#stagedPath);
    } catch (e) {
      rmSync(this.#stagedPath, { force: true });
      throw e;
    } finally {
      closeSync(fd);
    }
    return { ...received, placed: this.#place(received.subdir) };
  }

  /** Moves the staged file to its name in the channel's folder if that is free. Whatever else there is to say, the store says. */
  #place(subdir: string): boolean {
    const { placeIn, fileName } = this.#expected;
    if (typeof placeIn !== "string") return false;
    const folder = join(placeIn, subdir);
    try {
      if (!madeFolders.has(folder)) makeFolderSync(folder);
      madeFolders.add(folder);
      linkSync(this.#stagedPath, join(folder, fileName));
    } catch {
      return false;
    }
    unlinkSync(this.#stagedPath);
    return true;
  }

  async #check(file: ReadAt, facts: FileFacts, sum: number): Promise<Received> {
    const expected = this.#expected;
    const differs = (code: "SIZE_MISMATCH" | "HASH_MISMATCH", kind: string, promised: string, got: string) =>
      new TransferError(
        code,
        {
          what: `${expected.fileName}: ${kind} differs from the one its source promises`,
          why: `expected ${promised}  got ${got}   (${facts.size} bytes from ${expected.origin})`,
          next: "The file changed or was damaged on the way; nothing was added. Try --retry-attempts, or tell the channel's owner.",
        },
        { mayPass: false },
      );
    if (expected.size !== undefined && expected.size !== facts.size)
      throw differs("SIZE_MISMATCH", "size", String(expected.size), String(facts.size));
    if (expected.sha256 !== undefined && expected.sha256 !== facts.sha256)
      throw differs("HASH_MISMATCH", "sha256", expected.sha256, facts.sha256);
    if (expected.md5 !== undefined && expected.md5 !== facts.md5)
      throw differs("HASH_MISMATCH", "md5", expected.md5, facts.md5);
    if (expected.crc32 !== undefined && expected.crc32 !== sum)
      throw differs("HASH_MISMATCH", "crc32", hex(expected.crc32), hex(sum));

    const name = parseFileName(expected.fileName);
    const info = await readPackage(expected.fileName, file, ["info/index.json", "info/run_exports.json"]);
    const made = makeRecord(
      expected.fileName,
      info.members.get("info/index.json") as Uint8Array,
      name,
      facts,
      expected.subdir,
    );
    const { runExports, problems } = normaliseRunExports(info.members.get("info/run_exports.json"));
    const warnings = [...info.warnings, ...made.warnings, ...problems];
    const record =
      expected.record && agrees(expected.record, expected.fileName, made.subdir, warnings)
        ? expected.record
        : made.record;
    return {
      fileName: expected.fileName,
      ...facts,
      subdir: made.subdir,
      record,
      v3: made.v3,
      runExports,
      stagedPath: this.#stagedPath,
      placed: false,
      warnings,
    };
  }
}

/**
 * Whether the source's record describes this package; its hashes were checked as promises already.
 * @throws PackageError when it names another package: an index that lies is not to be followed.
 */
function agrees(record: Uint8Array, fileName: string, subdir: string, warnings: string[]): boolean {
  const said = recordFacts(record);
  const name = parseFileName(fileName);
  for (const key of ["name", "version", "build"] as const) {
    if (said[key] !== name[key]) {
      throw new PackageError("NAME_MISMATCH", {
        what: `${fileName}: its channel's record is about something else`,
        why: `the record says ${key} ${String(said[key])}`,
        next: "the channel's index is wrong; tell its owner",
      });
    }
  }
  if (said.subdir === undefined || said.subdir === subdir) return true;
  warnings.push(
    `its channel lists it under ${said.subdir}, but it was built for ${subdir}: the record is made from the package`,
  );
  return false;
}

function hex(sum: number): string {
  return sum.toString(16).padStart(8, "0");
}

function writeAll(fd: number, bytes: Uint8Array, path: string): void {
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at);
  } catch (e) {
    // The system does not say which file it was.
    throw Object.assign(e as Error, { path });
  }
}
