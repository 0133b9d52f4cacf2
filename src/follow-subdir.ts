import { join } from "node:path";
import { chooseFile, chooseRecords } from "./choose/choose-index.ts";
import { hopeless, rulesFor } from "./choose/rules.ts";
import { asMirrorError, InterruptedError, isInterruption, type MirrorError } from "./errors.ts";
import type { Outcome } from "./events.ts";
import { type Following, failed, type Gone, loseFollower, nameOf, onlyTarget } from "./following.ts";
import { letGo } from "./index/let-go.ts";
import { emptyRepodata, entryAt, RECORD_MAPS, type RecordMap } from "./index/repodata.ts";
import { type Chosen, type IndexSummary, summarise } from "./index/summary.ts";
import { living } from "./lost.ts";
import { type Pending, type PendingEntry, writePending } from "./pending.ts";
import { isAsItWas, type KnownBefore, type ReadSubdir, readUpstream } from "./read-upstream.ts";
import type { Run } from "./run.ts";
import type { ChannelSource } from "./source/channel.ts";
import type { Upstream } from "./source/channel-index.ts";
import { SHARD_INDEX } from "./source/channel-shards.ts";
import type { PackageRef } from "./source/source.ts";
import type { FollowedSubdir } from "./target/followed.ts";
import type { Target } from "./target/target.ts";
import { type ToldRunExports, toldRunExports } from "./told-run-exports.ts";

/** What is remembered of one channel's subdir, and is still so. */
interface Known {
  readonly followed: FollowedSubdir;
  readonly before: KnownBefore;
}

/** What is known of a channel before a target's index is read; undefined where it has to be read afterwards. */
type Early = ReadSubdir | "unchanged" | null | undefined;

/**
 * One subdir of all channels and all targets: what the targets lack of it, and what is to go. One index is in memory at a time.
 */
export class Subdir {
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
    for (const target of living(run)) {
      if (!target.index) continue;
      try {
        const { index, version } = await target.index.read(this.subdir, run.signal);
        summaries.set(target, summarise(index));
        compared = version;
        letGo(index.bytes);
      } catch (e) {
        loseFollower(target, e, this.following, run);
      }
    }
    if (living(run).length === 0) return;
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
    for (const [target, summary] of summaries) {
      const going = this.#noteGone(target, summary, takenBack, only);
      // Counted from what was there before: what goes was among it.
      if (only) this.#uncount(target, going);
    }
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
      failed(this.following, `${channel.address.name}/${this.subdir}`, e, this.run);
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
      chooseFile(upstream.index, chosen, fileName, 0);
    }
    for (const fileName of run.needed?.files.get(subdir) ?? []) chooseFile(upstream.index, chosen, fileName, 1);
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
    const all = summaries.size < living(run).length;
    const failures = following.failures.length;
    const count = all ? wanted : lacks;
    const first = following.refs.length;
    // Shards tell run exports themselves; a file of them is read when the index is not in memory any more.
    let told: ToldRunExports | undefined;
    const about =
      upstream.state.file === SHARD_INDEX ? upstream : { ...upstream, runExports: (f: string) => told?.(f) };
    const pending = await this.#offer(channel, about, all ? chosen : lacking, count);
    const before = only ? so.known?.followed : undefined;
    const waits = { ...without(before?.waiting ?? {}, only), ...Object.fromEntries(waiting) };
    if (onlyTarget(run) && upstream.state.version !== undefined && failures === following.failures.length) {
      following.states.push({
        key: this.#key(channel),
        subdir,
        followed: {
          file: upstream.state.file,
          version: upstream.state.version,
          count: before ? before.count + missing : wanted,
          ...(Object.keys(waits).length > 0 ? { waiting: waits } : {}),
        },
        compared: so.compared,
        shardIndex,
      });
    }
    letGo(upstream.index.bytes);
    if (about === upstream || count === 0) return;
    told = await toldRunExports(channel, subdir, { refs: following.refs, first, pending }, run);
  }

  /**
   * Makes offers of entries, or leaves them in a file for later where there are too many. Those that can't be followed are
   * told. Gives the file.
   */
  async #offer(
    channel: ChannelSource,
    upstream: Upstream,
    entries: Chosen,
    count: number,
  ): Promise<Pending | undefined> {
    const { following, run, subdir } = this;
    const origin = `${channel.address.name}/${subdir}`;
    const refused = new Set(upstream.refused.keys());
    const tell = (fileName: string, error: MirrorError) => {
      refused.delete(fileName);
      const failure: Outcome = { outcome: "failed", fileName, origin, error };
      following.failures.push(failure);
      run.emit({ type: "finished", result: failure });
    };
    let pending: Pending | undefined;
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
      pending = { subdir, origin, path, count: written, offer };
      following.pending.push(pending);
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
    return pending;
  }

  /** Gives how many records go. */
  #noteGone(
    target: Target,
    summary: IndexSummary,
    takenBack: ReadonlySet<string>,
    only: ReadonlySet<string> | undefined,
  ): number {
    const { run, others, subdir } = this;
    for (const ref of others) if (ref.subdir === undefined || ref.subdir === subdir) summary.mark(ref.fileName);
    const unseen = run.removal ? summary.unmarked().filter((f) => !only || only.has(nameOf(f))) : [];
    const listed = [...takenBack].filter((f) => summary.has(f));
    const going = new Set([...unseen, ...listed]).size;
    this.#note(target, {
      gone: unseen,
      takenBack: [...takenBack],
      going,
      listedTakenBack: listed.length,
      listed: summary.count,
    });
    return going;
  }

  #uncount(target: Target, count: number): void {
    const { kept, states } = this.following;
    kept.set(target, Math.max(0, (kept.get(target) ?? 0) - count));
    const at = states.findIndex((s) => s.subdir === this.subdir);
    const state = states[at];
    if (state) {
      const followed = { ...state.followed, count: Math.max(0, state.followed.count - count) };
      states[at] = { ...state, followed };
    }
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

/** What specs that name a channel are held to. */
export function whereIs({ address }: ChannelSource): string {
  return "url" in address.base ? address.base.url.replace(/\/+$/, "") : address.base.folder;
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
