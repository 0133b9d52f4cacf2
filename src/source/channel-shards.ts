import { SourceError } from "../errors.ts";
import { readRepodata } from "../index/repodata.ts";
import { readShardJson, repodataOfShards, type ShardContent } from "../index/shard-json.ts";
import { type FoundShards, readShardIndexWhole } from "../index/shards.ts";
import { pool } from "../transfer/pool.ts";
import { badIndex, packagesAt, type Upstream, type UpstreamState } from "./channel-index.ts";
import type { ChannelPlace } from "./channel-place.ts";

export const SHARD_INDEX = "repodata_shards.msgpack.zst";

const MiB = 1024 * 1024;
const MAX_SHARD_INDEX = 64 * MiB;
/** Of one shard as it comes; conda refuses more than this unpacked. */
const MAX_SHARD = 16 * MiB;

/** A subdir's sharded index (CEP 16): its shards are fetched when they are asked for, each once. */
export interface ShardedIndex {
  readonly subdir: string;
  readonly state: UpstreamState;
  /** The index file as it came. */
  readonly bytes: Uint8Array;
  /** Package name in lower case to the SHA-256 of its shard. */
  readonly shards: ReadonlyMap<string, string>;
  /** The shard of a name; undefined when there is none. @throws SourceError BAD_INDEX, TransferError */
  load(name: string, signal: AbortSignal): Promise<ShardContent | undefined>;
  /** What the shards that were loaded hold, or those of some names, as one index. Loads what is still missing. */
  whole(names: Iterable<string>, signal: AbortSignal): Promise<Upstream>;
}

/**
 * Opens a subdir's sharded index; undefined when it has none.
 * @param unless gives "unchanged" when the index still has that version.
 */
export async function openShards(
  place: ChannelPlace,
  subdir: string,
  concurrency: number,
  signal: AbortSignal,
  unless?: UpstreamState,
): Promise<ShardedIndex | "unchanged" | undefined> {
  const path = `${subdir}/${SHARD_INDEX}`;
  const version = unless?.file === SHARD_INDEX ? unless.version : undefined;
  const file = await place.read(path, MAX_SHARD_INDEX, signal, version);
  if (file === "unchanged" || file === undefined) return file;
  let found: FoundShards;
  let shardsAt: string;
  let at: string;
  try {
    found = await readShardIndexWhole(file.bytes);
    const base = found.shardsBaseUrl === "" ? "./" : found.shardsBaseUrl;
    shardsAt = place.resolve(path, base.endsWith("/") ? base : `${base}/`);
    at = packagesAt(place, subdir, found.baseUrl);
  } catch (e) {
    throw badIndex(place, path, e);
  }
  const loaded = new Map<string, Promise<ShardContent>>();
  const fetchOne = async (sha256: string, s: AbortSignal): Promise<ShardContent> => {
    const address = `${shardsAt}${sha256}.msgpack.zst`;
    const shard = await place.readAt(address, MAX_SHARD, s);
    if (!shard) {
      throw new SourceError("BAD_INDEX", {
        what: `${place.address.name}: ${subdir} has lost a shard`,
        why: `${path} names ${sha256}, and it is not there`,
        next: "run again later, or tell the channel's owner",
      });
    }
    try {
      return await readShardJson(shard.bytes, sha256);
    } catch (e) {
      throw badIndex(place, `${subdir}: shard ${sha256}`, e);
    }
  };
  const load: ShardedIndex["load"] = async (name, s) => {
    const sha256 = found.shards.get(name);
    if (sha256 === undefined) return undefined;
    let one = loaded.get(name);
    if (!one) {
      one = fetchOne(sha256, s);
      loaded.set(name, one);
    }
    return one;
  };
  return {
    subdir,
    state: { file: SHARD_INDEX, version: file.version },
    bytes: file.bytes,
    shards: found.shards,
    load,
    async whole(names, s) {
      const contents = new Map<string, ShardContent>();
      const take = async (name: string) => {
        const content = await load(name, s);
        if (content) contents.set(name, content);
      };
      for await (const _ of pool(names, concurrency, take, s));
      s.throwIfAborted();
      return upstreamOf(subdir, contents, at, { file: SHARD_INDEX, version: file.version });
    },
  };
}

function upstreamOf(
  subdir: string,
  contents: ReadonlyMap<string, ShardContent>,
  at: string,
  state: UpstreamState,
): Upstream {
  const refused = new Map<string, string>();
  const runExports = new Map<string, string>();
  for (const [shard, { records }] of contents) {
    for (const { map, key, name, runExports: exports } of records) {
      const fileName = map.startsWith("v3.") ? key + map.slice(2) : key;
      // Clients look a package up in the shard of its name, and see nothing else there.
      if (name?.toLowerCase() !== shard) refused.set(fileName, `it stands in the shard of ${shard}`);
      if (exports !== undefined) runExports.set(fileName, exports);
    }
  }
  const sorted = [...contents.keys()].sort().map((name) => contents.get(name) as ShardContent);
  const index = readRepodata(repodataOfShards(subdir, sorted), refused);
  return {
    subdir,
    index,
    refused,
    packagesAt: at,
    state,
    runExports(fileName) {
      const exports = runExports.get(fileName);
      return exports === undefined ? undefined : Buffer.from(exports);
    },
  };
}
