import { type MatchSpec, parseMatchSpec, type RecordFields } from "../conda/match-spec.ts";
import type { Versions } from "../conda/version.ts";

/** A package that a solution may hold. */
export interface Choosable {
  readonly subdir: string;
  readonly fileName: string;
  /** In lower case. */
  readonly name: string;
  readonly fields: RecordFields;
  readonly depends: readonly string[];
  readonly constrains: readonly string[];
}

/** Choices that are tried before a root counts as one that nothing goes with. */
const MOST_STEPS = 100_000;

/**
 * Finds, for one package after another, packages that can be installed with it: each the newest that goes with those chosen
 * before, and an older one where that leads nowhere. What it finds is an installation in itself, every dependency and constraint
 * held: a channel that has it can be solved. Thousands of packages of a channel cost milliseconds each, where a solver reads the
 * channel again for each.
 */
export class Greedy {
  readonly #versions: Versions;
  readonly #candidates: (name: string) => readonly Choosable[];
  readonly #specs = new Map<string, MatchSpec | undefined>();
  #steps = 0;

  /** @param candidates of a name, the best first; virtual packages among them. */
  constructor(versions: Versions, candidates: (name: string) => readonly Choosable[]) {
    this.#versions = versions;
    this.#candidates = candidates;
  }

  /** What `root` can be installed with, itself included; undefined when nothing was found. */
  solve(root: Choosable): Choosable[] | undefined {
    this.#steps = 0;
    const chosen = new Map([[root.name, root]]);
    return this.#goesWith(root, chosen) && this.#complete(chosen) ? [...chosen.values()] : undefined;
  }

  #complete(chosen: Map<string, Choosable>): boolean {
    const open = this.#openName(chosen);
    if (open === undefined) return true;
    for (const candidate of this.#candidates(open)) {
      if (++this.#steps > MOST_STEPS) return false;
      if (!this.#isAllowed(candidate, chosen) || !this.#goesWith(candidate, chosen)) continue;
      chosen.set(open, candidate);
      if (this.#complete(chosen)) return true;
      chosen.delete(open);
    }
    return false;
  }

  /** A name that is needed and not chosen yet: the one with the fewest that fit, since it decides most. */
  #openName(chosen: ReadonlyMap<string, Choosable>): string | undefined {
    let best: string | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    const seen = new Set<string>();
    for (const { depends } of chosen.values()) {
      for (const text of depends) {
        const name = this.#spec(text)?.name;
        if (name === undefined || chosen.has(name) || seen.has(name)) continue;
        seen.add(name);
        const count = this.#candidates(name).length;
        if (count >= fewest) continue;
        fewest = count;
        best = name;
      }
    }
    return best;
  }

  /** Whether what is chosen allows a candidate. */
  #isAllowed(candidate: Choosable, chosen: ReadonlyMap<string, Choosable>): boolean {
    for (const { depends, constrains } of chosen.values()) {
      for (const text of depends) if (!this.#holds(text, candidate)) return false;
      for (const text of constrains) if (!this.#holds(text, candidate)) return false;
    }
    return true;
  }

  /** Whether a candidate allows what is chosen, and needs nothing that can't be read. */
  #goesWith(candidate: Choosable, chosen: ReadonlyMap<string, Choosable>): boolean {
    for (const text of candidate.depends) {
      const spec = this.#spec(text);
      if (spec?.name === undefined) return false;
      const there = spec.name === candidate.name ? candidate : chosen.get(spec.name);
      if (there && !spec.matches(there.fields)) return false;
    }
    for (const text of candidate.constrains) {
      const name = this.#spec(text)?.name;
      const there = name === undefined ? undefined : chosen.get(name);
      if (there && !this.#holds(text, there)) return false;
    }
    return true;
  }

  /** A spec about another package holds. */
  #holds(text: string, of: Choosable): boolean {
    const spec = this.#spec(text);
    return spec?.name !== of.name || spec.matches(of.fields);
  }

  #spec(text: string): MatchSpec | undefined {
    if (this.#specs.has(text)) return this.#specs.get(text);
    let spec: MatchSpec | undefined;
    try {
      spec = parseMatchSpec(text, this.#versions);
    } catch {
      // A candidate that needs what can't be read is passed over.
    }
    this.#specs.set(text, spec);
    return spec;
  }
}

/** The better of two packages of a name first: no features to track, newer version, higher build number, built later. */
export function bestFirst(versions: Versions): (a: Choosable, b: Choosable) => number {
  const number = (value: unknown) => (typeof value === "number" ? value : 0);
  const tracks = ({ track_features: t }: RecordFields) =>
    (typeof t === "string" && t.trim() !== "") || (Array.isArray(t) && t.length > 0) ? 1 : 0;
  return ({ fields: a }, { fields: b }) =>
    tracks(a) - tracks(b) ||
    versions.compare(String(b["version"]), String(a["version"])) ||
    number(b["build_number"]) - number(a["build_number"]) ||
    number(b["timestamp"]) - number(a["timestamp"]);
}
