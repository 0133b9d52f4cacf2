import { MatchSpecError } from "../conda/match-spec.ts";
import type { Versions } from "../conda/version.ts";
import type { Choosable } from "./choosable.ts";
import { type Need, readNeed, whyHolds } from "./need.ts";

/** Choices that are tried before a root counts as one that nothing was found for. */
export const MOST_STEPS = 50_000;

/** Why something can't be: the names of packages that were chosen. */
type Reasons = ReadonlySet<string>;

const NOBODY: Reasons = new Set();

/**
 * Finds, for one package after another, packages that can be installed with it: each the newest that goes with those chosen
 * before, and an older one where that leads nowhere. What it finds is an installation in itself, every dependency, constraint,
 * condition and optional group held: a channel that has it can be solved. Thousands of packages of a channel cost milliseconds
 * each, where a solver reads the channel again for each.
 *
 * Names are chosen one after the other, that with the fewest packages left first. Every choice narrows down what is left of
 * other names; where nothing is left, the choices that are to blame are known, and it goes back to the last of those
 * (conflict-directed backjumping), not through choices that had no part in it.
 */
export class Installer {
  readonly #versions: Versions;
  readonly #candidates: (name: string) => readonly Choosable[];
  /** Undefined for texts that can't be read: a package that says such a thing is passed over, as rattler does. */
  readonly #needs = new Map<string, Need | undefined>();
  readonly #fitting = new Map<Need, ReadonlySet<Choosable>>();

  /** @param candidates of a name, the best first; no virtual packages. */
  constructor(versions: Versions, candidates: (name: string) => readonly Choosable[]) {
    this.#versions = versions;
    this.#candidates = candidates;
  }

  /**
   * What `root` can be installed with, itself included, on the first of the machines where that goes.
   * @param machines virtual packages: they are there whether something needs them or not.
   * @returns "none" when nothing goes with it, "unknown" when the search was given up.
   */
  solve(root: Choosable, machines: readonly (readonly Choosable[])[]): Choosable[] | "none" | "unknown" {
    let failed: "none" | "unknown" = "none";
    for (const machine of machines) {
      const search = new Search(this, machine);
      try {
        if (search.from(root)) return [...search.chosen.values()].filter((c) => c.fileName !== "");
      } catch (e) {
        if (e !== GIVEN_UP) throw e;
        failed = "unknown";
      }
    }
    return failed;
  }

  candidates(name: string): readonly Choosable[] {
    return this.#candidates(name);
  }

  need(text: string): Need | undefined {
    if (this.#needs.has(text)) return this.#needs.get(text);
    let need: Need | undefined;
    try {
      need = readNeed(text, this.#versions);
    } catch (e) {
      if (!(e instanceof MatchSpecError)) throw e;
    }
    this.#needs.set(text, need);
    return need;
  }

  /** The candidates that will do; looked up once, since thousands of packages say the same. */
  fitting(need: Need): ReadonlySet<Choosable> {
    let fitting = this.#fitting.get(need);
    if (!fitting) {
      fitting = new Set(this.#candidates(need.name).filter((c) => need.matches(c.fields)));
      this.#fitting.set(need, fitting);
    }
    return fitting;
  }
}

const GIVEN_UP = Symbol();

/** A need that holds only under a condition, and who has it. */
interface Conditional {
  readonly by: Reasons;
  readonly need: Need;
}

/** A name for which one candidate after the other is tried. */
interface Choice {
  readonly name: string;
  readonly candidates: readonly Choosable[];
  /** Index of the one that comes next. */
  next: number;
  /** Who is to blame if none will do. */
  readonly conflict: Set<string>;
  /** What is undone when the next one is tried. */
  readonly mark: number;
}

/** The search for one root. */
class Search {
  readonly chosen = new Map<string, Choosable>();
  readonly #installer: Installer;
  /** What is left of names that something was said about, and by whom. */
  readonly #left = new Map<string, { readonly candidates: readonly Choosable[]; readonly because: Reasons }>();
  /** Names that are needed, chosen or not, and who needed them first. */
  readonly #needed = new Map<string, Reasons>();
  /** Those of them that are not chosen yet, and the how many-th it was to be needed. */
  readonly #open = new Map<string, number>();
  readonly #conditionals = new Set<Conditional>();
  /** Optional groups that are asked for, by name and group, and by whom. */
  readonly #extras = new Map<string, Map<string, Reasons>>();
  readonly #undo: (() => void)[] = [];
  #steps = 0;

  constructor(installer: Installer, machine: readonly Choosable[]) {
    this.#installer = installer;
    for (const one of machine) this.chosen.set(one.name, one);
  }

  from(root: Choosable): boolean {
    return !this.#place(root) && !this.#complete();
  }

  /**
   * Chooses for all names that are needed. Undefined when that is done, else why it can't be. The choices stand in a list of our own:
   * an installation may have more packages than calls fit into the stack.
   */
  #complete(): Reasons | undefined {
    const open: Choice[] = [];
    let failed: Reasons | undefined;
    for (;;) {
      if (failed) {
        // Back to the last choice that is to blame.
        let last = open.pop();
        for (; last; last = open.pop()) {
          while (this.#undo.length > last.mark) this.#undo.pop()?.();
          if (failed.has(last.name)) break;
        }
        if (!last) return failed;
        for (const one of failed) if (one !== last.name) last.conflict.add(one);
        open.push(last);
      } else {
        const name = this.#mostPressing();
        if (name === undefined) return undefined;
        open.push(this.#choice(name));
      }
      const choice = open.at(-1) as Choice;
      const candidate = choice.candidates[choice.next++];
      if (candidate) {
        if (++this.#steps > MOST_STEPS) throw GIVEN_UP;
        failed = this.#place(candidate);
      } else {
        open.pop();
        failed = choice.conflict;
      }
    }
  }

  #choice(name: string): Choice {
    const left = this.#left.get(name);
    return {
      name,
      candidates: left?.candidates ?? this.#installer.candidates(name),
      next: 0,
      conflict: new Set([...(this.#needed.get(name) ?? NOBODY), ...(left?.because ?? NOBODY)]),
      mark: this.#undo.length,
    };
  }

  /** A name that is needed and not chosen yet: the one with the fewest left, since it decides most; of several the first needed. */
  #mostPressing(): string | undefined {
    let best: string | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    let first = 0;
    for (const [name, nth] of this.#open) {
      const { length } = this.#left.get(name)?.candidates ?? this.#installer.candidates(name);
      if (length > fewest || (length === fewest && nth > first)) continue;
      fewest = length;
      first = nth;
      best = name;
    }
    return best;
  }

  /** Chooses a package, and notes what it says of others. Gives who is against it. */
  #place(candidate: Choosable): Reasons | undefined {
    const { name } = candidate;
    set(this.chosen, name, candidate, this.#undo);
    unset(this.#open, name, this.#undo);
    const by = new Set([name]);
    const failed = this.#require(candidate.depends, by);
    if (failed) return failed;
    for (const text of candidate.constrains) {
      const need = this.#installer.need(text);
      const against = need ? this.#narrow(need, by) : by;
      if (against) return against;
    }
    for (const [group, asking] of this.#extras.get(name) ?? []) {
      const against = this.#require(candidate.extras[group] ?? [], union(asking, by));
      if (against) return against;
    }
    return this.#applyConditions();
  }

  #require(texts: readonly string[], by: Reasons): Reasons | undefined {
    for (const text of texts) {
      const need = this.#installer.need(text);
      if (!need) return by;
      if (need.when) {
        const conditional = { by, need };
        this.#conditionals.add(conditional);
        this.#undo.push(() => this.#conditionals.delete(conditional));
        continue;
      }
      const against = this.#apply(need, by);
      if (against) return against;
    }
    return undefined;
  }

  /** What is needed only while something is there, which came with the last choice. */
  #applyConditions(): Reasons | undefined {
    for (const one of [...this.#conditionals]) {
      const why = one.need.when && whyHolds(one.need.when, this.chosen);
      if (!why) continue;
      this.#conditionals.delete(one);
      this.#undo.push(() => this.#conditionals.add(one));
      const against = this.#apply(one.need, union(one.by, why));
      if (against) return against;
    }
    return undefined;
  }

  #apply(need: Need, by: Reasons): Reasons | undefined {
    if (!this.#needed.has(need.name)) {
      if (!this.chosen.has(need.name)) set(this.#open, need.name, this.#needed.size, this.#undo);
      set(this.#needed, need.name, by, this.#undo);
    }
    const against = this.#narrow(need, by);
    if (against) return against;
    for (const group of need.extras) {
      let groups = this.#extras.get(need.name);
      if (!groups) {
        groups = new Map();
        set(this.#extras, need.name, groups, this.#undo);
      }
      if (groups.has(group)) continue;
      set(groups, group, by, this.#undo);
      const there = this.chosen.get(need.name);
      const failed = there && this.#require(there.extras[group] ?? [], union(by, [need.name]));
      if (failed) return failed;
    }
    return undefined;
  }

  /** Leaves of a name only what will do. Gives who is against that: nothing is left of what is needed. */
  #narrow(need: Need, by: Reasons): Reasons | undefined {
    const { name } = need;
    const there = this.chosen.get(name);
    if (there) return need.matches(there.fields) ? undefined : union(by, [name]);
    const fitting = this.#installer.fitting(need);
    const before = this.#left.get(name);
    const candidates = before?.candidates ?? this.#installer.candidates(name);
    const left = candidates.filter((c) => fitting.has(c));
    if (left.length < candidates.length) {
      const because = union(before?.because ?? NOBODY, by);
      set(this.#left, name, { candidates: left, because }, this.#undo);
    }
    if (left.length > 0 || !this.#needed.has(name)) return undefined;
    return union(union(this.#needed.get(name) ?? NOBODY, this.#left.get(name)?.because ?? NOBODY), by);
  }
}

/** Sets, and notes how that is undone. */
function set<K, V>(map: Map<K, V>, key: K, value: V, undo: (() => void)[]): void {
  const before = map.get(key);
  undo.push(() => {
    if (before === undefined) map.delete(key);
    else map.set(key, before);
  });
  map.set(key, value);
}

/** Removes, and notes how that is undone. */
function unset<K, V>(map: Map<K, V>, key: K, undo: (() => void)[]): void {
  const before = map.get(key);
  if (before === undefined) return;
  undo.push(() => void map.set(key, before));
  map.delete(key);
}

function union(a: Iterable<string>, b: Iterable<string>): Reasons {
  return new Set([...a, ...b]);
}
