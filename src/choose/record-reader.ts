import { endianness } from "node:os";
import { readValue } from "./fields.ts";

/*
 * Members of records, found as they are asked for. Half a million records pass here, so it walks bytes that are known to be JSON
 * (`readRepodata` has checked them), stops at the member that is asked for, and makes no objects. It costs 0.15 s for an index
 * of 244 MB, where `fieldsAt` takes 0.6 s; a property test holds the two together.
 */

const QUOTE = 34;
const BACKSLASH = 92;
const OPEN_LIST = 91;
const OPEN_MAP = 123;
const CLOSE_MAP = 125;
const COMMA = 44;

/** Keys are told apart by their length and first character first. */
const SLOTS = 1024;

/** Whether the first byte of a word is its lowest; elsewhere texts are passed over byte by byte. */
const IS_LITTLE = endianness() === "LE";

const NO_KEY = -1;

function slotOf(length: number, first: number): number {
  return ((length << 5) ^ first) & (SLOTS - 1);
}

/** Reads records whose keys stand once, without escapes (`Entries.unsure` has the others). */
export class RecordReader {
  readonly bytes: Buffer;
  readonly #keys: readonly Uint8Array[];
  /** First key of a slot and the next one, counted from 1. */
  readonly #first = new Uint8Array(SLOTS);
  readonly #next: Uint8Array;
  /** By key: the record that it was last found in, where its value lies, and whether that is a text that is plain ASCII. */
  readonly #foundIn: Uint32Array;
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  readonly #plain: Uint8Array;
  readonly #depths: Uint32Array;
  readonly #words: Int32Array;
  readonly #shift: number;
  #record = 0;
  #start = 0;
  #at = 0;
  #isDone = true;

  constructor(bytes: Buffer, keys: readonly string[]) {
    this.bytes = bytes;
    this.#keys = keys.map((key) => Buffer.from(key));
    this.#next = new Uint8Array(keys.length + 1);
    for (const [k, key] of this.#keys.entries()) {
      const slot = slotOf(key.length, key[0] ?? QUOTE);
      this.#next[k + 1] = this.#first[slot] as number;
      this.#first[slot] = k + 1;
    }
    this.#foundIn = new Uint32Array(keys.length);
    this.#starts = new Float64Array(keys.length);
    this.#ends = new Float64Array(keys.length);
    this.#plain = new Uint8Array(keys.length);
    this.#depths = new Uint32Array(keys.length);
    // Four bytes at once; the buffer may begin anywhere in its memory.
    this.#shift = bytes.byteOffset & 3;
    const from = bytes.byteOffset - this.#shift;
    this.#words = new Int32Array(bytes.buffer, from, (bytes.length + this.#shift) >>> 2);
  }

  /** Goes to a record. */
  open(start: number): void {
    this.#record++;
    this.#start = start;
    this.#at = start + 1;
    this.#isDone = false;
  }

  /** Reads a record to its end, to know how deep its members lie: nearly all records of a channel are alike in that. */
  survey(start: number): void {
    this.open(start);
    this.#walk(NO_KEY);
  }

  /** Whether the record has a member. */
  has(key: number): boolean {
    return this.#foundIn[key] === this.#record || (!this.#isDone && this.#walk(key));
  }

  /** Where the value of a member begins that the record has. */
  start(key: number): number {
    return this.#starts[key] as number;
  }

  end(key: number): number {
    return this.#ends[key] as number;
  }

  /** Whether it is a text of ASCII without escapes. */
  isPlain(key: number): boolean {
    return this.#plain[key] === 1;
  }

  /** As JSON.parse gives it; undefined when there is none. */
  value(key: number): unknown {
    return this.has(key) ? readValue(this.bytes, this.start(key), this.end(key)) : undefined;
  }

  /** How far into its record a member was when it was last found, in bytes: what is far costs more to ask for. */
  depth(key: number): number {
    return this.#depths[key] as number;
  }

  #walk(wanted: number): boolean {
    const { bytes } = this;
    let i = this.#at;
    for (;;) {
      let c = bytes[i] as number;
      while (c !== QUOTE) {
        if (c === CLOSE_MAP) {
          this.#isDone = true;
          return false;
        }
        c = bytes[++i] as number;
      }
      const keyStart = ++i;
      while (bytes[i] !== QUOTE) i++;
      const key = this.#keyAt(keyStart, i - keyStart);
      // The colon, and white space around it.
      do c = bytes[++i] as number;
      while (c === 58 || c <= 32);
      if (key < 0) {
        i = this.#skip(i);
        continue;
      }
      this.#foundIn[key] = this.#record;
      this.#starts[key] = i;
      this.#depths[key] = i - this.#start;
      if (c === QUOTE) {
        let all = 0;
        for (c = bytes[++i] as number; c !== QUOTE; c = bytes[++i] as number) {
          all |= c;
          if (c !== BACKSLASH) continue;
          all |= 128;
          i++;
        }
        i++;
        this.#plain[key] = all < 128 ? 1 : 0;
      } else {
        i = this.#skip(i);
        this.#plain[key] = 0;
      }
      this.#ends[key] = i;
      if (key !== wanted) continue;
      this.#at = i;
      return true;
    }
  }

  /** The key among those that are asked for, or -1. */
  #keyAt(start: number, length: number): number {
    const { bytes } = this;
    let k = this.#first[slotOf(length, bytes[start] as number)] as number;
    for (; k > 0; k = this.#next[k] as number) {
      const key = this.#keys[k - 1] as Uint8Array;
      if (key.length !== length) continue;
      let i = 0;
      while (i < length && bytes[start + i] === key[i]) i++;
      if (i === length) break;
    }
    return k - 1;
  }

  /** The offset behind a value. */
  #skip(at: number): number {
    const { bytes } = this;
    let c = bytes[at] as number;
    if (c === QUOTE) return this.endOfString(at + 1);
    let i = at;
    if (c !== OPEN_LIST && c !== OPEN_MAP) {
      // A number or a word.
      while (c !== COMMA && c !== CLOSE_MAP && c > 32) c = bytes[++i] as number;
      return i;
    }
    for (let depth = 0; ; ) {
      c = bytes[i++] as number;
      if (c === QUOTE) i = this.endOfString(i);
      else if (c === OPEN_LIST || c === OPEN_MAP) depth++;
      // "{" and "}" lie two apart in ASCII, and so do "[" and "]".
      else if ((c === OPEN_LIST + 2 || c === CLOSE_MAP) && --depth === 0) return i;
    }
  }

  /** The offset behind a text; `at` is behind its opening quote. */
  endOfString(at: number): number {
    const { bytes } = this;
    const words = this.#words;
    const shift = this.#shift;
    let i = at;
    if (IS_LITTLE) {
      let w = (i + shift) >>> 2;
      // Of the first word only what lies behind the opening quote counts.
      for (let mask = -1 << (((i + shift) & 3) << 3); w < words.length; w++, mask = -1) {
        const quote = (words[w] as number) ^ 0x22222222;
        const slash = (words[w] as number) ^ 0x5c5c5c5c;
        // 128 in each byte that is a quote or backslash; one behind such a byte may be neither, which is looked at below.
        const found = (((quote - 0x01010101) & ~quote) | ((slash - 0x01010101) & ~slash)) & -2139062144 & mask;
        if (found === 0) continue;
        i = w * 4 - shift + ((31 - Math.clz32(found & -found)) >> 3);
        break;
      }
    }
    for (let c = bytes[i] as number; c !== QUOTE; c = bytes[i] as number) i += c === BACKSLASH ? 2 : 1;
    return i + 1;
  }
}
