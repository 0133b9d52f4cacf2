import { setImmediate } from "node:timers/promises";
import type { Choice } from "./choose/choose-index.ts";
import { dependencyName, passes, type Rules, rulesFor } from "./choose/rules.ts";
import type { Whereabouts } from "./conda/match-spec.ts";
import { loadVersions, type Versions } from "./conda/version.ts";
import { placesByName, recordAt } from "./index/record-names.ts";
import { entryAt, RECORD_MAPS, type Repodata } from "./index/repodata.ts";
import { bestFirst, type Choosable, choosable, virtualChoosable } from "./solve/choosable.ts";
import { Installer } from "./solve/installer.ts";
import { machinesOf } from "./solve/virtual-packages.ts";
import { thisPlatform } from "./this-platform.ts";
import { pool } from "./transfer/pool.ts";

/** So many milliseconds are solved in a row. */
const LONGEST_MS = 50;

/** What chosen packages need, themselves included. */
export interface NeededFiles {
  /** By subdir: names of files. */
  readonly files: ReadonlyMap<string, ReadonlySet<string>>;
  /** Names of packages, in lower case. */
  readonly names: ReadonlySet<string>;
  /** Whether something could not be read: there may be more that they need. */
  readonly incomplete: boolean;
  readonly unsolved: readonly Unsolved[];
}

/** Records of one subdir of one channel, by name. */
type ByName = (name: string) => Promise<Choosable[]>;

/** A subdir of what packages are chosen from. */
export interface OpenedSubdir {
  /** The chosen ones. */
  readonly roots: readonly Choosable[];
  readonly byName: ByName;
  /** Whether something could not be read: there may be more. */
  readonly incomplete: boolean;
}

/** What packages are chosen from, and what of. */
export interface ChosenFrom {
  readonly subdirs: Iterable<string>;
  open(subdir: string): Promise<OpenedSubdir>;
  /** Whether what a package can't have from here alone may be had with names from elsewhere, which nothing here has. */
  readonly elsewhere?: true;
  /** Names that are looked up at the same time. */
  readonly concurrency: number;
  readonly signal: AbortSignal;
}

/** A chosen package that nothing goes together with. */
export interface Unsolved {
  readonly root: Choosable;
  readonly platform: string;
  readonly found: "none" | "unknown";
}

/**
 * What chosen packages need, for each platform an installation of each.
 * @param platforms those to solve for; those there are when empty, else this machine's.
 */
export async function neededFrom(from: ChosenFrom, platforms: readonly string[]): Promise<NeededFiles> {
  const versions = await loadVersions();
  const files = new Map<string, Set<string>>();
  const names = new Set<string>();
  const take = ({ subdir, fileName, name }: Choosable): void => {
    names.add(name);
    const list = files.get(subdir) ?? new Set();
    list.add(fileName);
    files.set(subdir, list);
  };
  const own = [...from.subdirs].filter((s) => s !== "noarch");
  const wanted = platforms.length > 0 ? platforms : own.length > 0 ? own : [thisPlatform()];
  const noarch = await from.open("noarch");
  let { incomplete } = noarch;
  const solved = new Set<string>();
  const unsolved = new Map<string, Unsolved>();
  for (const platform of wanted) {
    const its = await from.open(platform);
    incomplete ||= its.incomplete;
    const machines = machinesOf(platform).map((all) => all.map((v) => virtualChoosable(v, platform)));
    const roots = [...its.roots, ...noarch.roots];
    const known = await reachable(roots, [its.byName, noarch.byName], from);
    for (const list of known.values()) list.sort(bestFirst(versions));
    const installer = new Installer(versions, (name) => (name.startsWith("__") ? [] : (known.get(name) ?? [])));
    let lenient: ReturnType<typeof askingOnlyHere> | undefined;
    let rested = performance.now();
    for (const root of roots) {
      // Whoever wants it to stop is heard.
      if (performance.now() - rested > LONGEST_MS) {
        await setImmediate();
        from.signal.throwIfAborted();
        rested = performance.now();
      }
      const key = `${root.subdir}/${root.fileName}`;
      let found = installer.solve(root, machines);
      if (typeof found === "string" && from.elsewhere) {
        lenient ??= askingOnlyHere(known, versions);
        const asking = lenient.of(root);
        const there = lenient.installer.solve(asking, machines);
        found = typeof there === "string" ? found : there;
        if (typeof there === "string") for (const one of eachByItself(asking, lenient.installer, machines)) take(one);
      }
      if (typeof found === "string") {
        unsolved.set(key, { root, platform, found });
        continue;
      }
      solved.add(key);
      for (const one of found) take(one);
    }
  }
  // A package for no platform in particular need not fit them all.
  for (const key of solved) unsolved.delete(key);
  return { files, names, unsolved: [...unsolved.values()], incomplete };
}

/** Packages that ask nothing of names that are not here: whoever has those may have them from another channel. */
function askingOnlyHere(
  known: ReadonlyMap<string, readonly Choosable[]>,
  versions: Versions,
): { readonly installer: Installer; of(one: Choosable): Choosable } {
  const asks = (spec: string): boolean => {
    const name = dependencyName(spec);
    return name === undefined || name.startsWith("__") || (known.get(name)?.length ?? 0) > 0;
  };
  const of = (one: Choosable): Choosable => {
    if (one.depends.every(asks) && Object.values(one.extras).every((specs) => specs.every(asks))) return one;
    const extras = Object.fromEntries(Object.entries(one.extras).map(([group, specs]) => [group, specs.filter(asks)]));
    return { ...one, depends: one.depends.filter(asks), extras };
  };
  const lists = new Map<string, Choosable[]>();
  const candidates = (name: string): readonly Choosable[] => {
    let list = lists.get(name);
    if (!list) {
      list = (known.get(name) ?? []).map(of);
      lists.set(name, list);
    }
    return list;
  };
  return { installer: new Installer(versions, (name) => (name.startsWith("__") ? [] : candidates(name))), of };
}

/**
 * What a package needs that can't be installed with it all at once: of each dependency the best that will do by itself, with what
 * that needs. Together with what is elsewhere it may go.
 */
function eachByItself(
  root: Choosable,
  installer: Installer,
  machines: readonly (readonly Choosable[])[],
): Iterable<Choosable> {
  const all = new Set<Choosable>();
  const open = [root];
  for (let one = open.pop(); one; one = open.pop()) {
    for (const text of one.depends) {
      const need = installer.need(text);
      const best = need && installer.candidates(need.name).find((c) => installer.fitting(need).has(c));
      if (!best || all.has(best)) continue;
      all.add(best);
      const found = installer.solve(best, machines);
      if (typeof found === "string") open.push(best);
      else for (const other of found) all.add(other);
    }
  }
  return all;
}

/** All records that anything chosen can lead to. */
async function reachable(
  roots: readonly Choosable[],
  sources: readonly ByName[],
  { concurrency, signal }: ChosenFrom,
): Promise<Map<string, Choosable[]>> {
  const known = new Map<string, Choosable[]>();
  let next = namesIn(roots);
  while (next.size > 0) {
    const found: Choosable[] = [];
    const look = async (name: string) => {
      const all = (await Promise.all(sources.map((byName) => byName(name)))).flat();
      known.set(name, all);
      found.push(...all);
    };
    for await (const _ of pool(next, concurrency, look, signal));
    signal.throwIfAborted();
    next = new Set([...namesIn(found)].filter((name) => !known.has(name)));
  }
  return known;
}

function namesIn(records: Iterable<Choosable>): Set<string> {
  const names = new Set<string>();
  for (const { depends, extras } of records) {
    for (const spec of [depends, ...Object.values(extras)].flat()) {
      const name = dependencyName(spec);
      if (name !== undefined && !name.startsWith("__")) names.add(name);
    }
  }
  return names;
}

/**
 * Whether a package may be taken because something needs it. Which packages are wanted, of which versions and since when is no
 * rule for those; all others are.
 */
export function isUsable({ fields, name, fileName }: Choosable, where: Whereabouts, rules: Rules | undefined): boolean {
  if (!rules) return true;
  const names = { ...rulesFor(name, rules), includedAll: true };
  return passes(fields, { ...where, fileName }, names, { ...rules, since: undefined });
}

/** The packages of entries that are chosen. */
export function rootsIn(
  index: Repodata,
  subdir: string,
  chosen: Choice["chosen"],
  isOffered: (fileName: string) => boolean,
): Choosable[] {
  const roots: Choosable[] = [];
  for (const map of RECORD_MAPS)
    for (const [entry, yes] of chosen[map].entries()) {
      if (yes !== 1) continue;
      const { fileName, record } = entryAt(index, map, entry);
      const root = isOffered(fileName) ? choosable(subdir, fileName, record) : undefined;
      if (root) roots.push(root);
    }
  return roots;
}

/** The packages of an index by name. */
export function readerOf(
  index: Repodata,
  subdir: string,
  isOffered: (fileName: string) => boolean,
): (name: string) => Choosable[] {
  const places = placesByName(index);
  return (name) =>
    (places.get(name) ?? []).flatMap((place) => {
      const { fileName, record } = recordAt(index, place);
      return (isOffered(fileName) && choosable(subdir, fileName, record)) || [];
    });
}
