import { neededOf } from "./channel-deps.ts";
import { Subdir } from "./follow-subdir.ts";
import { type Following, failed, loseFollower, onlyTarget } from "./following.ts";
import { living } from "./lost.ts";
import type { Run } from "./run.ts";
import type { ChannelSource } from "./source/channel.ts";
import type { PackageRef } from "./source/source.ts";
import type { Target } from "./target/target.ts";

/** A channel is asked for new subdirs when this long has passed. */
const DAY = 24 * 60 * 60 * 1000;

/**
 * Finds out what targets lack of whole channels, subdir by subdir, so that one index is in memory at a time. Where neither
 * the channel's nor the target's index changed since the target had everything, one request is all.
 * @param others offers of sources that are no channels: they keep what they name from going.
 */
export async function follow(
  channels: readonly ChannelSource[],
  others: readonly PackageRef[],
  run: Run,
): Promise<Following> {
  const following: Following = {
    refs: [],
    pending: [],
    failures: [],
    kept: new Map(),
    gone: new Map(),
    states: [],
    unfinished: new Set(),
    incomplete: false,
    lacking: new Set(),
  };
  const having = new Map<string, ChannelSource[]>();
  for (const channel of channels) {
    try {
      for (const subdir of await subdirsOf(channel, run)) {
        const its = having.get(subdir) ?? [];
        // A channel that was named twice is followed once.
        if (!its.some(({ place }) => place.key === channel.place.key)) having.set(subdir, [...its, channel]);
      }
    } catch (e) {
      failed(following, channel.address.name, e, run);
    }
  }
  if (run.removal)
    for (const target of living(run))
      for (const subdir of await subdirsIn(target, following, run))
        if (!having.has(subdir) && (run.subdirs?.includes(subdir) ?? true)) having.set(subdir, []);
  const sorted = [...having].sort(([a], [b]) => (a < b ? -1 : 1));
  const withDeps =
    run.ownDeps && channels.length > 0 ? await withNeeded(channels, sorted, others, following, run) : run;
  for (const [subdir, its] of withDeps ? sorted : []) {
    if (run.signal.aborted || living(run).length === 0) break;
    await new Subdir(subdir, its, others, following, withDeps as Run).follow();
  }
  return following;
}

/**
 * The run with what the chosen packages need; undefined when nothing changed in any subdir, and all of it is there. What one
 * subdir's packages need may be in another: all are looked at anew when one changed.
 */
async function withNeeded(
  channels: readonly ChannelSource[],
  having: readonly (readonly [string, ChannelSource[]])[],
  others: readonly PackageRef[],
  following: Following,
  run: Run,
): Promise<Run | undefined> {
  const all = having.map(([subdir, its]) => new Subdir(subdir, its, others, following, run));
  let unchanged = true;
  for (const one of all) unchanged &&= await one.isAsItWas();
  if (unchanged) {
    for (const one of all) await one.keepAll();
    return undefined;
  }
  const needed = await neededOf(channels, run.ownDeps?.platforms ?? [], run);
  for (const failure of needed.failures) {
    following.failures.push(failure);
    run.emit({ type: "finished", result: failure });
  }
  // What can't be told from what nothing needs stays, and is asked for again next time, as failures are told again.
  if (needed.incomplete) following.incomplete = true;
  if (needed.incomplete || needed.failures.length > 0) for (const [subdir] of having) following.unfinished.add(subdir);
  return { ...run, needed };
}

/** The subdirs that a target has; none where it turns out to be lost. */
async function subdirsIn(target: Target, following: Following, run: Run): Promise<readonly string[]> {
  try {
    return (await target.index?.subdirs(run.signal)) ?? [];
  } catch (e) {
    loseFollower(target, e, following, run);
    return [];
  }
}

/** The subdirs of a channel: asked for once a day, since each that it hasn't costs a request too. */
async function subdirsOf(channel: ChannelSource, run: Run): Promise<readonly string[]> {
  const followed = onlyTarget(run)?.index.followed;
  const key = `subdirs of ${channel.place.key} ${run.subdirs ?? ""}`;
  const now = run.retry.clock.now();
  const known = followed?.subdirs(key);
  if (known && now >= known.at && now - known.at < DAY) return known.subdirs;
  const subdirs = await channel.subdirs(run.signal);
  followed?.setSubdirs(key, now, subdirs);
  return subdirs;
}
