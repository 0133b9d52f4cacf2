import { TargetError } from "../errors.ts";
import { infoValue } from "../index/index-info.ts";
import { removedAfter } from "../index/merge.ts";
import { goneEntries } from "../index/merge-edits.ts";
import { entryOf, nameIn, placesByName, recordAt } from "../index/record-names.ts";
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
import { found, free } from "./free.ts";
import type { KnownRunExports } from "./publish-run-exports.ts";
import { type NewFile, PreconditionFailed, type Store, type StoredFile } from "./store.ts";
import { asSeen, type PublishOptions, SHARD_INDEX, type SubdirJob, writeFile } from "./subdir-job.ts";

/**
 * Writes the shards that changed and then their index (CEP 16). Where we wrote the index that is there, only names that
 * the change touches are looked at; otherwise every shard is made anew, and those that come out as they were stay.
 * Gives the shards that no index names any more, with the time since when; those past their grace period are removed.
 * @param lastMoment what is to be done when all shards are there, before their index says so.
 */
export async function publishShards(
  job: SubdirJob,
  runExports: KnownRunExports,
  lastMoment: () => Promise<void> = async () => undefined,
): Promise<Record<string, number>> {
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
  const doubted: NewFile[] = [];
  const made = shardFiles(job, ours ? job.names : undefined, shards, runExports);
  await store.putNew(`${subdir}/`, undoubted(job, made, doubted), signal);
  // One of the same size counts as the same, which it was seen not to be.
  for (const { path, bytes } of doubted) await store.put(`${subdir}/${path}`, bytes, "any", signal);
  const bytes = makeShardIndex({ info: shardInfo(job), shards });
  await lastMoment();
  if (stored && Buffer.compare(stored.bytes, bytes) === 0) job.versions[SHARD_INDEX] = stored.version;
  else await writeFile(job, SHARD_INDEX, bytes, asSeen(job, SHARD_INDEX));
  const unreferenced: Record<string, number> = Object.fromEntries(old);
  const named = new Set(shards.values());
  for (const sha256 of before.values()) if (!named.has(sha256)) unreferenced[sha256] ??= options.now;
  // Nobody noted which shards are left of an index that is not the one we wrote last, or that is no more.
  if (!ours)
    for (const sha256 of (await leftThere(job, (sha256) => !named.has(sha256))).keys())
      unreferenced[sha256] ??= options.now;
  return removeShards(job, unreferenced, named);
}

/** Passes files on, but for those that are there with other content than their name says. */
function* undoubted({ wish }: SubdirJob, files: Iterable<NewFile>, doubted: NewFile[]): Generator<NewFile> {
  for (const file of files) {
    if (wish.doubted?.has(file.path)) doubted.push(file);
    else yield file;
  }
}

/**
 * The same where shards are switched off: those that are left go after their grace period. While an index of them is there, what
 * it names stays: it goes when `repodata.json` changes.
 * @param noted shards that no index named when they were noted, with the time since when.
 */
export async function leaveShards(
  job: SubdirJob,
  noted: Readonly<Record<string, number>>,
): Promise<Readonly<Record<string, number>>> {
  const { store, subdir, signal, options } = job;
  const stored = await store.get(`${subdir}/${SHARD_INDEX}`, signal);
  if (stored) {
    let named: ReadonlySet<string>;
    try {
      named = new Set((await readShardIndex(stored.bytes)).values());
    } catch {
      return noted;
    }
    return removeShards(job, noted, named);
  }
  const left = { ...noted };
  for (const sha256 of (await leftThere(job, (sha256) => !Object.hasOwn(noted, sha256))).keys())
    left[sha256] = options.now;
  return removeShards(job, left, new Set());
}

/** Removes the shards whose grace period is over. Gives those that are still to go. */
async function removeShards(
  job: SubdirJob,
  unreferenced: Readonly<Record<string, number>>,
  named: ReadonlySet<string>,
): Promise<Record<string, number>> {
  const { store, subdir, signal, options } = job;
  const left = new Map(Object.entries(unreferenced).filter(([sha256]) => !named.has(sha256)));
  const due = [...left].filter(([, since]) => options.now - since >= options.files.shardGraceMs);
  const names = due.map(([sha256]) => shardPath(sha256).slice(SHARD_FOLDER.length + 1));
  const there = await found(store, `${subdir}/${SHARD_FOLDER}`, names, signal);
  await free(job, [...there.values()], "shards");
  for (const [sha256] of due) left.delete(sha256);
  return Object.fromEntries(left);
}

/**
 * Removes shards that no index ever named: those of runs that were killed before they had written one. A run that is at work
 * may be about to name what it just wrote: their grace period begins when they were written, and is a day at least.
 * @param unreferenced what was noted of shards that an index named once. Gives the same, and those that are still to go.
 */
export async function removeUnnamed(
  job: SubdirJob,
  unreferenced: Readonly<Record<string, number>>,
): Promise<Readonly<Record<string, number>>> {
  const { store, subdir, signal, options } = job;
  const stored = await store.get(`${subdir}/${SHARD_INDEX}`, signal);
  // Whatever an index names that can't be read must stay.
  const named = new Set(stored ? (await readShardIndex(stored.bytes)).values() : []);
  const there = await shardsThere(job, (sha256) => !named.has(sha256) && !Object.hasOwn(unreferenced, sha256));
  if (there.size === 0) return unreferenced;
  const all = { ...unreferenced };
  for (const [sha256, since] of unnamed(there, stored !== undefined, options)) all[sha256] = since;
  return removeShards(job, all, named);
}

/** Since when shards that no index names count as left. */
export function unnamed(
  there: ReadonlyMap<string, StoredFile>,
  hasIndex: boolean,
  { now, files }: PublishOptions,
): Map<string, number> {
  const found = new Map<string, number>();
  for (const [sha256, { modified }] of there) {
    // Where there is no index any more, it named them until nobody knows when.
    found.set(sha256, (hasIndex ? (modified ?? now) : now) + Math.max(0, DAY - files.shardGraceMs));
  }
  return found;
}

const DAY = 24 * 60 * 60 * 1000;

/** Whether the index of shards names one that is not there. One that can't be read is made anew anyway. */
export async function lacksShards(store: Store, subdir: string, signal?: AbortSignal): Promise<boolean> {
  const stored = await store.get(`${subdir}/${SHARD_INDEX}`, signal);
  if (!stored) return false;
  const there = new Set<string>();
  const note = (fileName: string) => {
    there.add(`${SHARD_FOLDER}/${fileName}`);
    return false;
  };
  for await (const _ of store.list(`${subdir}/${SHARD_FOLDER}`, signal, note));
  try {
    for (const sha256 of (await readShardIndex(stored.bytes)).values()) if (!there.has(shardPath(sha256))) return true;
    return false;
  } catch {
    return true;
  }
}

/** The same to clean up by: with keys that may not list a bucket nobody knows, and what is left stays. */
async function leftThere(job: SubdirJob, only: (sha256: string) => boolean): Promise<Map<string, StoredFile>> {
  try {
    return await shardsThere(job, only);
  } catch (e) {
    if (e instanceof TargetError && e.code === "REFUSED") return new Map();
    throw e;
  }
}

/** The shards that are there and for which that holds. */
export async function shardsThere(
  { store, subdir, signal }: Pick<SubdirJob, "store" | "subdir" | "signal">,
  only: (sha256: string) => boolean = () => true,
): Promise<Map<string, StoredFile>> {
  const shaOf = (fileName: string) => /^([0-9a-f]{64})\.msgpack\.zst$/.exec(fileName)?.[1];
  const isOne = (fileName: string) => {
    const sha256 = shaOf(fileName);
    return sha256 !== undefined && only(sha256);
  };
  const folder = `${subdir}/${SHARD_FOLDER}`;
  const found = new Map<string, StoredFile>();
  for await (const file of store.list(folder, signal, isOne)) {
    const sha256 = shaOf(file.path.slice(folder.length + 1));
    if (sha256) found.set(sha256, file);
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
  const isGone = goneEntries(index, change);
  for (const name of [...(names ?? new Set([...places.keys(), ...added.keys()]))].sort()) {
    const records: ShardRecord[] = added.get(name) ?? [];
    for (const place of places.get(name) ?? []) {
      const { map, entry } = entryOf(place);
      if (isGone(map, entry)) continue;
      const r = recordAt(index, place);
      records.push({ ...r, runExports: runExports.of(r.fileName) });
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
