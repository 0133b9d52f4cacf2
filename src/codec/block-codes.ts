import type { BitWriter } from "./bit-writer.ts";
import { codeLengths, MAX_LENGTH } from "./code-lengths.ts";

/** Symbols that share a table. */
const GROUP = 50;
const MAX_SYMBOLS = 258;
const RUN_A = 0;
const RUN_B = 1;

/** How often tables are made anew from the groups that chose them. Two rounds more gain a thousandth. */
const ROUNDS = 4;

/** What a symbol outside of a table's part costs before there are code lengths, in bits. */
const OUTSIDE = 15;

/** Three sums of a group's bits lie in one number: 50 codes of 17 bits are less than 1024. */
const PACKED = 10;

/** Writes blocks as far as it is the same for each: bytes moved to the front, runs of the first, and Huffman codes. */
export class BlockCoder {
  readonly #symbols: Uint16Array;
  readonly #selectors: Uint8Array;
  readonly #counts = new Int32Array(MAX_SYMBOLS);
  readonly #lengths = Array.from({ length: 6 }, () => new Uint8Array(MAX_SYMBOLS));
  readonly #list = new Uint8Array(256);

  /** @param capacity bytes of a block at most. */
  constructor(capacity: number) {
    this.#symbols = new Uint16Array(capacity + 1);
    this.#selectors = new Uint8Array(Math.ceil((capacity + 1) / GROUP));
  }

  /** Writes what follows the block's origin: the bytes that occur, selectors, tables, codes. */
  write(column: Uint8Array, length: number, bits: BitWriter): void {
    const used = this.#writeUsed(column, length, bits);
    const alphabet = used + 2;
    const count = this.#moveToFront(column, length, alphabet - 1);
    const tables = count < 200 ? 2 : count < 600 ? 3 : count < 1200 ? 4 : count < 2400 ? 5 : 6;
    this.#divide(tables, alphabet, count);
    for (let round = 0; round < ROUNDS; round++) this.#refine(tables, alphabet, count);
    this.#writeSelectors(tables, Math.ceil(count / GROUP), bits);
    for (let t = 0; t < tables; t++) this.#writeLengths(this.#lengths[t] as Uint8Array, alphabet, bits);
    this.#writeCodes(tables, alphabet, count, bits);
  }

  /** Writes which bytes occur, and lists them. */
  #writeUsed(column: Uint8Array, length: number, bits: BitWriter): number {
    const there = new Uint8Array(256);
    for (let i = 0; i < length; i++) there[column[i] as number] = 1;
    const rows = Array.from({ length: 16 }, (_, r) =>
      there.subarray(16 * r, 16 * r + 16).reduce((mask, is) => (mask << 1) | is, 0),
    );
    bits.put(
      rows.reduce((mask, row) => (mask << 1) | (row ? 1 : 0), 0),
      16,
    );
    for (const row of rows) if (row) bits.put(row, 16);
    let used = 0;
    for (let b = 0; b < 256; b++) if (there[b]) this.#list[used++] = b;
    return used;
  }

  /** Fills in symbols and their counts: a byte's place in the list of the last used, runs of its first, the end. */
  #moveToFront(column: Uint8Array, length: number, end: number): number {
    const symbols = this.#symbols;
    const counts = this.#counts.fill(0);
    const list = this.#list;
    let count = 0;
    let run = 0;
    let first = list[0] as number;
    for (let i = 0; i < length; i++) {
      const byte = column[i] as number;
      if (byte === first) {
        run++;
        continue;
      }
      // A run's length in digits of 1 and 2, the lowest first.
      for (; run > 0; run = (run - 1) >> 1) {
        const digit = run & 1 ? RUN_A : RUN_B;
        symbols[count++] = digit;
        (counts[digit] as number)++;
      }
      let place = 0;
      let moved = first;
      do {
        const next = list[++place] as number;
        list[place] = moved;
        moved = next;
      } while (moved !== byte);
      list[0] = first = byte;
      symbols[count++] = place + 1;
      (counts[place + 1] as number)++;
    }
    for (; run > 0; run = (run - 1) >> 1) {
      const digit = run & 1 ? RUN_A : RUN_B;
      symbols[count++] = digit;
      (counts[digit] as number)++;
    }
    symbols[count++] = end;
    (counts[end] as number)++;
    return count;
  }

  /** Gives each table a part of the alphabet that makes up as much of the block as the others'. */
  #divide(tables: number, alphabet: number, count: number): void {
    let from = 0;
    let left = count;
    for (let t = 0; t < tables; t++) {
      const share = Math.floor(left / (tables - t));
      let to = from;
      let sum = 0;
      while (to < alphabet && (sum < share || to === from)) sum += this.#counts[to++] as number;
      (this.#lengths[t] as Uint8Array).fill(OUTSIDE).fill(0, from, to);
      from = to;
      left -= sum;
    }
  }

  /** Lets each group choose the table that is shortest for it, and makes each table from the groups that chose it. */
  #refine(tables: number, alphabet: number, count: number): void {
    const symbols = this.#symbols;
    const low = new Int32Array(alphabet);
    const high = new Int32Array(alphabet);
    for (let s = 0; s < alphabet; s++) {
      for (let t = tables - 1; t >= 0; t--) {
        const packed = t < 3 ? low : high;
        packed[s] = ((packed[s] as number) << PACKED) | ((this.#lengths[t] as Uint8Array)[s] as number);
      }
    }
    const chosen = Array.from({ length: tables }, () => new Int32Array(alphabet));
    for (let group = 0, from = 0; from < count; group++, from += GROUP) {
      const to = Math.min(from + GROUP, count);
      let lowSum = 0;
      let highSum = 0;
      for (let i = from; i < to; i++) {
        const symbol = symbols[i] as number;
        lowSum += low[symbol] as number;
        highSum += high[symbol] as number;
      }
      let best = 0;
      let least = 1 << PACKED;
      for (let t = 0; t < tables; t++) {
        const sum = ((t < 3 ? lowSum : highSum) >> (PACKED * (t % 3))) & ((1 << PACKED) - 1);
        if (sum >= least) continue;
        least = sum;
        best = t;
      }
      this.#selectors[group] = best;
      const counts = chosen[best] as Int32Array;
      for (let i = from; i < to; i++) (counts[symbols[i] as number] as number)++;
    }
    for (let t = 0; t < tables; t++) codeLengths(chosen[t] as Int32Array, this.#lengths[t] as Uint8Array);
  }

  #writeSelectors(tables: number, count: number, bits: BitWriter): void {
    bits.put(tables, 3);
    bits.put(count, 15);
    const order = [0, 1, 2, 3, 4, 5];
    for (let group = 0; group < count; group++) {
      const table = this.#selectors[group] as number;
      const place = order.indexOf(table);
      order.copyWithin(1, 0, place);
      order[0] = table;
      bits.put((2 << place) - 2, place + 1);
    }
  }

  #writeLengths(lengths: Uint8Array, alphabet: number, bits: BitWriter): void {
    let before = lengths[0] as number;
    bits.put(before, 5);
    for (let s = 0; s < alphabet; s++) {
      const length = lengths[s] as number;
      for (; before < length; before++) bits.put(0b10, 2);
      for (; before > length; before--) bits.put(0b11, 2);
      bits.put(0, 1);
    }
  }

  #writeCodes(tables: number, alphabet: number, count: number, bits: BitWriter): void {
    // Code and length in one number, table behind table.
    const codes = new Int32Array(tables * MAX_SYMBOLS);
    for (let t = 0; t < tables; t++) {
      const lengths = this.#lengths[t] as Uint8Array;
      let code = 0;
      for (let length = 1; length <= MAX_LENGTH; length++, code <<= 1)
        for (let s = 0; s < alphabet; s++)
          if (lengths[s] === length) codes[t * MAX_SYMBOLS + s] = (code++ << 5) | length;
    }
    const symbols = this.#symbols;
    for (let group = 0, from = 0; from < count; group++, from += GROUP) {
      const table = (this.#selectors[group] as number) * MAX_SYMBOLS;
      const to = Math.min(from + GROUP, count);
      bits.reserve(GROUP * 3);
      const { bytes } = bits;
      let { length, held, have } = bits;
      for (let i = from; i < to; i++) {
        const entry = codes[table + (symbols[i] as number)] as number;
        held = (held << (entry & 31)) | (entry >> 5);
        have += entry & 31;
        while (have >= 8) {
          have -= 8;
          bytes[length++] = held >>> have;
        }
      }
      bits.length = length;
      bits.held = held;
      bits.have = have;
    }
  }
}
