import type { PackageError } from "../errors.ts";
import {
  AT,
  FAILURES,
  FAST,
  type Kernel,
  MAX_BLOCK,
  MAX_CODE,
  MAX_PORTION,
  PADDING,
  SLOW,
  TABLE_BITS,
} from "./bzip2-kernel.ts";

/** Thrown when the window ends before what is read does; load more of the file and read it again from its begin. */
export const NEED_MORE = Symbol("need more input");

const FIRST_PORTION = 4 * 1024;

/** The steps of the CRC that blocks have: that of Ethernet, the highest bit first. */
export const CRC = new Int32Array(256);
for (let i = 0; i < 256; i++) {
  let c = i << 24;
  for (let k = 0; k < 8; k++) c = c & 0x80000000 ? (c << 1) ^ 0x04c11db7 : c << 1;
  CRC[i] = c;
}

/** Makes an error of the file's out of a reason. */
type Damaged = (why: string) => PackageError;

/** A block whose codes are read: its content comes in portions, each of which is only then unsorted. */
export interface Block {
  /** What its content has to add up to; checked when the last portion is taken. */
  readonly crc: number;
  readonly portions: Iterable<Uint8Array>;
}

/** How far the rows of a block were walked. */
interface Walk {
  left: number;
  row: number;
  previous: number;
  same: number;
  crc: number;
}

/**
 * Decodes the blocks of one stream after another. It holds a window on the file and one block, and keeps its arrays
 * between blocks and packages.
 */
export class BlockDecoder {
  readonly #kernel: Kernel;
  readonly #window: Uint8Array;
  readonly #list: Uint8Array;
  readonly #selectors: Uint8Array;
  readonly #fast: Uint16Array;
  readonly #slow: Int32Array;
  readonly #slowSymbols: Uint16Array;
  readonly #positionBehind: Int32Array;
  readonly #rows: Uint32Array;
  readonly #output: Uint8Array;
  readonly #lengths = new Uint8Array(258);
  #limit = 0;
  /** The next bit of the window. */
  position = 0;

  constructor(kernel: Kernel) {
    const { memory } = kernel;
    this.#kernel = kernel;
    this.#window = new Uint8Array(memory, AT.window);
    this.#list = new Uint8Array(memory, AT.list, 256);
    this.#selectors = new Uint8Array(memory, AT.selectors, 32_768);
    this.#fast = new Uint16Array(memory, AT.fast, 6 * FAST.entries);
    this.#slow = new Int32Array(memory, AT.slow, (6 * SLOW.bytes) / 4);
    this.#slowSymbols = new Uint16Array(memory, AT.slow, (6 * SLOW.bytes) / 2);
    this.#positionBehind = new Int32Array(memory, AT.position, 1);
    this.#rows = new Uint32Array(memory, AT.rows, MAX_BLOCK);
    this.#output = new Uint8Array(memory, AT.output, MAX_PORTION + 256);
  }

  /** Takes over the next part of the file, at most MAX_WINDOW bytes of it, and goes on at its bit `position`. */
  load(bytes: Uint8Array, position: number): void {
    this.#window.set(bytes);
    this.#window.fill(0, bytes.length, bytes.length + PADDING);
    this.#limit = bytes.length * 8;
    this.position = position;
  }

  /** The next 1 to 24 bits. @throws NEED_MORE */
  take(n: number): number {
    const window = this.#window;
    const at = this.position >>> 3;
    const bit = this.position & 7;
    if (this.position + n > this.#limit) throw NEED_MORE;
    this.position += n;
    const four =
      ((window[at] as number) << 24) |
      ((window[at + 1] as number) << 16) |
      ((window[at + 2] as number) << 8) |
      (window[at + 3] as number);
    return (four << bit) >>> (32 - n);
  }

  /**
   * Reads the block that stands behind its magic number. Its portions share one buffer: use each before asking for
   * the next, and leave none for later when the next block is read.
   * @param blockSize bytes that its stream allows.
   * @throws NEED_MORE, or what `damaged` makes.
   */
  block(blockSize: number, damaged: Damaged): Block {
    const crc = (this.take(16) << 16) | this.take(16);
    if (this.take(1)) throw damaged("it uses randomised blocks, which bzip2 gave up in 1998");
    const origin = this.take(24);
    const alphabet = this.#bytesUsed() + 2;
    if (alphabet === 2) throw damaged("a block uses no bytes");
    const tables = this.take(3);
    const selectorCount = this.take(15);
    if (tables < 2 || tables > 6 || selectorCount < 1) throw damaged("a block has an impossible number of tables");
    this.#readSelectors(selectorCount, tables, damaged);
    for (let t = 0; t < tables; t++) {
      this.#readLengths(alphabet, damaged);
      this.#makeTable(t, alphabet);
    }
    const count = this.#kernel.symbols(this.position, this.#limit, selectorCount, alphabet - 1, blockSize);
    this.position = this.#positionBehind[0] as number;
    if (this.position > this.#limit) throw NEED_MORE;
    if (count < 0) throw damaged(FAILURES[count] as string);
    if (origin >= count) throw damaged("a block starts outside itself");
    this.#kernel.sort(count);
    return { crc, portions: this.#unsort(origin, count, crc, damaged) };
  }

  /** Fills the list with the bytes that occur in the block, and gives their number. */
  #bytesUsed(): number {
    let count = 0;
    const rows = this.take(16);
    for (let r = 0; r < 16; r++) {
      if (!(rows & (0x8000 >> r))) continue;
      const row = this.take(16);
      for (let c = 0; c < 16; c++) if (row & (0x8000 >> c)) this.#list[count++] = r * 16 + c;
    }
    return count;
  }

  #readSelectors(count: number, tables: number, damaged: Damaged): void {
    const order = [0, 1, 2, 3, 4, 5];
    for (let i = 0; i < count; i++) {
      let j = 0;
      while (this.take(1)) if (++j >= tables) throw damaged("a block names a table that isn't there");
      const table = order[j] as number;
      for (; j > 0; j--) order[j] = order[j - 1] as number;
      order[0] = table;
      this.#selectors[i] = table;
    }
  }

  #readLengths(alphabet: number, damaged: Damaged): void {
    let length = this.take(5);
    for (let s = 0; s < alphabet; s++) {
      for (;;) {
        if (length < 1 || length > MAX_CODE) throw damaged("a block has an impossible code length");
        if (!this.take(1)) break;
        length += this.take(1) ? -1 : 1;
      }
      this.#lengths[s] = length;
    }
  }

  /** Canonical codes: shorter ones first, those of one length in the order of their symbols. */
  #makeTable(table: number, alphabet: number): void {
    const lengths = this.#lengths;
    const slow = (table * SLOW.bytes) / 4;
    const fast = table * FAST.entries;
    const counts = new Int32Array(MAX_CODE + 1);
    for (let s = 0; s < alphabet; s++) (counts[lengths[s] as number] as number)++;
    const nextCode = new Int32Array(MAX_CODE + 1);
    const nextIndex = new Int32Array(MAX_CODE + 1);
    let code = 0;
    let index = 0;
    let fits = true;
    for (let length = 1; length <= MAX_CODE; length++) {
      const count = counts[length] as number;
      nextCode[length] = code;
      nextIndex[length] = index;
      this.#slow[slow + SLOW.offset / 4 + length] = index - code;
      this.#slow[slow + length] = count === 0 ? -1 : code + count - 1;
      code += count;
      index += count;
      fits &&= code <= 1 << length;
      code <<= 1;
    }
    this.#fast.fill(0, fast, fast + FAST.entries);
    if (!fits) {
      // More codes than there is room for. Some encoders write such tables and never use them: its first use is the error.
      this.#slow.fill(-1, slow, slow + MAX_CODE + 1);
      return;
    }
    for (let s = 0; s < alphabet; s++) {
      const length = lengths[s] as number;
      this.#slowSymbols[slow * 2 + SLOW.symbols / 2 + (nextIndex[length] as number)] = s;
      (nextIndex[length] as number)++;
      if (length > TABLE_BITS) continue;
      const first = (nextCode[length] as number) << (TABLE_BITS - length);
      (nextCode[length] as number)++;
      this.#fast.fill((s << 5) | length, fast + first, fast + first + (1 << (TABLE_BITS - length)));
    }
  }

  /**
   * Undoes the sorting and the first run-length coding, as far as it is asked for: in small portions at first, since
   * what is wanted of a package stands at its begin.
   */
  *#unsort(origin: number, count: number, expectedCrc: number, damaged: Damaged): Iterable<Uint8Array> {
    const walk: Walk = { left: count, row: origin, previous: -1, same: 0, crc: -1 };
    for (let portion = FIRST_PORTION; walk.left > 0; portion = Math.min(portion * 4, MAX_PORTION)) {
      const fill = this.#portion(walk, portion);
      if (walk.left === 0 && ~walk.crc !== expectedCrc) throw damaged("a bzip2 block fails its CRC");
      if (fill > 0) yield this.#output.subarray(0, fill);
    }
  }

  /** Writes the next `size` bytes of output or a few more, and gives their number. Apart from the generator it runs twice as fast. */
  #portion(walk: Walk, size: number): number {
    const rows = this.#rows;
    const output = this.#output;
    let { left, row, previous, same, crc } = walk;
    let fill = 0;
    for (; left > 0 && fill < size; left--) {
      const entry = rows[row] as number;
      const byte = entry & 0xff;
      row = entry >>> 8;
      if (same === 4) {
        for (let r = 0; r < byte; r++) {
          output[fill++] = previous;
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
      output[fill++] = byte;
      crc = (crc << 8) ^ (CRC[(crc >>> 24) ^ byte] as number);
    }
    walk.left = left;
    walk.row = row;
    walk.previous = previous;
    walk.same = same;
    walk.crc = crc;
    return fill;
  }
}
