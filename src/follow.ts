import { join } from "node:path";
import { neededOf } from "./channel-deps.ts";
import { chooseRecords } from "./choose/choose-index.ts";
import { hopeless, rulesFor } from "./choose/rules.ts";
import { asMirrorError, InterruptedError, isInterruption, type MirrorError } from "./errors.ts";
import type { Outcome } from "./events.ts";
import { letGo } from "./index/let-go.ts";
import { emptyRepodata, entryAt, entryNamed, RECORD_MAPS, type RecordMap } from "./index/repodata.ts";
import { type Chosen, type IndexSummary, summarise } from "./index/summary.ts";
import { type Pending, type PendingEntry, writePending } from "./pending.ts";
import { isAsItWas, type KnownBefore, type ReadSubdir, readUpstream } from "./read-upstream.ts";
import type { Run } from "./run.ts";
import type { ChannelSource } from "./source/channel.ts";
import type { Upstream } from "./source/channel-index.ts";
import { SHARD_INDEX } from "./source/channel-shards.ts";
import type { PackageRef } from "./source/source.ts";
import type { FollowedSubdir } from "./target/followed.ts";
import type { Target, TargetIndex } from "./target/target.ts";

/** What is to go from one subdir of a target, and of how much. */
export interface Gone {
  readonly subdir: string;
  /** Files that no source has any more; none where nothing is to be removed for that. */
  readonly gone: readonly string[];
  /** Files that their channel took back (CEP 36), listed in the target or not. */
  readonly takenBack: readonly string[];
  /** Records that go, those among them that were taken back, and records that the target lists there. */
  readonly going: number;
  readonly listedTakenBack: number;
  readonly listed: number;
}

/** A state of a channel's subdir that a target will have all of. */
export interface State {
  readonly key: string;
  readonly subdir: string;
  readonly followed: Omit<FollowedSubdir, "target">;
  /** The version of the target's index that was compared, then of what we made of it; null once another writer came between. */
  compared: string | undefined | null;
  readonly shardIndex: Uint8Array | undefined;
}

/** What whole channels have for the targets of a run. */
export interface Following {
  /** Packages that a target lacks, or whose record there is another. */
  readonly refs: PackageRef[];
  /** Where there are too many to be in memory at once: further ones, in files of the run. */
  readonly pending: Pending[];
  readonly failures: Outcome[];
  /** Packages that a target has as they are. */
  readonly kept: Map<Target, number>;
  readonly gone: Map<Target, Gone[]>;
  /** To be remembered of the only target when all of it has come. */
  readonly states: State[];
  /** Subdirs that lack something of what was offered. */
  readonly unfinished: Set<string>;
  /** Whether something could not be read: then nothing goes because it was not seen. */
  incomplete: boolean;
}

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
  };
  const having = new Map<string, ChannelSource[]>();
  for (const channel of channels) {
    try {
      for (const subdir of await subdirsOf(channel, run)) having.set(subdir, [...(having.get(subdir) ?? []), channel]);
    } catch (e) {
      fail(following, channel.address.name, e, run);
    }
  }
  if (run.removal)
    for (const { index } of run.targets)
      for (const subdir of (await index?.subdirs(run.signal)) ?? [])
        if (!having.has(subdir) && (run.subdirs?.includes(subdir) ?? true)) having.set(subdir, []);
  const sorted = [...having].sort(([a], [b]) => (a < b ? -1 : 1));
  const withDeps =
    run.ownDeps && channels.length > 0 ? await withNeeded(channels, sorted, others, following, run) : run;
  for (const [subdir, its] of withDeps ? sorted : []) {
    if (run.signal.aborted) break;
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
  // They are to be told again next time.
  if (needed.failures.length > 0) for (const [subdir] of having) following.unfinished.add(subdir);
  return { ...run, needed };
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

/** The one target of a run, where its indexes are ours: what it had is remembered. */
function onlyTarget(run: Run): { readonly target: Target; readonly index: TargetIndex } | undefined {
  const [target] = run.targets;
  return run.targets.length === 1 && target?.index ? { target, index: target.index } : undefined;
}

/** What is remembered of one channel's subdir, and is still so. */
interface Known {
  readonly followed: FollowedSubdir;
  readonly before: KnownBefore;
}

/** What is known of a channel before a target's index is read; undefined where it has to be read afterwards. */
type Early = ReadSubdir | "unchanged" | null | undefined;

/** One subdir of all channels and all targets. */
class Subdir {
  readonly subdir: string;
  readonly channels: readonly ChannelSource[];
  readonly others: readonly PackageRef[];
  readonly following: Following;
  readonly run: Run;

  constructor(
    subdir: string,
    channels: readonly ChannelSource[],
    others: readonly PackageRef[],
    following: Following,
    run: Run,
  ) {
    this.subdir = subdir;
    this.channels = channels;
    this.others = others;
    this.following = following;
    this.run = run;
  }

  /** Whether each channel is as it was when the only target had all of it. */
  async isAsItWas(): Promise<boolean> {
    const known = await this.#known();
    return this.channels.length > 0 && (await this.#early(known)).every((r) => r === "unchanged");
  }

  /** Counts what the target has. */
  async keepAll(): Promise<void> {
    const one = onlyTarget(this.run);
    if (!one) return;
    for (const known of await this.#known()) this.#keep(one.target, known?.followed.count ?? 0);
    this.#note(one.target, { gone: [], takenBack: [], going: 0, listedTakenBack: 0, listed: 0 });
  }

  async follow(): Promise<void> {
    const { channels, run } = this;
    const known = await this.#known();
    const one = onlyTarget(run);
    let early = await this.#early(known);
    if (one && channels.length > 0 && early.every((r) => r === "unchanged")) {
      const count = known.reduce((sum, k) => sum + (k?.followed.count ?? 0), 0);
      this.#keep(one.target, count);
      this.#note(one.target, { gone: [], takenBack: [], going: 0, listedTakenBack: 0, listed: 0 });
      return;
    }
    // What one channel has decides about what another one lacks: then all have to be known.
    if (channels.length > 1) early = [];
    const summaries = new Map<Target, IndexSummary>();
    let compared: string | undefined;
    for (const target of run.targets) {
      if (!target.index) continue;
      const { index, version } = await target.index.read(this.subdir, run.signal);
      summaries.set(target, summarise(index));
      compared = version;
      letGo(index.bytes);
    }
    run.receivers.prepare();
    const takenBack = new Set<string>();
    const claimed = new Set<string>();
    let only: ReadonlySet<string> | undefined;
    for (const [i, channel] of channels.entries()) {
      const from = early[i] === undefined ? await this.#read(channel, undefined) : early[i];
      if (!from || from === "unchanged") continue;
      await this.#compare(channel, from, summaries, { takenBack, claimed, compared, known: known[i] });
      only = from.only;
    }
    for (const name of claimed) takenBack.delete(name);
    for (const [target, summary] of summaries) this.#noteGone(target, summary, takenBack, only);
  }

  /** What is known of each channel before the target's index is read: nothing changed, or the little that did. */
  async #early(known: readonly (Known | undefined)[]): Promise<Early[]> {
    const early: Early[] = [];
    for (const [i, channel] of this.channels.entries()) {
      const before = known[i]?.before;
      if (before && (await isAsItWas(channel, this.subdir, before, this.run))) early.push("unchanged");
      else early.push(before?.shardIndex ? await this.#read(channel, before) : undefined);
    }
    return early;
  }

  /** Null when there is none, or when it could not be read. */
  async #read(channel: ChannelSource, before: KnownBefore | undefined): Promise<ReadSubdir | "unchanged" | null> {
    try {
      return (await readUpstream(channel, this.subdir, before, this.run)) ?? null;
    } catch (e) {
      if (isInterruption(e, this.run.signal)) throw new InterruptedError(e);
      fail(this.following, `${channel.address.name}/${this.subdir}`, e, this.run);
      return null;
    }
  }

  /** What is remembered of each channel and still holds. */
  async #known(): Promise<(Known | undefined)[]> {
    const { channels, subdir, run } = this;
    const one = onlyTarget(run);
    // What other sources name keeps packages from going, and may be another list every time.
    if (!one || run.needed || (run.removal && run.sources.some((s) => !s.channel))) return [];
    const { followed } = one.index;
    const current = await one.index.version(subdir, run.signal);
    const now = run.retry.clock.now();
    const known: (Known | undefined)[] = [];
    for (const channel of channels) {
      const key = this.#key(channel);
      const then = followed.get(key);
      let found: Known | undefined;
      if (then && then.target === current) {
        const shardIndex =
          then.file === SHARD_INDEX && channels.length === 1 && !run.ownDeps ? await followed.kept(key) : undefined;
        const due = new Set(Object.entries(then.waiting ?? {}).flatMap(([name, at]) => (at <= now ? [name] : [])));
        if (due.size === 0 || shardIndex) found = { followed: then, before: { state: then, shardIndex, due } };
      }
      known.push(found);
    }
    return known;
  }

  #key(channel: ChannelSource): string {
    const { run, subdir } = this;
    const all = run.sources.flatMap((s) => s.channel?.place.key ?? []);
    return JSON.stringify([
      channel.place.key,
      all,
      subdir,
      run.rules?.text,
      run.removal?.keepFiles,
      run.onConflict,
      run.ownDeps,
    ]);
  }

  /** Compares a channel's records with those of the targets, and offers what differs. */
  async #compare(
    channel: ChannelSource,
    from: ReadSubdir,
    summaries: ReadonlyMap<Target, IndexSummary>,
    so: { takenBack: Set<string>; claimed: Set<string>; compared: string | undefined; known: Known | undefined },
  ): Promise<void> {
    const { run, subdir, following } = this;
    const { upstream, only, shardIndex } = from;
    const { chosen, waiting } = chooseRecords(upstream.index, { channel: whereIs(channel), subdir }, run.rules);
    for (const fileName of upstream.index.removed) {
      if (!couldBeWanted(fileName, run)) continue;
      so.takenBack.add(fileName);
      // rattler_index lists such a file and leaves its record: conda and mamba would still install it.
      for (const map of RECORD_MAPS) {
        const entry = entryNamed(upstream.index, map, fileName);
        if (entry !== undefined) chosen[map][entry] = 0;
      }
    }
    for (const fileName of run.needed?.files.get(subdir) ?? []) {
      for (const map of RECORD_MAPS) {
        const entry = entryNamed(upstream.index, map, fileName);
        if (entry !== undefined) chosen[map][entry] = 1;
      }
    }
    // Of two channels that have a file the first is followed.
    if (this.channels.length > 1) claim(upstream, chosen, so.claimed);
    const wanted = RECORD_MAPS.reduce((sum, map) => sum + chosen[map].reduce((a, b) => a + b, 0), 0);
    const lacking = noneOf(chosen);
    let lacks = 0;
    let missing = 0;
    for (const summary of summaries.values()) {
      missing = 0;
      summary.compare(upstream.index, chosen, (map, entry, isThere) => {
        if (lacking[map][entry] === 0) lacks++;
        lacking[map][entry] = 1;
        if (!isThere) missing++;
      });
    }
    // What one target lacks is offered to all. Of names that did not change it is known that they are all there.
    for (const target of summaries.keys())
      this.#keep(target, only ? Math.max(0, (so.known?.followed.count ?? 0) + missing - lacks) : wanted - lacks);
    const all = summaries.size < run.targets.length;
    const failures = following.failures.length;
    await this.#offer(channel, upstream, all ? chosen : lacking, all ? wanted : lacks);
    const before = only ? so.known?.followed : undefined;
    const pending = { ...without(before?.waiting ?? {}, only), ...Object.fromEntries(waiting) };
    if (onlyTarget(run) && upstream.state.version !== undefined && failures === following.failures.length) {
      following.states.push({
        key: this.#key(channel),
        subdir,
        followed: {
          file: upstream.state.file,
          version: upstream.state.version,
          count: before ? before.count + missing : wanted,
          ...(Object.keys(pending).length > 0 ? { waiting: pending } : {}),
        },
        compared: so.compared,
        shardIndex,
      });
    }
    letGo(upstream.index.bytes);
  }

  /**
   * Makes offers of entries, or leaves them in a file for later where there are too many. Those that can't be followed are
   * told.
   */
  async #offer(channel: ChannelSource, upstream: Upstream, entries: Chosen, count: number): Promise<void> {
    const { following, run, subdir } = this;
    const origin = `${channel.address.name}/${subdir}`;
    const refused = new Set(upstream.refused.keys());
    const tell = (fileName: string, error: MirrorError) => {
      refused.delete(fileName);
      const failure: Outcome = { outcome: "failed", fileName, origin, error };
      following.failures.push(failure);
      run.emit({ type: "finished", result: failure });
    };
    if (following.refs.length + count > run.settings.packages_per_round) {
      const path = join(await run.sourceContext.scratch(), `pending-${following.pending.length}`);
      const passed = function* (): Generator<PendingEntry> {
        for (const one of named(upstream, entries)) {
          refused.delete(one.fileName);
          yield one;
        }
      };
      const written = await writePending(path, passed());
      // The index itself is let go.
      const about = { ...upstream, index: emptyRepodata(subdir) };
      const offer = ({ map, fileName, record }: PendingEntry) => channel.offer(about, map, fileName, record);
      following.pending.push({ subdir, origin, path, count: written, offer });
    } else {
      for (const { map, fileName, record } of named(upstream, entries)) {
        try {
          following.refs.push(channel.offer(upstream, map, fileName, record));
        } catch (e) {
          tell(fileName, asMirrorError(e, fileName));
        }
      }
    }
    // Those that are no records at all.
    for (const fileName of refused)
      if (couldBeWanted(fileName, run)) tell(fileName, channel.refusal(upstream, fileName));
  }

  #noteGone(
    target: Target,
    summary: IndexSummary,
    takenBack: ReadonlySet<string>,
    only: ReadonlySet<string> | undefined,
  ): void {
    const { run, others, subdir } = this;
    for (const ref of others) if (ref.subdir === undefined || ref.subdir === subdir) summary.mark(ref.fileName);
    const unseen = run.removal ? summary.unmarked().filter((f) => !only || only.has(nameOf(f))) : [];
    const listed = [...takenBack].filter((f) => summary.has(f));
    this.#note(target, {
      gone: unseen,
      takenBack: [...takenBack],
      going: new Set([...unseen, ...listed]).size,
      listedTakenBack: listed.length,
      listed: summary.count,
    });
  }

  #keep(target: Target, count: number): void {
    const { kept } = this.following;
    kept.set(target, (kept.get(target) ?? 0) + count);
  }

  #note(target: Target, gone: Omit<Gone, "subdir">): void {
    const all = this.following.gone.get(target) ?? [];
    all.push({ subdir: this.subdir, ...gone });
    this.following.gone.set(target, all);
  }
}

/**
 * Where something could not be read, what was not seen can't be told from what is not there; where something did not come, a
 * client may need what it would have replaced. Then nothing goes for not being on offer any more.
 * @param lost files that did not come: the one who runs this is told how to go on without them.
 */
export function keepUnseen(following: Following, run: Run, lost: readonly string[] = []): void {
  if (!following.incomplete) return;
  const [first, ...others] = lost;
  const many = others.length > 0 ? ` (and ${others.length} more)` : "";
  const wayOut =
    first === undefined ? "" : `; if ${first}${many} never comes, --exclude '${nameOf(first)}[fn="${first}"]'`;
  for (const [target, subdirs] of following.gone) {
    if (subdirs.some(({ gone }) => gone.length > 0))
      run.emit({
        type: "warning",
        message: `${target.where}: nothing is removed, since not everything could be read and brought${wayOut}`,
      });
    const kept = subdirs.map((one): Gone => ({ ...one, gone: [], going: one.listedTakenBack }));
    following.gone.set(target, kept);
  }
}

/** What specs that name a channel are held to. */
export function whereIs({ address }: ChannelSource): string {
  return "url" in address.base ? address.base.url.replace(/\/+$/, "") : address.base.folder;
}

function nameOf(fileName: string): string {
  return (/^(.+)-[^-]+-[^-]+$/.exec(fileName)?.[1] ?? fileName).toLowerCase();
}

/** Whether the rules can want a package of a file's name. */
function couldBeWanted(fileName: string, { rules }: Run): boolean {
  return !rules || !hopeless(rulesFor(nameOf(fileName), rules));
}

/** An index's entries that are meant, each file name once: it may stand in a map of v3 as well. */
function* named({ index }: Upstream, entries: Chosen): Generator<PendingEntry> {
  const twice = RECORD_MAPS.some((map) => map.startsWith("v3.") && entries[map].includes(1));
  const seen = new Set<string>();
  for (const map of RECORD_MAPS) {
    for (let entry = entries[map].indexOf(1); entry >= 0; entry = entries[map].indexOf(1, entry + 1)) {
      const { fileName, record } = entryAt(index, map, entry);
      if (seen.has(fileName)) continue;
      if (twice) seen.add(fileName);
      yield { map, fileName, record };
    }
  }
}

function noneOf(chosen: Chosen): Record<RecordMap, Uint8Array> {
  const none = RECORD_MAPS.map((map) => [map, new Uint8Array(chosen[map].length)] as const);
  return Object.fromEntries(none) as Record<RecordMap, Uint8Array>;
}

function claim({ index }: Upstream, chosen: Chosen, claimed: Set<string>): void {
  for (const map of RECORD_MAPS) {
    for (const [entry, yes] of chosen[map].entries()) {
      if (yes !== 1) continue;
      const { fileName } = entryAt(index, map, entry);
      if (claimed.has(fileName)) chosen[map][entry] = 0;
      else claimed.add(fileName);
    }
  }
}

function without(
  waiting: Readonly<Record<string, number>>,
  names: ReadonlySet<string> | undefined,
): Record<string, number> {
  return Object.fromEntries(Object.entries(waiting).filter(([name]) => !names?.has(name)));
}

function fail(following: Following, what: string, e: unknown, run: Run): void {
  if (isInterruption(e, run.signal)) throw new InterruptedError(e);
  following.incomplete = true;
  const failure: Outcome = { outcome: "failed", fileName: what, origin: what, error: asMirrorError(e, what) };
  following.failures.push(failure);
  run.emit({ type: "finished", result: failure });
}
