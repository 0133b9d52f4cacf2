import type { MatchSpec } from "../conda/match-spec.ts";

/** A spec that many names may match, with the pairs of neighbouring characters that such a name must have, as 2 × 32 bits. */
interface Open {
  readonly number: number;
  readonly low: number;
  readonly high: number;
}

/** Specs by what their names ask: fifty globs over 20,000 names are a million tests, of which pairs of characters spare nearly all. */
export class SpecsByName {
  readonly #specs: readonly MatchSpec[];
  readonly #exact = new Map<string, number[]>();
  readonly #open: Open[] = [];
  readonly #lists = new Map<string, readonly MatchSpec[]>();

  constructor(specs: readonly MatchSpec[]) {
    this.#specs = specs;
    for (const [number, { name, matchesName }] of specs.entries()) {
      if (name !== undefined) this.#exact.set(name, [...(this.#exact.get(name) ?? []), number]);
      else this.#open.push({ number, ...pairsOf(matchesName.pieces) });
    }
  }

  /** The specs whose name a package's name fits; the same list for names that the same specs fit. */
  of(name: string): readonly MatchSpec[] {
    const lower = name.toLowerCase();
    let found = this.#exact.get(lower) ?? NONE;
    if (this.#open.length > 0) {
      const has = pairsOf([lower]);
      for (const { number, low, high } of this.#open) {
        if ((low & ~has.low) !== 0 || (high & ~has.high) !== 0) continue;
        if (this.#specs[number]?.matchesName(lower)) found = [...found, number];
      }
    }
    const key = found.join();
    let list = this.#lists.get(key);
    if (!list) {
      list = found.map((number) => this.#specs[number] as MatchSpec);
      if (this.#lists.size < MAX_LISTS) this.#lists.set(key, list);
    }
    return list;
  }
}

const NONE: readonly number[] = [];

/** Whoever makes every name fit other specs gets lists of their own, not more of our memory. */
const MAX_LISTS = 10_000;

function pairsOf(texts: readonly string[]): { low: number; high: number } {
  let low = 0;
  let high = 0;
  for (const text of texts)
    for (let i = 1; i < text.length; i++) {
      const bit = (text.charCodeAt(i - 1) * 31 + text.charCodeAt(i)) & 63;
      if (bit < 32) low |= 1 << bit;
      else high |= 1 << (bit - 32);
    }
  return { low, high };
}
