import type { Version } from "@conda-org/rattler";

/** conda's order of version strings (CEP 33), and tests on them. From `loadVersions`. */
export interface Versions {
  /**
   * Negative, zero or positive, as for `sort`. A string that is no version is below every version; two such are ordered
   * by code point, so that any list has one order.
   */
  compare(a: string, b: string): number;
  isVersion(text: string): boolean;
}

/** Longer ones than this are left to rattler, as are numbers of more digits: these are exact. */
const [MAX_PLAIN, MAX_DIGITS] = [64, 15];

/**
 * The numbers of a version that is nothing but numbers with dots between, as nearly all are; undefined for any other. Their order
 * needs no library: number by number, and what is missing is 0 (CEP 33). Reading such a version in rattler takes 4 µs;
 * a property test holds the two together.
 */
export function plainRelease(text: string): readonly number[] | undefined {
  if (text.length > MAX_PLAIN) return undefined;
  const numbers: number[] = [];
  let n = 0;
  let digits = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 48 && c <= 57) {
      if (++digits > MAX_DIGITS) return undefined;
      n = n * 10 + c - 48;
    } else {
      if (c !== 46 || digits === 0) return undefined;
      numbers.push(n);
      n = digits = 0;
    }
  }
  if (digits === 0) return undefined;
  numbers.push(n);
  return numbers;
}

/** -1, 0 or 1. */
export function comparePlain(a: readonly number[], b: readonly number[]): number {
  const most = Math.max(a.length, b.length);
  for (let i = 0; i < most; i++) {
    const [x, y] = [i < a.length ? (a[i] as number) : 0, i < b.length ? (b[i] as number) : 0];
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
}

// A channel the size of conda-forge has about 40,000 distinct versions. Each holds some hundred bytes of WASM memory, so
// they are freed together when this many have come by.
const CACHED = 65_536;

/** CEP 26 allows 64 characters. Far longer ones are an attack on parser and cache, not versions. */
const MAX_VERSION = 256;

let loading: Promise<Versions> | undefined;

/** Loads rattler's version order on first use: its WASM is 3 MB and takes a tenth of a second. */
export function loadVersions(): Promise<Versions> {
  loading ??= import("@conda-org/rattler").then((rattler) => new RattlerVersions(rattler.Version));
  return loading;
}

class RattlerVersions implements Versions {
  readonly #Version: typeof Version;
  readonly #parsed = new Map<string, Version | undefined>();

  constructor(VersionClass: typeof Version) {
    this.#Version = VersionClass;
  }

  compare(a: string, b: string): number {
    if (a === b) return 0;
    const plain = plainRelease(a);
    const other = plain && plainRelease(b);
    if (plain && other) return comparePlain(plain, other);
    const [left, right] = this.#pair(a, b);
    if (left && right) return left.compare(right);
    if (left) return 1;
    if (right) return -1;
    return a < b ? -1 : 1;
  }

  isVersion(text: string): boolean {
    return plainRelease(text) !== undefined || this.#pair(text, text)[0] !== undefined;
  }

  /** Both at once, so that making room for the second can't free the first. */
  #pair(a: string, b: string): [Version | undefined, Version | undefined] {
    if (this.#parsed.size > CACHED - 2) {
      for (const version of this.#parsed.values()) version?.free();
      this.#parsed.clear();
    }
    return [this.#parse(a), this.#parse(b)];
  }

  #parse(text: string): Version | undefined {
    if (text.length > MAX_VERSION) return undefined;
    if (this.#parsed.has(text)) return this.#parsed.get(text);
    let version: Version | undefined;
    try {
      version = new this.#Version(text);
    } catch {
      version = undefined;
    }
    this.#parsed.set(text, version);
    return version;
  }
}
