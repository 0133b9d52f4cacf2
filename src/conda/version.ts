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
    const [left, right] = this.#pair(a, b);
    if (left && right) return left.compare(right);
    if (left) return 1;
    if (right) return -1;
    return a < b ? -1 : 1;
  }

  isVersion(text: string): boolean {
    return this.#pair(text, text)[0] !== undefined;
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
