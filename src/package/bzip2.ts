import { PackageError } from "../errors.ts";
import type { ReadAt } from "./read-at.ts";

/*
 * bzip2, block by block, so that a reader can stop after the block that holds what it needs: whole-buffer decoders
 * read on to the end of a package of which only the first kilobytes are wanted. Written from the format's public
 * description. The loops work on typed arrays and numbers: 12 MB of output
 * a second where the bzip2 program makes 15 (docs/decisions/003-own-bzip2.md).
 */

const BLOCK_MAGIC = 0x314159265359;
const END_MAGIC = 0x177245385090;
const FAST_BITS = 10;
const MAX_CODE = 20;
const WINDOW = 1024 * 1024;
const OUT = 256 * 1024;

/** Thrown inside when the window ends before the block does; the block is then read again with more. */
const NEED_MORE = Symbol("need more input");

const CRC = new Int32Array(256);
for (let i = 0; i < 256; i++) {
  let c = i << 24;
  for (let k = 0; k < 8; k++) c = c & 0x80000000 ? (c << 1) ^ 0x04c11db7 : c << 1;
  CRC[i] = c;
}

/** Bits from a buffer, most significant first. */
class Bits {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  #held = 0;
  #count = 0;

  /** Continues at bit `bit` (0 to 7) of byte `at`. */
  seek(bytes: Uint8Array, at: number, bit: number): void {
    this.bytes = bytes;
    this.at = at;
    this.#held = 0;
    this.#count = 0;
    if (bit > 0) this.take(bit);
  }
  /** Position in bits from the start of the buffer. */
  get position(): number {
    return this.at * 8 - this.#count;
  }
  align(): void {
    this.#count -= this.#count % 8;
  }
  /** Up to 24 bits. */
  take(n: number): number {
    while (this.#count < n) {
      if (this.at >= this.bytes.length) throw NEED_MORE;
      this.#held = ((this.#held << 8) | (this.bytes[this.at++] as number)) & 0xffffffff;
      this.#count += 8;
    }
    this.#count -= n;
    return (this.#held >>> this.#count) & ((1 << n) - 1);
  }
}

interface Tables {
  /** For the next FAST_BITS bits: symbol << 5 | code length, or 0 where the code is longer. */
  fast: Uint16Array;
  limit: Int32Array;
  offset: Int32Array;
  symbols: Uint16Array;
}

function makeTables(lengths: Uint8Array, alphabet: number): Tables {
  const count = new Int32Array(MAX_CODE + 2);
  for (let i = 0; i < alphabet; i++) (count[lengths[i] as number] as number)++;
  const symbols = new Uint16Array(alphabet);
  const limit = new Int32Array(MAX_CODE + 2).fill(-1);
  const offset = new Int32Array(MAX_CODE + 2);
  const fast = new Uint16Array(1 << FAST_BITS);
  let code = 0;
  let n = 0;
  for (let length = 1; length <= MAX_CODE; length++) {
    offset[length] = n - code;
    for (let s = 0; s < alphabet; s++) {
      if (lengths[s] !== length) continue;
      symbols[n++] = s;
      if (length <= FAST_BITS) {
        const from = code << (FAST_BITS - length);
        const to = (code + 1) << (FAST_BITS - length);
        for (let f = from; f < to && f < fast.length; f++) fast[f] = (s << 5) | length;
      }
      code++;
    }
    limit[length] = code - 1;
    if ((count[length] as number) === 0) limit[length] = -1;
    code <<= 1;
  }
  return { fast, limit, offset, symbols };
}

/** Decodes the blocks of one stream after another; keeps its arrays between blocks and packages. */
class BlockDecoder {
  readonly bits = new Bits();
  readonly #tt = new Uint32Array(900_000);
  readonly #mtf = new Uint8Array(256);
  readonly #selectors = new Uint8Array(32_768);
  readonly #lengths = new Uint8Array(258);
  readonly #heads = new Int32Array(256);

  /**
   * Reads the block after its magic number and gives its content in portions.
   * The portions share one buffer: use each before asking for the next.
   */
  decode(blockSize: number, damaged: (why: string) => PackageError): Iterable<Uint8Array> {
    const bits = this.bits;
    const expectedCrc = (bits.take(16) << 16) | bits.take(16);
    if (bits.take(1)) throw damaged("it uses randomised blocks, which bzip2 gave up in 1998");
    const origin = bits.take(24);

    const used = new Uint8Array(256);
    let usedCount = 0;
    const rows = bits.take(16);
    for (let r = 0; r < 16; r++) {
      if (!(rows & (0x8000 >> r))) continue;
      const row = bits.take(16);
      for (let c = 0; c < 16; c++) if (row & (0x8000 >> c)) used[usedCount++] = r * 16 + c;
    }
    if (usedCount === 0) throw damaged("a block uses no bytes");
    const alphabet = usedCount + 2;
    const groups = bits.take(3);
    const selectorCount = bits.take(15);
    if (groups < 2 || groups > 6 || selectorCount < 1) throw damaged("a block has an impossible number of tables");
    const order = [0, 1, 2, 3, 4, 5];
    for (let i = 0; i < selectorCount; i++) {
      let j = 0;
      while (bits.take(1)) if (++j >= groups) throw damaged("a block names a table that isn't there");
      const g = order[j] as number;
      order.splice(j, 1);
      order.unshift(g);
      this.#selectors[i] = g;
    }
    const tables: Tables[] = [];
    for (let g = 0; g < groups; g++) {
      let length = bits.take(5);
      for (let s = 0; s < alphabet; s++) {
        for (;;) {
          if (length < 1 || length > MAX_CODE) throw damaged("a block has an impossible code length");
          if (!bits.take(1)) break;
          length += bits.take(1) ? -1 : 1;
        }
        this.#lengths[s] = length;
      }
      tables.push(makeTables(this.#lengths, alphabet));
    }
    const count = this.#symbols(tables, selectorCount, alphabet, used, blockSize, damaged);
    if (origin >= count) throw damaged("a block starts outside itself");
    return this.#unsort(origin, count, expectedCrc, damaged);
  }

  /** Huffman codes, move-to-front and zero runs: fills #tt with the block's last column, one byte an entry. */
  #symbols(
    tables: Tables[],
    selectorCount: number,
    alphabet: number,
    used: Uint8Array,
    blockSize: number,
    damaged: (why: string) => PackageError,
  ): number {
    const bits = this.bits;
    const bytes = bits.bytes;
    const tt = this.#tt;
    const mtf = this.#mtf;
    const heads = this.#heads.fill(0);
    mtf.set(used);
    const limitBlock = blockSize;
    const end = alphabet - 1;
    let position = bits.position;
    let at = position >>> 3;
    let held = 0;
    let have = 0;
    if (position & 7) {
      held = (bytes[at++] as number) & (0xff >> (position & 7));
      have = 8 - (position & 7);
    }
    let n = 0;
    let run = 0;
    let runBit = 1;
    let group = 0;
    let left = 0;
    let table = tables[0] as Tables;
    for (;;) {
      if (left === 0) {
        if (group >= selectorCount) throw damaged("a block has more symbols than tables for them");
        table = tables[this.#selectors[group++] as number] as Tables;
        left = 50;
      }
      left--;
      while (have < MAX_CODE && at < bytes.length) {
        held = ((held << 8) | (bytes[at++] as number)) & 0xfffffff;
        have += 8;
      }
      let length: number;
      let symbol: number;
      const peek =
        have >= FAST_BITS
          ? (held >>> (have - FAST_BITS)) & ((1 << FAST_BITS) - 1)
          : (held << (FAST_BITS - have)) & ((1 << FAST_BITS) - 1);
      const entry = table.fast[peek] as number;
      if (entry !== 0) {
        length = entry & 31;
        symbol = entry >>> 5;
        if (length > have) throw NEED_MORE;
      } else {
        length = FAST_BITS + 1;
        for (;;) {
          if (length > MAX_CODE) throw damaged("a block holds a code that isn't in its table");
          if (length > have) throw NEED_MORE;
          const code = (held >>> (have - length)) & ((1 << length) - 1);
          if (code <= (table.limit[length] as number)) {
            symbol = table.symbols[code + (table.offset[length] as number)] as number;
            break;
          }
          length++;
        }
      }
      have -= length;
      held &= (1 << have) - 1;

      if (symbol <= 1) {
        run += runBit << symbol;
        runBit <<= 1;
        if (run > limitBlock) throw damaged("a block is longer than its stream allows");
        continue;
      }
      if (run > 0) {
        const byte = mtf[0] as number;
        if (n + run > limitBlock) throw damaged("a block is longer than its stream allows");
        heads[byte] = (heads[byte] as number) + run;
        tt.fill(byte, n, n + run);
        n += run;
        run = 0;
        runBit = 1;
      }
      if (symbol === end) break;
      const index = symbol - 1;
      const byte = mtf[index] as number;
      if (index < 16) for (let m = index; m > 0; m--) mtf[m] = mtf[m - 1] as number;
      else mtf.copyWithin(1, 0, index);
      mtf[0] = byte;
      if (n >= limitBlock) throw damaged("a block is longer than its stream allows");
      heads[byte] = (heads[byte] as number) + 1;
      tt[n++] = byte;
    }
    position = at * 8 - have;
    bits.seek(bytes, position >>> 3, position & 7);
    return n;
  }

  /** Undoes the sorting and the first run-length coding. */
  *#unsort(
    origin: number,
    count: number,
    expectedCrc: number,
    damaged: (why: string) => PackageError,
  ): Iterable<Uint8Array> {
    const tt = this.#tt;
    const heads = this.#heads;
    let sum = 0;
    for (let b = 0; b < 256; b++) {
      const c = heads[b] as number;
      heads[b] = sum;
      sum += c;
    }
    for (let i = 0; i < count; i++) {
      const b = (tt[i] as number) & 0xff;
      const h = heads[b] as number;
      heads[b] = h + 1;
      tt[h] = (tt[h] as number) | (i << 8);
    }
    const out = new Uint8Array(OUT);
    let fill = 0;
    let crc = -1;
    let previous = -1;
    let same = 0;
    let pointer = (tt[origin] as number) >>> 8;
    for (let i = 0; i < count; i++) {
      const entry = tt[pointer] as number;
      const byte = entry & 0xff;
      pointer = entry >>> 8;
      if (same === 4) {
        if (fill + byte > OUT) {
          yield out.subarray(0, fill);
          fill = 0;
        }
        for (let r = 0; r < byte; r++) {
          out[fill++] = previous;
          crc = (crc << 8) ^ (CRC[(crc >>> 24) ^ previous] as number);
        }
        same = 0;
        previous = -1;
        continue;
      }
      if (byte === previous) same++;
      else {
        same = 1;
        previous = byte;
      }
      if (fill === OUT) {
        yield out;
        fill = 0;
      }
      out[fill++] = byte;
      crc = (crc << 8) ^ (CRC[(crc >>> 24) ^ byte] as number);
    }
    if (~crc !== expectedCrc) throw damaged("a bzip2 block fails its CRC");
    if (fill > 0) yield out.subarray(0, fill);
  }
}

/** One decoder is kept between packages: its arrays are 4 MB, and a thread reads one package at a time. */
let idle: BlockDecoder | undefined;

export interface Bzip2Summary {
  /** Streams that were begun. More than one: rattler's clients can't read the file (they stop after the first). */
  streams: number;
}

/**
 * Decodes bzip2, all streams of it (pbzip2 writes many), in portions of at most 256 KiB. Stop asking to stop decoding.
 * A portion is valid until the next is asked for.
 * @throws PackageError DAMAGED where the file is cut, changed or no bzip2.
 */
export async function* decodeBzip2(
  file: ReadAt,
  what: string,
  summary: Bzip2Summary = { streams: 0 },
): AsyncGenerator<Uint8Array> {
  const damaged = (why: string) =>
    new PackageError("DAMAGED", { what, why, next: "fetch it again, or tell whoever made it" });
  const decoder = idle ?? new BlockDecoder();
  idle = undefined;
  try {
    let offset = 0;
    let window = await file.read(0, Math.min(WINDOW, file.size));
    const bits = decoder.bits;
    bits.seek(window, 0, 0);
    let level = 0;
    /** Runs one step that reads from the window; with more of the file when the window was too short. */
    const step = async <T>(read: () => T): Promise<T> => {
      for (let length = WINDOW; ; length *= 2) {
        const position = bits.position;
        try {
          return read();
        } catch (e) {
          if (e !== NEED_MORE) throw e;
          if (offset + window.length >= file.size) throw damaged("it ends in the middle of its data: it was cut");
          offset += position >>> 3;
          window = await file.read(offset, Math.min(length, file.size - offset));
          bits.seek(window, 0, position & 7);
        }
      }
    };
    while (offset + Math.ceil(bits.position / 8) < file.size) {
      const header = await step(() => [bits.take(8), bits.take(8), bits.take(8), bits.take(8)] as const);
      if (header[0] !== 0x42 || header[1] !== 0x5a || header[2] !== 0x68 || header[3] < 0x31 || header[3] > 0x39) {
        if (summary.streams > 0) return; // what follows the last stream is padding of some tool
        throw damaged("it is no bzip2 file");
      }
      summary.streams++;
      level = header[3] - 0x30;
      for (;;) {
        const block = await step(() => {
          const magic = bits.take(24) * 2 ** 24 + bits.take(24);
          if (magic === END_MAGIC) {
            bits.take(16);
            bits.take(16);
            return undefined;
          }
          if (magic !== BLOCK_MAGIC) throw damaged("a bzip2 block does not begin as one");
          return decoder.decode(level * 100_000, damaged);
        });
        if (!block) break;
        yield* block;
      }
      bits.align();
    }
    if (summary.streams === 0) throw damaged("it is empty");
  } finally {
    idle = decoder;
  }
}
