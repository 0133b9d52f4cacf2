import { pipeline, Readable } from "node:stream";
import { crc32, createInflateRaw } from "node:zlib";
import { MirrorError, PackageError, TransferError } from "../../errors.ts";
import { ARCHIVE_LIMITS } from "../../package/limits.ts";
import type { ReadAt } from "../../package/read-at.ts";
import { dataOffset, LOCAL_HEADER, refusedMember, type Zip, type ZipMember } from "../../package/zip.ts";
import type { Address, Open } from "../../transfer/place.ts";
import { resumed } from "../../transfer/resumed.ts";
import { writeFrom } from "../../transfer/spool.ts";
import { type ArchiveFile, partOf } from "./archive-file.ts";

/** Local headers carry further fields of unknown length; this much is asked for along with a member, to spare a request. */
const LOCAL_EXTRA = 1024;

const MiB = 1024 * 1024;

/** A `.conda` says at its end what it is, a `.tar.bz2` at its start; nearly always within this much. */
const ENDS = MiB;

/** Deflated members up to this many bytes are fetched for a look at what they say of themselves. */
const LOOK_INTO = { remote: 8 * MiB, local: 256 * MiB };

/** Names a member's content: what the zip's directory says of it. */
export function memberVersion(crc: number, size: number): string {
  return `crc32:${crc.toString(16).padStart(8, "0")}-${size}`;
}

/** One member of a zip as a file of its own: read where it lies when it is stored, inflated as it comes when not. */
export class MemberFile {
  readonly #file: ArchiveFile;
  readonly #member: ZipMember;
  readonly #directoryStart: number;
  readonly #origin: string;
  #dataAt: number | undefined;

  /** @param origin of the member, for people. */
  constructor(file: ArchiveFile, zip: Zip, member: ZipMember, origin: string) {
    this.#file = file;
    this.#member = member;
    this.#directoryStart = zip.directoryStart;
    this.#origin = origin;
  }

  /** Why it can't be read, or should not be. */
  refusal(): MirrorError | undefined {
    const { size, compressedSize } = this.#member;
    if (size > ARCHIVE_LIMITS.ratioFrom && size > compressedSize * ARCHIVE_LIMITS.memberRatio) {
      return new PackageError("TOO_LARGE", {
        what: this.#origin,
        why: `${compressedSize} bytes of it unpack to ${size}, which no package or archive does`,
        next: "it is hostile or broken; leave it out",
      });
    }
    return refusedMember(this.#member, this.#origin);
  }

  get stored(): boolean {
    return this.#member.method === 0;
  }

  /** Names its content: what the zip's directory says of it. */
  get version(): string {
    return memberVersion(this.#member.crc, this.#member.size);
  }

  readonly open: Open = async (request, signal) => {
    const { size } = this.#member;
    if (request.unlessVersion === this.version) return "unchanged";
    const start = Math.min(request.start ?? 0, size);
    const end = Math.min(request.end ?? size, size);
    const chunks = this.stored ? this.#raw(start, end, 0, signal) : window(this.#inflate(signal), start, end);
    return { start, size, version: this.version, chunks, cancel: () => undefined };
  };

  /**
   * What the package says of itself, without fetching more than that takes. Nothing is written for it: of what is
   * compressed both ends are kept in memory, and the middle is inflated again where somebody asks for it.
   * @throws TransferError
   */
  readonly lookInto = async (signal: AbortSignal, atAnyCost: boolean): Promise<ReadAt> => {
    if (this.stored) return this.archive(signal);
    const local = this.#file.base.address !== undefined && "path" in this.#file.base.address;
    if (!atAnyCost && this.#member.compressedSize > LOOK_INTO[local ? "local" : "remote"]) {
      throw new TransferError(
        "SERVER_ERROR",
        {
          what: this.#origin,
          why: "it is compressed inside its archive: what it holds shows only when it is fetched",
          next: "run without --dry-run",
        },
        { mayPass: false },
      );
    }
    const { size } = this.#member;
    let ends: Promise<{ head: Buffer; tail: Buffer }> | undefined;
    return {
      size,
      read: async (offset, length) => {
        ends ??= this.#ends(signal);
        const { head, tail } = await ends;
        const tailAt = size - tail.length;
        if (offset + length <= head.length) return head.subarray(offset, offset + length);
        if (offset >= tailAt) return tail.subarray(offset - tailAt, offset - tailAt + length);
        const parts: Uint8Array[] = [];
        for await (const part of window(this.#inflate(signal), offset, offset + length)) parts.push(part);
        return Buffer.concat(parts);
      },
    };
  };

  /** Where packages say what they are: both ends of the inflated bytes, all of which are read and checked for it. */
  async #ends(signal: AbortSignal): Promise<{ head: Buffer; tail: Buffer }> {
    const head: Uint8Array[] = [];
    const tail: Uint8Array[] = [];
    let [got, kept, sum] = [0, 0, 0];
    for await (const chunk of this.#inflate(signal)) {
      if (got < ENDS) head.push(chunk.subarray(0, ENDS - got));
      got += chunk.length;
      sum = crc32(chunk, sum);
      tail.push(chunk);
      kept += chunk.length;
      while (kept - (tail[0] as Uint8Array).length >= ENDS) kept -= (tail.shift() as Uint8Array).length;
    }
    if (sum !== this.#member.crc) throw this.#damaged("fails its CRC");
    return { head: Buffer.concat(head), tail: Buffer.concat(tail).subarray(-ENDS) };
  }

  /** A stored member as an archive, read where it lies. */
  async archive(signal: AbortSignal): Promise<ArchiveFile> {
    return partOf(this.#file, await this.dataAt(), this.#member.size, this.#origin, signal);
  }

  /** Where a worker thread can read it by itself: stored in a file of this machine. */
  async address(): Promise<Address | undefined> {
    const { base, start } = this.#file;
    if (!this.stored || !base.address || !("path" in base.address)) return undefined;
    return { ...base.address, part: { start: start + (await this.dataAt()), length: this.#member.size } };
  }

  /** Writes the inflated member to a new file, checked. @param onBytes told of bytes as they come, and of how many there are */
  async unpack(path: string, signal: AbortSignal, onBytes: (bytes: number, size: number) => void): Promise<void> {
    let sum = 0;
    const summed = async function* (chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const chunk of chunks) {
        sum = crc32(chunk, sum);
        yield chunk;
      }
    };
    await writeFrom(summed(this.#inflate(signal)), path, signal, (n) => onBytes(n, this.#member.size));
    if (sum !== this.#member.crc) throw this.#damaged("fails its CRC");
  }

  /** Where in the archive its bytes begin. @throws PackageError DAMAGED */
  async dataAt(): Promise<number> {
    if (this.#dataAt !== undefined) return this.#dataAt;
    const { headerOffset } = this.#member;
    if (headerOffset + LOCAL_HEADER > this.#directoryStart) throw this.#damaged("is not where the directory says");
    return this.#begins(await this.#file.read(headerOffset, LOCAL_HEADER));
  }

  #begins(header: Uint8Array): number {
    const at = dataOffset(header, this.#member, this.#origin);
    if (at + this.#member.compressedSize > this.#directoryStart)
      throw this.#damaged("reaches into the zip's directory");
    this.#dataAt = at;
    return at;
  }

  /** The bytes as they lie there, from `start` to `end`. */
  async *#raw(start: number, end: number, attempts: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { headerOffset, compressedSize, name } = this.#member;
    const retry = { ...this.#file.retry, attempts };
    const { base, origin } = this.#file;
    const read = (from: number, to: number) => {
      const wanted = { start: this.#file.start + from, end: this.#file.start + to, version: base.version };
      return resumed({ origin, open: base.open }, wanted, retry, signal);
    };
    if (start >= end) return;
    if (this.#dataAt === undefined && start === 0 && end === compressedSize) {
      // The header and the bytes behind it in one request.
      const most = headerOffset + LOCAL_HEADER + Buffer.byteLength(name) + LOCAL_EXTRA + compressedSize;
      const until = Math.min(most, this.#directoryStart);
      let header = Buffer.alloc(0);
      let skip = -1;
      let left = end;
      for await (let chunk of read(headerOffset, until)) {
        if (skip < 0) {
          header = Buffer.concat([header, chunk]);
          if (header.length < LOCAL_HEADER) continue;
          const dataAt = this.#begins(header);
          if (dataAt + compressedSize > until) break;
          skip = dataAt - headerOffset;
          chunk = header;
        }
        const from = Math.min(skip, chunk.length);
        skip -= from;
        const taken = chunk.subarray(from, from + Math.min(chunk.length - from, left));
        left -= taken.length;
        if (taken.length > 0) yield taken;
      }
      if (skip >= 0) return;
    }
    const dataAt = await this.dataAt();
    yield* read(dataAt + start, dataAt + end);
  }

  async *#inflate(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { size, compressedSize } = this.#member;
    const inflater = createInflateRaw({ chunkSize: 256 * 1024 });
    const compressed = Readable.from(this.#raw(0, compressedSize, this.#file.retry.attempts, signal), {
      objectMode: false,
    });
    pipeline(compressed, inflater, () => undefined);
    let got = 0;
    try {
      for await (const chunk of inflater as AsyncIterable<Uint8Array>) {
        got += chunk.length;
        if (got > size) throw this.#damaged(`unpacks to more than the ${size} bytes that the zip's directory says`);
        yield chunk;
      }
    } catch (e) {
      if (e instanceof TransferError) throw new TransferError(e.code, e, { mayPass: false });
      if (e instanceof MirrorError || signal.aborted) throw e;
      throw this.#damaged(`can't be inflated: ${(e as Error).message}`, e);
    }
    if (got < size) throw this.#damaged(`unpacks to ${got} bytes, the zip's directory says ${size}`);
  }

  #damaged(why: string, cause?: unknown): PackageError {
    return new PackageError("DAMAGED", {
      what: this.#origin,
      why: `its member ${this.#member.name} ${why}`,
      next: "fetch it again, or tell whoever made it",
      cause,
    });
  }
}

async function* window(chunks: AsyncIterable<Uint8Array>, start: number, end: number): AsyncGenerator<Uint8Array> {
  let at = 0;
  if (start >= end) return;
  for await (const chunk of chunks) {
    const from = Math.max(0, start - at);
    const to = Math.min(chunk.length, end - at);
    at += chunk.length;
    if (to > from) yield chunk.subarray(from, to);
    if (at >= end) return;
  }
}
