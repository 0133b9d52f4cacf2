import { hopeless, type Rules, rulesFor } from "./choose/rules.ts";
import { isInterruption, SourceError, TransferError } from "./errors.ts";
import { readShardIndexWhole } from "./index/shards.ts";
import type { Run } from "./run.ts";
import type { ChannelSource } from "./source/channel.ts";
import type { Upstream, UpstreamState } from "./source/channel-index.ts";
import { SHARD_INDEX, type ShardedIndex } from "./source/channel-shards.ts";

/** A subdir of a channel as far as a run has to know it. */
export interface ReadSubdir {
  readonly upstream: Upstream;
  /** The names, in lower case, that it knows all of; all names when absent. Of the others it is known that they are as they were. */
  readonly only?: ReadonlySet<string>;
  /** The shard index as it came, where there is one: to be kept, so that the next run knows what changed. */
  readonly shardIndex?: Uint8Array;
}

/** What was known before, and is still so in the target. */
export interface KnownBefore {
  readonly state: UpstreamState;
  /** The shard index of that state. */
  readonly shardIndex: Uint8Array | undefined;
  /** Names that have to be looked at although nothing changed about them: they were too young. */
  readonly due: ReadonlySet<string>;
}

/** Whether a channel's subdir is as it was, where one small request can tell. */
export async function isAsItWas(
  channel: ChannelSource,
  subdir: string,
  before: KnownBefore,
  run: Run,
): Promise<boolean> {
  const { file, version } = before.state;
  // A shard index is small: it is asked for and read at once.
  if (before.due.size > 0 || version === undefined || (file === SHARD_INDEX && before.shardIndex)) return false;
  return channel.place.isUnchanged(`${subdir}/${file}`, version, run.signal);
}

/**
 * Reads a subdir's index in the form that costs least: of a sharded one the shards of names that the rules can want, and of those
 * only the ones that changed since; else the whole. Undefined when there is none.
 * @param before what the target has all of, if that is known.
 * @param alone names, in lower case, that are asked about; of a sharded index no others are read.
 */
export async function readUpstream(
  channel: ChannelSource,
  subdir: string,
  before: KnownBefore | undefined,
  run: Run,
  alone: (name: string) => boolean = () => true,
): Promise<ReadSubdir | "unchanged" | undefined> {
  const unless = before && before.due.size === 0 ? before.state : undefined;
  const { signal } = run;
  if (!unless || unless.file === SHARD_INDEX) {
    try {
      const shards = await channel.shards(subdir, signal, unless);
      if (shards === "unchanged") return "unchanged";
      if (shards) return await fromShards(shards, before, run, alone);
    } catch (e) {
      // S3 answers 403 for a missing key where listing is not allowed.
      const refused = e instanceof TransferError && e.code === "REFUSED";
      if (isInterruption(e, signal) || !(refused || e instanceof SourceError || e instanceof TransferError)) throw e;
      const whole = await channel.whole(subdir, signal);
      if (whole === undefined || whole === "unchanged") throw e;
      if (!refused) run.emit({ type: "warning", message: `${e.what}: ${e.why}; its repodata.json is read instead` });
      return { upstream: whole };
    }
  }
  const whole = await channel.whole(subdir, signal, unless);
  return whole === undefined || whole === "unchanged" ? whole : { upstream: whole };
}

async function fromShards(
  shards: ShardedIndex,
  before: KnownBefore | undefined,
  run: Run,
  alone: (name: string) => boolean,
): Promise<ReadSubdir> {
  const old = before && (await shardsOf(before));
  const changed = (name: string) => !old || old.get(name) !== shards.shards.get(name) || before?.due.has(name) === true;
  const gone = old ? [...old.keys()].filter((name) => !shards.shards.has(name)) : [];
  const names = [...shards.shards.keys()].filter(changed);
  const upstream = await shards.whole(
    names.filter((name) => alone(name) && (canBeWanted(name, run.rules) || run.needed?.names.has(name))),
    run.signal,
  );
  const only = old ? { only: new Set([...names, ...gone]) } : {};
  return { upstream, ...only, shardIndex: shards.bytes };
}

async function shardsOf({ state, shardIndex }: KnownBefore): Promise<ReadonlyMap<string, string> | undefined> {
  if (state.file !== SHARD_INDEX || !shardIndex) return undefined;
  try {
    return (await readShardIndexWhole(shardIndex)).shards;
  } catch {
    return undefined;
  }
}

function canBeWanted(name: string, rules: Rules | undefined): boolean {
  return !rules || !hopeless(rulesFor(name, rules));
}
