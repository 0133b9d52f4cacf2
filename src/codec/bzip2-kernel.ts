/*
 * The two loops of a bzip2 block that take nearly all the time, and the memory they share with the rest of the
 * decoder. They exist twice: in WebAssembly (bzip2-wasm.ts), and here in plain JavaScript for machines without its
 * vector instructions, and as what the other is tested against.
 */

/** Sizes and places of the decoder's arrays in its memory; bytes unless said otherwise. */
export const TABLE_BITS = 10;
export const MAX_CODE = 20;
export const MAX_BLOCK = 900_000;
/** Portions of output end at the first byte behind this; a run may follow, of at most 255. */
export const MAX_PORTION = 64 * 1024;
/** The part of the file that is at hand. No block is longer, whatever its tables: 32,767 groups of 50 codes of 20 bits. */
export const MAX_WINDOW = 4 * 1024 * 1024 + 256 * 1024;
/** Zeros behind the window: what a group of codes may read beyond it before it is stopped. */
export const PADDING = 256;

const FAST_BYTES = 2 << TABLE_BITS;
const SLOW_BYTES = 1024;
export const AT = (() => {
  let end = 0;
  const take = (bytes: number): number => {
    const at = end;
    end += (bytes + 15) & ~15;
    return at;
  };
  return {
    /** The bytes of the block in the order of their last use. */
    list: take(256),
    /** 256 bytes of ones, then as many zeros: a window on it is a mask of any length. */
    mask: take(512),
    /** How often each byte occurs; later where the next one is sorted to. Int32 each. */
    counts: take(1024),
    /** The position in bits behind the block. Int32. */
    position: take(16),
    /** For each of six tables and the next TABLE_BITS bits: symbol << 5 | code length, or 0 where the code is longer. Uint16. */
    fast: take(6 * FAST_BYTES),
    /** For each of six tables: by code length its last code and what makes it an index (Int32 x 24 each), symbols by code (Uint16). */
    slow: take(6 * SLOW_BYTES),
    selectors: take(32_768),
    /** The block's last column. */
    column: take(MAX_BLOCK + 16),
    /** For each row: its first byte, and the row that follows << 8. Uint32. */
    rows: take(4 * MAX_BLOCK),
    output: take(MAX_PORTION + 256),
    window: take(MAX_WINDOW + PADDING),
    end,
    get bytes() {
      return end;
    },
  };
})();
export const FAST = { bytes: FAST_BYTES, entries: FAST_BYTES / 2 };
/** In bytes from a slow table's begin. */
export const SLOW = { bytes: SLOW_BYTES, offset: 96, symbols: 192 };

/** What `symbols` gives where there is no block: the reasons to tell. */
export const FAILURES: Readonly<Record<number, string>> = {
  [-1]: "a block is longer than its stream allows",
  [-2]: "a block holds a code that isn't in its table",
  [-3]: "a block has more symbols than tables for them",
};

export interface Kernel {
  readonly memory: ArrayBuffer;
  /**
   * Huffman codes, move-to-front and zero runs, from the given bit of the window up to the symbol `end`: fills
   * `column`, `counts` and `position`. Gives the bytes of the column, or a key of FAILURES. It may read past `limit`:
   * a `position` behind it means that the window was too short, whatever it gave.
   */
  symbols(position: number, limit: number, selectorCount: number, end: number, blockSize: number): number;
  /** Builds `rows` from `column` and `counts`. */
  sort(count: number): void;
}

/** The loops in JavaScript: about a third of the other's speed on data that does not compress, half on text. */
export function plainKernel(): Kernel {
  const memory = new ArrayBuffer(AT.bytes);
  const window = new Uint8Array(memory, AT.window, MAX_WINDOW + PADDING);
  const fast = new Uint16Array(memory, AT.fast, 6 * FAST.entries);
  const slow = new Int32Array(memory, AT.slow, (6 * SLOW.bytes) / 4);
  const slowSymbols = new Uint16Array(memory, AT.slow, (6 * SLOW.bytes) / 2);
  const selectors = new Uint8Array(memory, AT.selectors, 32_768);
  const column = new Uint8Array(memory, AT.column, MAX_BLOCK);
  const rows = new Uint32Array(memory, AT.rows, MAX_BLOCK);
  const counts = new Int32Array(memory, AT.counts, 256);
  const list = new Uint8Array(memory, AT.list, 256);
  const result = new Int32Array(memory, AT.position, 1);

  const symbols: Kernel["symbols"] = (position, limit, selectorCount, end, blockSize) => {
    counts.fill(0);
    let at = (position >>> 3) + 1;
    let have = 8 - (position & 7);
    // The next bits, from the highest on.
    let held = (window[at - 1] as number) << (32 - have);
    let n = 0;
    let run = 0;
    let shift = 0;
    const leave = (how: number): number => {
      result[0] = at * 8 - have;
      return how;
    };
    for (let group = 0; group < selectorCount; group++) {
      if (at * 8 - have > limit) return leave(-3);
      const selector = selectors[group] as number;
      for (let k = 0; k < 50; k++) {
        while (have <= 24) {
          held |= (window[at++] as number) << (24 - have);
          have += 8;
        }
        const entry = fast[selector * FAST.entries + (held >>> (32 - TABLE_BITS))] as number;
        let symbol = entry >>> 5;
        let length = entry & 31;
        if (entry === 0) {
          const table = (selector * SLOW.bytes) / 4;
          for (length = TABLE_BITS + 1; held >>> (32 - length) > (slow[table + length] as number); length++)
            if (length === MAX_CODE) return leave(-2);
          const index = (held >>> (32 - length)) + (slow[table + SLOW.offset / 4 + length] as number);
          symbol = slowSymbols[table * 2 + SLOW.symbols / 2 + index] as number;
        }
        held <<= length;
        have -= length;
        if (symbol <= 1) {
          run += (1 + symbol) << shift;
          if (++shift > 21) return leave(-1);
          continue;
        }
        if (run > 0) {
          const byte = list[0] as number;
          if (n + run > blockSize) return leave(-1);
          counts[byte] = (counts[byte] as number) + run;
          column.fill(byte, n, n + run);
          n += run;
          run = 0;
          shift = 0;
        }
        if (symbol === end) return leave(n);
        if (n >= blockSize) return leave(-1);
        const index = symbol - 1;
        const byte = list[index] as number;
        if (index < 16) for (let m = index; m > 0; m--) list[m] = list[m - 1] as number;
        else list.copyWithin(1, 0, index);
        list[0] = byte;
        counts[byte] = (counts[byte] as number) + 1;
        column[n++] = byte;
      }
    }
    return leave(-3);
  };

  const sort: Kernel["sort"] = (count) => {
    let sum = 0;
    for (let b = 0; b < 256; b++) {
      const c = counts[b] as number;
      counts[b] = sum;
      sum += c;
    }
    for (let i = 0; i < count; i++) {
      const byte = column[i] as number;
      const row = counts[byte] as number;
      counts[byte] = row + 1;
      rows[row] = byte | (i << 8);
    }
  };
  return { memory, symbols, sort };
}
