import { infoValue } from "../index/index-info.ts";
import { isGone, removedAfter } from "../index/merge.ts";
import { nameIn, placesByName, recordAt } from "../index/record-names.ts";
import { mapOf } from "../index/repodata.ts";
import {
  makeShard,
  makeShardIndex,
  readShardIndex,
  SHARD_FOLDER,
  type ShardInfo,
  type ShardRecord,
  shardPath,
} from "../index/shards.ts";
import type { KnownRunExports } from "./publish-run-exports.ts";
import { type NewFile, PreconditionFailed } from "./store.ts";
import { asSeen, assertNewest, SHARD_INDEX, type SubdirJob, writeFile } from "./subdir-job.ts";

/**
 * Writes the shards that changed and then their index (CEP 16). Where we wrote the index that is there, only names that
 * the change touches are looked at; otherwise every shard is made anew, and those that come out as they were stay.
 * Gives the shards that no index names any more, with the time since when; those past their grace period are removed.
 */
export async function publishShards(job: SubdirJob, runExports: KnownRunExports): Promise<Record<string, number>> {
  const { store, subdir, signal, options } = job;
  const grace = options.files.shardGraceMs;
  const old = Object.entries(job.fresh?.unreferenced ?? {});
  if (!job.changed && old.every(([, since]) => options.now - since < grace)) {
    const there = await store.stat(`${subdir}/${SHARD_INDEX}`, signal);
    if (there && job.fresh?.versions[SHARD_INDEX] === there.version) {
      job.versions[SHARD_INDEX] = there.version;
      return Object.fromEntries(old);
    }
  }
  const stored = await store.get(`${subdir}/${SHARD_INDEX}`, signal);
  let before: ReadonlyMap<string, string> = new Map();
  try {
    if (stored) before = await readShardIndex(stored.bytes);
  } catch (e) {
    options.warn(`${subdir}/${SHARD_INDEX} can't be read and is made anew: ${(e as Error).message}`);
  }
  const ours = stored !== undefined && job.fresh?.versions[SHARD_INDEX] === stored.version;
  // Another writer came since it was looked at: every shard would have to be made, and not enough is known for that.
  if (!ours && runExports.few) throw new PreconditionFailed(`${subdir}/${SHARD_INDEX}`);
  const shards = new Map(ours ? before : []);
  await store.putNew(`${subdir}/`, shardFiles(job, ours ? job.names : undefined, shards, runExports), signal);
  const bytes = makeShardIndex({ info: shardInfo(job), shards });
  if (stored && Buffer.compare(stored.bytes, bytes) === 0) job.versions[SHARD_INDEX] = stored.version;
  else await writeFile(job, SHARD_INDEX, bytes, asSeen(job, SHARD_INDEX));
  const unreferenced: Record<string, number> = Object.fromEntries(old);
  const named = new Set(shards.values());
  for (const sha256 of before.values()) if (!named.has(sha256)) unreferenced[sha256] ??= options.now;
  // Nobody noted which shards are left of an index that is not the one we wrote last.
  if (stored && !ours) for (const sha256 of await shardsThere(job)) unreferenced[sha256] ??= options.now;
  for (const [sha256, since] of Object.entries(unreferenced)) {
    if (named.has(sha256)) delete unreferenced[sha256];
    else if (options.now - since >= grace) {
      await assertNewest(job);
      await store.remove(`${subdir}/${shardPath(sha256)}`, signal);
      delete unreferenced[sha256];
    }
  }
  return unreferenced;
}

/** The shards that are there, named by an index or not. */
async function shardsThere({ store, subdir, signal }: SubdirJob): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of store.list(`${subdir}/${SHARD_FOLDER}`, signal)) {
    const [, sha256] = /\/([0-9a-f]{64})\.msgpack\.zst$/.exec(path) ?? [];
    if (sha256) found.push(sha256);
  }
  return found;
}

/** Makes the shards of the given names, or of all, and notes each in `shards` as it goes. */
function* shardFiles(
  { index, change, options, subdir }: SubdirJob,
  names: ReadonlySet<string> | undefined,
  shards: Map<string, string>,
  runExports: KnownRunExports,
): Generator<NewFile> {
  const places = placesByName(index, names);
  const added = new Map<string, ShardRecord[]>();
  for (const [fileName, { record, v3 }] of change.add) {
    const name = nameIn(record);
    if (name === undefined) continue;
    const one = { map: mapOf(fileName, v3 === true), fileName, record, runExports: runExports.of(fileName) };
    added.set(name, [...(added.get(name) ?? []), one]);
  }
  const removed = removedByName(removedAfter(index, change));
  for (const name of [...(names ?? new Set([...places.keys(), ...added.keys()]))].sort()) {
    const records: ShardRecord[] = added.get(name) ?? [];
    for (const place of places.get(name) ?? []) {
      const r = recordAt(index, place);
      if (!isGone(change, r.fileName)) records.push({ ...r, runExports: runExports.of(r.fileName) });
    }
    if (records.length === 0) {
      shards.delete(name);
      continue;
    }
    const shard = makeShard(records, removed.get(name) ?? []);
    if (shard.size > MAX_SHARD)
      options.warn(`${subdir}: the shard of ${name} has ${shard.size} bytes, more than conda reads (${MAX_SHARD})`);
    shards.set(name, shard.sha256);
    yield { path: shardPath(shard.sha256), bytes: shard.bytes };
  }
}

/** What conda refuses to unpack. */
const MAX_SHARD = 16 * 1024 * 1024;

function removedByName(fileNames: readonly string[]): Map<string, string[]> {
  const byName = new Map<string, string[]>();
  for (const fileName of new Set(fileNames)) {
    const name = /^(.+)-[^-]+-[^-]+$/.exec(fileName)?.[1]?.toLowerCase();
    if (name === undefined) continue;
    const names = byName.get(name);
    if (names) names.push(fileName);
    else byName.set(name, [fileName]);
  }
  return byName;
}

function shardInfo({ index, change, subdir }: SubdirJob): ShardInfo {
  const info = change.info
    ? (JSON.parse(Buffer.from(change.info).toString("utf8")) as Record<string, unknown>)
    : infoValue(index);
  const { channel_relations, repodata_revisions } = info;
  return {
    subdir,
    baseUrl: typeof info["base_url"] === "string" ? info["base_url"] : "",
    more: {
      ...(channel_relations ? { channel_relations } : {}),
      ...(repodata_revisions ? { repodata_revisions } : {}),
    },
  };
}
