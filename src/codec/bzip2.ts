import { PackageError } from "../errors.ts";
import { type Block, BlockDecoder, NEED_MORE } from "./bzip2-block.ts";
import { MAX_WINDOW, plainKernel } from "./bzip2-kernel.ts";
import { wasmKernel } from "./bzip2-wasm.ts";

/*
 * bzip2, as far as it is asked for: whole-buffer decoders read on to the end of a package of which only the first
 * kilobytes are wanted. Written from the format's public description. This file knows streams and the file they come
 * from, bzip2-block.ts the blocks, bzip2-kernel.ts and bzip2-wasm.ts the loops that take the time
 * (docs/decisions/003-own-bzip2.md).
 */

const BLOCK_MAGIC = 0x314159265359;
const END_MAGIC = 0x177245385090;
const STREAM_MAGIC = 0x425a68; // "BZh"

/** Bytes that are read at a time; more only for blocks that are longer, which no encoder of sense makes. */
const WINDOW = 1024 * 1024;

/** One decoder is kept between packages: its arrays take 9 MB, and a thread reads one package at a time. */
let idle: BlockDecoder | undefined;

/** Where the bytes come from: a `ReadAt` of the room `package`, or whatever else can be read at any place. */
export interface Bzip2File {
  /** Bytes in all. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`; both lie inside `size`. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface Bzip2Summary {
  /** Streams that were begun. More than one: rattler's clients can't read the file (they stop after the first). */
  streams: number;
}

/**
 * Decodes bzip2, all streams of it (pbzip2 writes many), in portions of 4 to 64 KiB. Stop asking to stop decoding: a
 * block of up to 900 kB is read in full when its first portion is asked for, but put in order only as far as it is
 * taken, and its CRC is checked only when all of it was. A portion is valid until the next is asked for.
 * @param given for tests: a decoder in place of the thread's own.
 * @throws PackageError DAMAGED where the file is cut, changed or no bzip2.
 */
export async function* decodeBzip2(
  file: Bzip2File,
  what: string,
  summary: Bzip2Summary = { streams: 0 },
  given?: BlockDecoder,
): AsyncGenerator<Uint8Array> {
  const damaged = (why: string) =>
    new PackageError("DAMAGED", { what, why, next: "fetch it again, or tell whoever made it" });
  const decoder = given ?? idle ?? new BlockDecoder(wasmKernel() ?? plainKernel());
  if (decoder === idle) idle = undefined;
  try {
    let offset = 0;
    let end = 0;
    const load = async (from: number, bit: number, length: number): Promise<void> => {
      offset = from;
      end = Math.min(from + length, file.size);
      decoder.load(await file.read(from, end - from), bit);
    };
    /** Runs one step that reads from the window; with more of the file when the window was too short. */
    const step = async <T>(read: () => T): Promise<T> => {
      for (let length = WINDOW; ; length *= 2) {
        const { position } = decoder;
        try {
          return read();
        } catch (e) {
          if (e !== NEED_MORE) throw e;
          if (end >= file.size) throw damaged("it ends in the middle of its data: it was cut");
          if (length > MAX_WINDOW) throw damaged("a block takes more room than any can");
          await load(offset + (position >>> 3), position & 7, length);
        }
      }
    };
    await load(0, 0, WINDOW);
    // Fewer bytes than a stream's header behind the last one are padding, like whatever else does not begin as one.
    while (summary.streams === 0 || offset + decoder.position / 8 + 4 <= file.size) {
      const [magic, digit] = await step(() => [decoder.take(24), decoder.take(8)] as const);
      const level = digit - 0x30;
      if (magic !== STREAM_MAGIC || level < 1 || level > 9) {
        if (summary.streams > 0) return;
        throw damaged("it is no bzip2 file");
      }
      summary.streams++;
      let sum = 0;
      const next = (): Block | undefined => {
        const kind = decoder.take(24) * 2 ** 24 + decoder.take(24);
        if (kind === BLOCK_MAGIC) return decoder.block(level * 100_000, damaged);
        if (kind !== END_MAGIC) throw damaged("a bzip2 block does not begin as one");
        if (((decoder.take(16) << 16) | decoder.take(16)) !== sum) throw damaged("a bzip2 stream fails its CRC");
        return undefined;
      };
      for (let block = await step(next); block; block = await step(next)) {
        sum = ((sum << 1) | (sum >>> 31)) ^ block.crc;
        yield* block.portions;
      }
      decoder.position = (decoder.position + 7) & ~7;
    }
  } finally {
    if (!given) idle = decoder;
  }
}
