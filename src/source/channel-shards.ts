import { parseFileName } from "../conda/file-name.ts";
import { SourceError } from "../errors.ts";
import { JsonOut } from "../index/json-out.ts";
import { readRepodata } from "../index/repodata.ts";
import { ShardJoiner } from "../index/shard-joiner.ts";
import { fileNameIn, readShardJson, type ShardContent } from "../index/shard-json.ts";
import { type FoundShards, readShardIndexWhole } from "../index/shards.ts";
import { pool } from "../transfer/pool.ts";
import { badIndex, checkIsFile, placeNamed, type Upstream, type UpstreamState } from "./channel-index.ts";
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
    checkIsFile(file.bytes);
    found = await readShardIndexWhole(file.bytes);
    shardsAt = placeNamed(place, path, "shards_base_url", found.shardsBaseUrl);
    at = placeNamed(place, path, "base_url", found.baseUrl);
  } catch (e) {
    throw badIndex(place, path, e);
  }
  const loaded = new Map<string, Promise<ShardContent>>();
  const fetchOne = async (sha256: string, s: AbortSignal): Promise<Uint8Array> => {
    const address = `${shardsAt}${sha256}.msgpack.zst`;
    const shard = await place.readAt(address, MAX_SHARD, s);
    if (shard) return shard.bytes;
    throw new SourceError("BAD_INDEX", {
      what: `${place.address.name}: ${subdir} has lost a shard`,
      why: `${path} names ${sha256}, and it is not there`,
      next: "run again later, or tell the channel's owner",
    });
  };
  const contentOf = async (bytes: Uint8Array, sha256: string, out?: JsonOut): Promise<ShardContent> => {
    try {
      return await readShardJson(bytes, sha256, out);
    } catch (e) {
      throw badIndex(place, `${subdir}: shard ${sha256}`, e);
    }
  };
  const load: ShardedIndex["load"] = async (name, s) => {
    const sha256 = found.shards.get(name);
    if (sha256 === undefined) return undefined;
    let one = loaded.get(name);
    if (!one) {
      one = fetchOne(sha256, s).then((bytes) => contentOf(bytes, sha256));
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
      const joined = new ShardJoined();
      const room = new JsonOut();
      const sorted = [...names].sort();
      // A batch at a time, as it comes: what a shard holds is made JSON of when its turn is there to be joined, in one room for all.
      for (let i = 0; i < sorted.length; i += BATCH) {
        const came = new Map<string, Uint8Array>();
        const take = async (name: string) => {
          const sha256 = found.shards.get(name);
          if (sha256 !== undefined && !loaded.has(name)) came.set(name, await fetchOne(sha256, s));
        };
        const batch = sorted.slice(i, i + BATCH);
        for await (const _ of pool(batch, concurrency, take, s));
        s.throwIfAborted();
        for (const name of batch) {
          const bytes = came.get(name);
          if (bytes) joined.add(name, await contentOf(bytes, found.shards.get(name) as string, room));
          else joined.add(name, await loaded.get(name));
        }
      }
      return joined.finish(subdir, at, { file: SHARD_INDEX, version: file.version });
    },
  };
}

const BATCH = 128;

/** What shards hold, put together to one index. */
class ShardJoined {
  readonly #joiner = new ShardJoiner();
  readonly #refused = new Map<string, string>();
  /** Those that are not empty, each text once: the builds of a version have the same. */
  readonly #runExports = new Map<string, string>();
  readonly #texts = new Map<string, string>();
  /** Names of which nothing is known, and further files. */
  readonly #unknownNames = new Set<string>();
  readonly #unknown = new Set<string>();

  add(shard: string, content: ShardContent | undefined): void {
    if (!content) return;
    const { records } = content;
    const noneKnown = records.every((r) => r.runExports === undefined);
    if (noneKnown) this.#unknownNames.add(shard);
    for (const r of records) {
      // Clients look a package up in the shard of its name, and see nothing else there.
      if (r.name !== shard && r.name?.toLowerCase() !== shard)
        this.#refused.set(fileNameIn(content, r), `it stands in the shard of ${shard}`);
      if (r.runExports === undefined) {
        if (!noneKnown) this.#unknown.add(fileNameIn(content, r));
      } else if (r.runExports !== "{}") this.#runExports.set(fileNameIn(content, r), this.#once(r.runExports));
    }
    this.#joiner.add(content);
  }

  #once(text: string): string {
    const known = this.#texts.get(text);
    if (known === undefined) this.#texts.set(text, text);
    return known ?? text;
  }

  finish(subdir: string, packagesAt: string, state: UpstreamState): Upstream {
    const refused = this.#refused;
    const index = readRepodata(this.#joiner.finish(subdir), refused);
    return {
      subdir,
      index,
      refused,
      packagesAt,
      state,
      runExports: (fileName) => {
        if (this.#unknown.has(fileName) || this.#unknownNames.has(parseFileName(fileName).name.toLowerCase()))
          return undefined;
        return Buffer.from(this.#runExports.get(fileName) ?? "{}");
      },
    };
  }
}
