import { chooseRecords } from "./choose/choose-index.ts";
import { dependencyName, passes, rulesFor } from "./choose/rules.ts";
import { loadVersions } from "./conda/version.ts";
import { asMirrorError, isInterruption, SourceError } from "./errors.ts";
import type { Outcome } from "./events.ts";
import { whereIs } from "./follow-subdir.ts";
import { placesByName, recordAt } from "./index/record-names.ts";
import { entryAt, RECORD_MAPS } from "./index/repodata.ts";
import { fileNameIn, recordIn } from "./index/shard-json.ts";
import { readUpstream } from "./read-upstream.ts";
import type { Run } from "./run.ts";
import { bestFirst, type Choosable, choosable, virtualChoosable } from "./solve/choosable.ts";
import { Installer, MOST_STEPS } from "./solve/installer.ts";
import { machinesOf } from "./solve/virtual-packages.ts";
import type { ChannelSource } from "./source/channel.ts";
import { thisPlatform } from "./this-platform.ts";
import { pool } from "./transfer/pool.ts";

/** What chosen packages of channels need besides themselves. */
export interface Needed {
  /** By subdir: names of files. */
  readonly files: ReadonlyMap<string, ReadonlySet<string>>;
  /** Names of packages, in lower case. */
  readonly names: ReadonlySet<string>;
  readonly failures: readonly Outcome[];
  /** Whether something could not be read: there may be more that they need. */
  readonly incomplete: boolean;
}

/** Records of one subdir of one channel, by name. */
type ByName = (name: string) => Promise<Choosable[]>;

/**
 * What the chosen packages of channels need to be installed, from the same channels: for each platform an installation of each
 * package, the newest that goes together. What rules exclude is not taken for that either.
 */
export async function neededOf(
  channels: readonly ChannelSource[],
  platforms: readonly string[],
  run: Run,
): Promise<Needed> {
  const versions = await loadVersions();
  const files = new Map<string, Set<string>>();
  const names = new Set<string>();
  const failures: Outcome[] = [];
  const subdirs = new Set<string>();
  for (const channel of channels) for (const s of await channel.subdirs(run.signal)) subdirs.add(s);
  const own = [...subdirs].filter((s) => s !== "noarch");
  const wanted = platforms.length > 0 ? platforms : own.length > 0 ? own : [thisPlatform()];
  const noarch = await openSubdir(channels, "noarch", run);
  let { incomplete } = noarch;
  const solved = new Set<string>();
  const unsolved = new Map<string, { root: Choosable; platform: string; found: "none" | "unknown" }>();
  for (const platform of wanted) {
    const its = await openSubdir(channels, platform, run);
    incomplete ||= its.incomplete;
    const machines = machinesOf(platform).map((all) => all.map((v) => virtualChoosable(v, platform)));
    const roots = [...its.roots, ...noarch.roots];
    const known = await reachable(roots, [its.byName, noarch.byName], run);
    for (const list of known.values()) list.sort(bestFirst(versions));
    const installer = new Installer(versions, (name) => (name.startsWith("__") ? [] : (known.get(name) ?? [])));
    for (const root of roots) {
      const key = `${root.subdir}/${root.fileName}`;
      const found = installer.solve(root, machines);
      if (typeof found === "string") {
        unsolved.set(key, { root, platform, found });
        continue;
      }
      solved.add(key);
      for (const { subdir, fileName, name } of found) {
        names.add(name);
        const list = files.get(subdir) ?? new Set();
        list.add(fileName);
        files.set(subdir, list);
      }
    }
  }
  for (const [key, { root, platform, found }] of unsolved) {
    // A package for no platform in particular need not fit them all.
    if (solved.has(key)) continue;
    const error = new SourceError("UNSOLVABLE", {
      what: `${key}: what it needs can't be had for ${platform}`,
      why:
        found === "none"
          ? `no packages of ${channels.map((c) => c.address.name).join(", ")} go together with it`
          : `${MOST_STEPS} choices among packages of ${channels.map((c) => c.address.name).join(", ")} led nowhere`,
      next: "the package itself is taken; exclude it, or name a further channel that has what it needs",
    });
    failures.push({ outcome: "failed", fileName: root.fileName, origin: channels[0]?.address.name ?? "", error });
  }
  return { files, names, failures, incomplete };
}

/** All records that anything chosen can lead to. */
async function reachable(
  roots: readonly Choosable[],
  sources: readonly ByName[],
  run: Run,
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
    for await (const _ of pool(next, run.settings.max_concurrent_downloads, look, run.signal));
    run.signal.throwIfAborted();
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

/** The chosen records of a subdir, and all of its records by name; what can't be read is left out, and told when it is followed. */
async function openSubdir(
  channels: readonly ChannelSource[],
  subdir: string,
  run: Run,
): Promise<{ roots: Choosable[]; byName: ByName; incomplete: boolean }> {
  const roots: Choosable[] = [];
  let incomplete = false;
  const readers: ByName[] = [];
  for (const channel of channels) {
    const where = { channel: whereIs(channel), subdir };
    const usable = ({ fields, name, fileName }: Choosable): boolean => {
      if (!run.rules) return true;
      const rules = { ...rulesFor(name, run.rules), includedAll: true };
      return passes(fields, { ...where, fileName }, rules, run.rules);
    };
    try {
      const read = await readUpstream(channel, subdir, undefined, run);
      if (!read || read === "unchanged") continue;
      const { index, refused } = read.upstream;
      const removed = new Set(index.removed);
      const isOffered = (fileName: string) => !refused.has(fileName) && !removed.has(fileName);
      const { chosen } = chooseRecords(index, where, run.rules);
      for (const map of RECORD_MAPS)
        for (const [entry, yes] of chosen[map].entries()) {
          if (yes !== 1) continue;
          const { fileName, record } = entryAt(index, map, entry);
          const root = isOffered(fileName) ? choosable(subdir, fileName, record) : undefined;
          if (root) roots.push(root);
        }
      const shards = read.shardIndex ? await channel.shards(subdir, run.signal) : undefined;
      const places = shards ? undefined : placesByName(index);
      readers.push(async (name) => {
        const all: (Choosable | undefined)[] = [];
        if (shards && shards !== "unchanged") {
          const content = await shards.load(name, run.signal);
          if (!content) return [];
          const gone = new Set(content.removed);
          for (const r of content.records) {
            const fileName = fileNameIn(content, r);
            if (!gone.has(fileName)) all.push(choosable(subdir, fileName, recordIn(content, r)));
          }
        } else {
          for (const place of places?.get(name) ?? []) {
            const { fileName, record } = recordAt(index, place);
            if (isOffered(fileName)) all.push(choosable(subdir, fileName, record));
          }
        }
        return all.filter((one) => one !== undefined).filter(usable);
      });
    } catch (e) {
      if (isInterruption(e, run.signal)) throw e;
      incomplete = true;
      run.emit({ type: "warning", message: `${channel.address.name}/${subdir}: ${asMirrorError(e, subdir).why}` });
    }
  }
  return { roots, byName: async (name) => (await Promise.all(readers.map((r) => r(name)))).flat(), incomplete };
}
