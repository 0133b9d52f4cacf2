import { chooseRecords } from "./choose/choose-index.ts";
import { asMirrorError, isInterruption, SourceError } from "./errors.ts";
import type { Outcome } from "./events.ts";
import { whereIs } from "./follow-subdir.ts";
import { fileNameIn, recordIn } from "./index/shard-json.ts";
import { isUsable, neededFrom, type OpenedSubdir, readerOf, rootsIn } from "./needed-from.ts";
import { readUpstream } from "./read-upstream.ts";
import type { Run } from "./run.ts";
import { type Choosable, choosable } from "./solve/choosable.ts";
import { MOST_STEPS } from "./solve/installer.ts";
import type { ChannelSource } from "./source/channel.ts";

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

/**
 * What the chosen packages of channels need to be installed, from the same channels: for each platform an installation of each
 * package, the newest that goes together. What rules exclude is not taken for that either.
 */
export async function neededOf(
  channels: readonly ChannelSource[],
  platforms: readonly string[],
  run: Run,
): Promise<Needed> {
  // Where all there is comes anyway, nothing more can be needed; to solve half a million packages takes hours.
  if (!run.rules && !run.subdirs && channels.every(({ address }) => address.subdir === undefined))
    return { files: new Map(), names: new Set(), failures: [], incomplete: false };
  const subdirs = new Set<string>();
  for (const channel of channels) for (const s of await channel.subdirs(run.signal)) subdirs.add(s);
  const open = (subdir: string) => openSubdir(channels, subdir, run);
  const from = { subdirs, open, concurrency: run.settings.max_concurrent_downloads, signal: run.signal };
  const { unsolved, ...found } = await neededFrom(from, platforms);
  const failures = unsolved.map(({ root, platform, found: how }): Outcome => {
    const error = new SourceError("UNSOLVABLE", {
      what: `${root.subdir}/${root.fileName}: what it needs can't be had for ${platform}`,
      why:
        how === "none"
          ? `no packages of ${channels.map((c) => c.address.name).join(", ")} go together with it`
          : `${MOST_STEPS} choices among packages of ${channels.map((c) => c.address.name).join(", ")} led nowhere`,
      next: "the package itself is taken; exclude it, or name a further channel that has what it needs",
    });
    return { outcome: "failed", fileName: root.fileName, origin: channels[0]?.address.name ?? "", error };
  });
  return { ...found, failures };
}

/** The chosen records of a subdir, and all of its records by name; what can't be read is left out, and told when it is followed. */
async function openSubdir(channels: readonly ChannelSource[], subdir: string, run: Run): Promise<OpenedSubdir> {
  const roots: Choosable[] = [];
  let incomplete = false;
  const readers: OpenedSubdir["byName"][] = [];
  for (const channel of channels) {
    const where = { channel: whereIs(channel), subdir };
    try {
      const read = await readUpstream(channel, subdir, undefined, run);
      if (!read || read === "unchanged") continue;
      const { index, refused } = read.upstream;
      const removed = new Set(index.removed);
      const isOffered = (fileName: string) => !refused.has(fileName) && !removed.has(fileName);
      for (const root of rootsIn(index, subdir, chooseRecords(index, where, run.rules).chosen, isOffered))
        roots.push(root);
      const shards = read.shardIndex ? await channel.shards(subdir, run.signal) : undefined;
      const whole = shards ? undefined : readerOf(index, subdir, isOffered);
      readers.push(async (name) => {
        const all: Choosable[] = whole?.(name) ?? [];
        if (shards && shards !== "unchanged") {
          const content = await shards.load(name, run.signal);
          if (!content) return [];
          const gone = new Set(content.removed);
          for (const r of content.records) {
            const fileName = fileNameIn(content, r);
            const one = gone.has(fileName) ? undefined : choosable(subdir, fileName, recordIn(content, r));
            if (one) all.push(one);
          }
        }
        return all.filter((one) => isUsable(one, where, run.rules));
      });
    } catch (e) {
      if (isInterruption(e, run.signal)) throw e;
      incomplete = true;
      run.emit({ type: "warning", message: `${channel.address.name}/${subdir}: ${asMirrorError(e, subdir).why}` });
    }
  }
  return { roots, byName: async (name) => (await Promise.all(readers.map((r) => r(name)))).flat(), incomplete };
}
