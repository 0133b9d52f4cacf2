/**
 * Numbers for values by their spelling: a channel says the same few thousand versions, licences and names in half a million
 * records. What is remembered of a number is found without making a text of its bytes.
 */
export class Spellings {
  readonly #bytes: Uint8Array;
  #slots = new Int32Array(1024);
  #hashes = new Int32Array(512);
  /** Where each number's bytes lie in the pool: close together, since the index they come from is far larger than any cache. */
  #starts = new Uint32Array(513);
  #pool = new Uint8Array(8192);
  #count = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The number of the bytes from `start` to before `end`; -1 for long ones, and for what comes when MAX_SPELLINGS are known. */
  numberOf(start: number, end: number): number {
    const bytes = this.#bytes;
    const length = end - start;
    if (length > MAX_LENGTH) return -1;
    let hash = 0x811c9dc5;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
    const mask = this.#slots.length - 1;
    let slot = (hash ^ (hash >>> 15)) & mask;
    for (;;) {
      const number = (this.#slots[slot] as number) - 1;
      if (number < 0) break;
      if (this.#hashes[number] === hash) {
        const known = this.#starts[number] as number;
        let i = (this.#starts[number + 1] as number) - known === length ? 0 : length + 1;
        while (i < length && this.#pool[known + i] === bytes[start + i]) i++;
        if (i === length) return number;
      }
      slot = (slot + 1) & mask;
    }
    if (this.#count === MAX_SPELLINGS) return -1;
    const number = this.#count++;
    this.#slots[slot] = number + 1;
    this.#hashes[number] = hash;
    const at = this.#starts[number] as number;
    if (at + length > this.#pool.length) this.#pool = grown(this.#pool, new Uint8Array(this.#pool.length * 2));
    this.#pool.set(bytes.subarray(start, end), at);
    this.#starts[number + 1] = at + length;
    if (this.#count === this.#hashes.length) this.#grow();
    return number;
  }

  #grow(): void {
    const size = this.#hashes.length * 2;
    this.#hashes = grown(this.#hashes, new Int32Array(size));
    this.#starts = grown(this.#starts, new Uint32Array(size + 1));
    this.#slots = new Int32Array(size * 2);
    const mask = this.#slots.length - 1;
    for (let number = 0; number < this.#count; number++) {
      const hash = this.#hashes[number] as number;
      let slot = (hash ^ (hash >>> 15)) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = number + 1;
    }
  }
}

/** conda-forge has 40,000 versions. Whoever sends an index of nothing but different ones gets no more of our memory than this. */
const MAX_SPELLINGS = 131_072;
const MAX_LENGTH = 256;

function grown<T extends Int32Array | Uint32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Small outcomes by number, 0 for what is not known. */
export class Outcomes {
  #known = new Uint8Array(512);

  get(number: number): number {
    return number < this.#known.length ? (this.#known[number] as number) : 0;
  }

  set(number: number, outcome: number): void {
    if (number >= this.#known.length) {
      this.#known = grown(this.#known, new Uint8Array(Math.max(this.#known.length * 2, number + 1)));
    }
    this.#known[number] = outcome;
  }
}
