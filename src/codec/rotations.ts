/*
 * The Burrows-Wheeler transform: the last bytes of a block's rotations, in the order of the rotations. Sorting takes
 * time in proportion to the block's length, whatever is in it; an index repeats itself for kilobytes, which is what
 * makes sorting by comparison slow (docs/decisions/010-bzip2-encoder.md).
 *
 * A suffix sort does it, without doubling the block. Turned to its least rotation, a block that is no repetition of a
 * shorter one is a Lyndon word, and the suffixes of a Lyndon word are in the same order as its rotations that begin
 * there (Giancarlo, Restivo, Sciortino: From first principles to the Burrows and Wheeler transform and beyond, 2007).
 * A block that is a repetition has each row of the shorter one as many times as it repeats it.
 */

type Text = Uint8Array | Int32Array;

/** Sorts blocks of up to a given length, one after the other in the same memory: 7 bytes for each byte of a block, and up to 4 while it works. */
export class RotationSorter {
  readonly #suffixes: Int32Array;
  /** Twice the block's length, so that a rotation of it is a part. */
  readonly #doubled: Uint8Array;
  /** Where the block to be sorted is filled in; the sort does not keep it. */
  readonly block: Uint8Array;
  /** The last column, as far as the last sort went. */
  readonly column: Uint8Array;

  constructor(capacity: number) {
    this.#suffixes = new Int32Array(capacity);
    this.#doubled = new Uint8Array(2 * capacity);
    this.block = this.#doubled.subarray(0, capacity);
    this.column = new Uint8Array(capacity);
  }

  /**
   * Fills `column` from the first `length` bytes of the block, of which there must be one.
   * @returns the row of the block itself.
   */
  sort(length: number): number {
    const { column } = this;
    const suffixes = this.#suffixes;
    const { start, period } = leastRotation(this.block, length);
    this.#doubled.copyWithin(length, 0, start);
    const text = this.#doubled.subarray(start, start + period);
    sortSuffixes(text, suffixes, period, 256);
    const times = length / period;
    for (let row = 0; row < period; row++) {
      const suffix = suffixes[row] as number;
      const last = text[(suffix === 0 ? period : suffix) - 1] as number;
      if (times === 1) column[row] = last;
      else column.fill(last, row * times, (row + 1) * times);
    }
    return suffixes.indexOf((length - start) % period) * times;
  }
}

/** Where the least rotation begins, and after how many bytes the block repeats itself; `length` if it doesn't. */
function leastRotation(block: Uint8Array, length: number): { start: number; period: number } {
  let a = 0;
  let b = 1;
  // a < b are the two candidates left before b; the first `same` bytes of their rotations are equal.
  for (let same = 0; b < length && same < length; ) {
    const atA = a + same;
    const atB = b + same;
    const difference =
      (block[atA < length ? atA : atA - length] as number) - (block[atB < length ? atB : atB - length] as number);
    if (difference === 0) {
      same++;
      continue;
    }
    if (difference < 0) b += same + 1;
    else {
      // Nothing between a and a + same begins a lesser rotation than its counterpart behind b.
      a = Math.max(a + same + 1, b);
      b = a + 1;
    }
    same = 0;
  }
  return { start: a, period: b < length ? b - a : length };
}

/**
 * Suffixes of a text in order, a suffix before those it begins: SA-IS (Nong, Zhang, Chan: Two efficient algorithms for
 * linear time suffix array construction, 2011), with the marks in the sign bits and the shorter text in the same array.
 *
 * A suffix is of type S when it is less than the one behind it, else of type L; one of type S behind one of type L is a
 * minimum. Sorted minima give the order of the L suffixes in one pass forwards, and these that of the S suffixes
 * in one pass backwards. The minima are sorted up to the next minimum by the same two passes, which makes a text of
 * numbers of at most half the length.
 * @param k one more than the largest number in the text.
 */
function sortSuffixes(text: Text, suffixes: Int32Array, n: number, k: number): void {
  if (n === 1) {
    suffixes[0] = 0;
    return;
  }
  const counts = new Int32Array(k);
  for (let i = 0; i < n; i++) (counts[text[i] as number] as number)++;
  const buckets = new Int32Array(k);

  suffixes.fill(0, 0, n);
  const minima = placeMinima(text, suffixes, n, counts, buckets);
  if (minima > 1) {
    sortMinima(text, suffixes, n, counts, buckets);
    const names = nameMinima(text, suffixes, n, minima);
    if (names < minima) {
      const shorter = suffixes.subarray(n - minima, n);
      for (let i = minima + (n >> 1) - 1, to = minima - 1; i >= minima; i--)
        if (suffixes[i] !== 0) shorter[to--] = (suffixes[i] as number) - 1;
      sortSuffixes(shorter, suffixes, minima, names);
      listMinima(text, n, shorter, minima);
      for (let i = 0; i < minima; i++) suffixes[i] = shorter[suffixes[i] as number] as number;
    }
    spreadMinima(text, suffixes, n, minima, counts, buckets);
  }
  induce(text, suffixes, n, counts, buckets);
}

/** Sets each bucket to where its numbers begin. */
function toBegins(counts: Int32Array, buckets: Int32Array): void {
  let sum = 0;
  for (let c = 0; c < counts.length; c++) {
    buckets[c] = sum;
    sum += counts[c] as number;
  }
}

/** Sets each bucket to where its numbers end. */
function toEnds(counts: Int32Array, buckets: Int32Array): void {
  let sum = 0;
  for (let c = 0; c < counts.length; c++) {
    sum += counts[c] as number;
    buckets[c] = sum;
  }
}

/** Where the minimum before `before` is; -1 when there is none. `before` is one itself, or the text's length. */
function minimumBefore(text: Text, n: number, before: number): number {
  let i = before === n ? n - 1 : before - 1;
  // The last suffix is of type L, and so is what lies before a minimum: go up to the top, then down again.
  let c = text[i] as number;
  for (; i > 0; i--) {
    const next = text[i - 1] as number;
    if (next < c) break;
    c = next;
  }
  for (; i > 0; i--) {
    const next = text[i - 1] as number;
    if (next > c) return i;
    c = next;
  }
  return -1;
}

/** Puts the minima at the ends of their buckets, in any order, and gives their number. */
function placeMinima(text: Text, suffixes: Int32Array, n: number, counts: Int32Array, buckets: Int32Array): number {
  toEnds(counts, buckets);
  let minima = 0;
  for (let at = minimumBefore(text, n, n); at > 0; at = minimumBefore(text, n, at)) {
    const c = text[at] as number;
    const to = (buckets[c] as number) - 1;
    buckets[c] = to;
    suffixes[to] = at;
    minima++;
  }
  return minima;
}

/** Lists the minima in the order of the text. */
function listMinima(text: Text, n: number, into: Int32Array, minima: number): void {
  let to = minima;
  for (let at = minimumBefore(text, n, n); at > 0; at = minimumBefore(text, n, at)) into[--to] = at;
}

/** Puts the sorted minima at the ends of their buckets, in order. */
function spreadMinima(
  text: Text,
  suffixes: Int32Array,
  n: number,
  minima: number,
  counts: Int32Array,
  buckets: Int32Array,
): void {
  toEnds(counts, buckets);
  suffixes.fill(0, minima, n);
  for (let i = minima - 1; i >= 0; i--) {
    const at = suffixes[i] as number;
    suffixes[i] = 0;
    const c = text[at] as number;
    const to = (buckets[c] as number) - 1;
    buckets[c] = to;
    suffixes[to] = at;
  }
}

/**
 * Sorts the placed minima by what lies up to the next minimum. Leaves them as negative numbers in that order, and 0
 * everywhere else. On the way, a number above 0 is a suffix with one before it that is still to be placed.
 */
function sortMinima(text: Text, suffixes: Int32Array, n: number, counts: Int32Array, buckets: Int32Array): void {
  toBegins(counts, buckets);
  let bucket = text[n - 1] as number;
  let to = buckets[bucket] as number;
  suffixes[to++] = (text[n - 2] as number) < bucket ? ~(n - 1) : n - 1;
  for (let i = 0; i < n; i++) {
    const suffix = suffixes[i] as number;
    if (suffix > 0) {
      suffixes[i] = 0;
      const at = suffix - 1;
      const c = text[at] as number;
      if (c !== bucket) {
        buckets[bucket] = to;
        bucket = c;
        to = buckets[c] as number;
      }
      suffixes[to++] = at > 0 && (text[at - 1] as number) < c ? ~at : at;
    } else if (suffix < 0) suffixes[i] = ~suffix;
  }
  toEnds(counts, buckets);
  bucket = 0;
  to = buckets[0] as number;
  for (let i = n - 1; i >= 0; i--) {
    const suffix = suffixes[i] as number;
    if (suffix <= 0) continue;
    suffixes[i] = 0;
    const at = suffix - 1;
    const c = text[at] as number;
    if (c !== bucket) {
      buckets[bucket] = to;
      bucket = c;
      to = buckets[c] as number;
    }
    suffixes[--to] = at > 0 && (text[at - 1] as number) > c ? ~at : at;
  }
}

/**
 * Moves the sorted minima to the front, and numbers them from 1 on; equal ones have the same number, which lies at half
 * their place in the text behind them.
 * @returns the largest number.
 */
function nameMinima(text: Text, suffixes: Int32Array, n: number, minima: number): number {
  let to = 0;
  for (let i = 0; to < minima; i++) {
    const suffix = suffixes[i] as number;
    if (suffix < 0) suffixes[to++] = ~suffix;
  }
  suffixes.fill(0, minima, n);
  // First their lengths, with the next minimum; that of the last goes on to the end, and equals no other.
  for (let next = n - 1, at = minimumBefore(text, n, n); at > 0; at = minimumBefore(text, n, at)) {
    suffixes[minima + (at >> 1)] = next - at + 1;
    next = at;
  }
  let names = 0;
  let before = n;
  let beforeLength = 0;
  for (let i = 0; i < minima; i++) {
    const at = suffixes[i] as number;
    const length = suffixes[minima + (at >> 1)] as number;
    let same = 0;
    if (length === beforeLength && at + length < n && before + length < n)
      while (same < length && text[at + same] === text[before + same]) same++;
    if (same < length) {
      names++;
      before = at;
      beforeLength = length;
    }
    suffixes[minima + (at >> 1)] = names;
  }
  return names;
}

/** Makes the order of all suffixes out of that of the minima, which are in their places. */
function induce(text: Text, suffixes: Int32Array, n: number, counts: Int32Array, buckets: Int32Array): void {
  toBegins(counts, buckets);
  let bucket = text[n - 1] as number;
  let to = buckets[bucket] as number;
  suffixes[to++] = (text[n - 2] as number) < bucket ? ~(n - 1) : n - 1;
  for (let i = 0; i < n; i++) {
    const suffix = suffixes[i] as number;
    // Done with in this pass, and the other way round in the next.
    suffixes[i] = ~suffix;
    if (suffix <= 0) continue;
    const at = suffix - 1;
    const c = text[at] as number;
    if (c !== bucket) {
      buckets[bucket] = to;
      bucket = c;
      to = buckets[c] as number;
    }
    suffixes[to++] = at > 0 && (text[at - 1] as number) < c ? ~at : at;
  }
  toEnds(counts, buckets);
  bucket = 0;
  to = buckets[0] as number;
  for (let i = n - 1; i >= 0; i--) {
    const suffix = suffixes[i] as number;
    if (suffix <= 0) {
      suffixes[i] = ~suffix;
      continue;
    }
    const at = suffix - 1;
    const c = text[at] as number;
    if (c !== bucket) {
      buckets[bucket] = to;
      bucket = c;
      to = buckets[c] as number;
    }
    suffixes[--to] = at === 0 || (text[at - 1] as number) > c ? ~at : at;
  }
}
