import { join } from "node:path";
import { JsonOut } from "../index/json-out.ts";
import { type Place, placesByName, recordAt } from "../index/record-names.ts";
import type { Repodata } from "../index/repodata.ts";
import { fileNameIn, readShardJson, type ShardContent } from "../index/shard-json.ts";
import { type FoundShards, readShardIndexWhole } from "../index/shards.ts";
import { RUN_EXPORTS } from "../target/ahead.ts";
import type { StoredFile } from "../target/store.ts";
import { SHARD_INDEX } from "../target/subdir-job.ts";
import { pool } from "../transfer/pool.ts";
import { type Audit, finding, words } from "./audit.ts";
import { sameRecord } from "./compare.ts";
import type { Finding } from "./finding.ts";
import { isInside, readInside, rootsOf } from "./inside.ts";
import type { View } from "./view.ts";

/** conda refuses shards of more than 16 MiB, unpacked; a file of this size is none. */
const MAX_SHARD = 128 * 1024 * 1024;

/** Shards of a store elsewhere that are read at the same time. */
const AT_ONCE = 16;

/** A folder below the subdir, in a shard index's words: nothing else is followed. */
const BELOW = /^(?:\.\/)?((?:[A-Za-z0-9_][A-Za-z0-9_.-]*\/?)*)$/;

/**
 * What the shards of a subdir say against `repodata.json`: there is one of every name, all are there, each has the bytes that
 * its name says, and the very records. A quick look sees whether they are there.
 */
export async function shardFindings(view: View, audit: Audit): Promise<Finding[]> {
  const { subdir, index } = view;
  const { store, signal } = audit;
  const stored = index && (await store.get(`${subdir}/${SHARD_INDEX}`, signal));
  if (!stored) return [];
  let told: FoundShards;
  try {
    told = await readShardIndexWhole(stored.bytes);
  } catch (e) {
    return [finding("FORM_UNREADABLE", subdir, SHARD_INDEX, words(e))];
  }
  const places = placesByName(index);
  const found = namesDiffer(subdir, places, told.shards);
  const folder = BELOW.exec(told.shardsBaseUrl)?.[1]?.replace(/\/$/, "");
  // Where they lie elsewhere nothing of this channel's own can be looked at.
  if (folder === undefined) return found;
  const prefix = folder === "" ? "" : `${folder}/`;
  const there = new Map<string, number>();
  for await (const file of store.list(`${subdir}${folder === "" ? "" : `/${folder}`}`, signal)) note(there, file);
  const folderOf = store.folder && join(store.folder, subdir);
  const roots = folderOf ? rootsOf(store, subdir) : [];
  if (folderOf && there.size > 0 && !isInside(join(folderOf, folder), roots)) return found;
  const out = new JsonOut(64 * 1024);
  const removed = new Set(index.removed);
  const look = async ([name, sha256]: readonly [string, string]): Promise<Finding | undefined> => {
    const path = `${prefix}${sha256}.msgpack.zst`;
    const size = there.get(`${sha256}.msgpack.zst`);
    if (size === undefined) return finding("SHARD_MISSING", subdir, path, `it is that of ${name}`);
    if (audit.quick) return undefined;
    const damaged = (why: string) => finding("SHARD_DAMAGED", subdir, path, `it is that of ${name}: ${why}`);
    if (size > MAX_SHARD) return damaged(`it has ${size} bytes`);
    let content: ShardContent;
    try {
      const bytes = folderOf
        ? readInside(join(folderOf, path), roots)
        : (await store.get(`${subdir}/${path}`, signal))?.bytes;
      if (!bytes) return finding("SHARD_MISSING", subdir, path, `it is that of ${name}`);
      // Room that is used again is for one at a time; several are read at once where the store is far.
      content = await readShardJson(bytes, sha256, folderOf ? out : undefined);
    } catch (e) {
      signal.throwIfAborted();
      return damaged(words(e));
    }
    const why = contentDiffers(index, places.get(name) ?? [], content, removed);
    return why === undefined ? undefined : finding("SHARD_DIFFERS", subdir, path, `it is that of ${name}: ${why}`);
  };
  for await (const one of pool(told.shards, folderOf ? 1 : AT_ONCE, look, signal)) if (one) found.push(one);
  signal.throwIfAborted();
  return found;
}

function note(there: Map<string, number>, { path, size }: StoredFile): void {
  if (path.endsWith(".msgpack.zst")) there.set(path.slice(path.lastIndexOf("/") + 1), size);
}

function namesDiffer(
  subdir: string,
  places: ReadonlyMap<string, unknown>,
  shards: ReadonlyMap<string, string>,
): Finding[] {
  const lacking = [...places.keys()].filter((name) => !shards.has(name));
  const tooMany = [...shards.keys()].filter((name) => !places.has(name));
  const found: Finding[] = [];
  const say = (why: string) => found.push(finding("FORM_DIFFERS", subdir, SHARD_INDEX, why));
  if (lacking.length > 0) say(`it has no shard of ${lacking.length} names, such as ${lacking[0]}`);
  if (tooMany.length > 0) say(`it has ${tooMany.length} names that repodata.json does not have, such as ${tooMany[0]}`);
  return found;
}

/** What a shard says otherwise than the index, in words. */
function contentDiffers(
  index: Repodata,
  places: readonly Place[],
  content: ShardContent,
  removed: ReadonlySet<string>,
): string | undefined {
  const listed = new Map<string, Uint8Array>();
  for (const place of places) {
    const { map, fileName, record } = recordAt(index, place);
    listed.set(`${map} ${fileName}`, record);
  }
  if (content.records.length !== listed.size)
    return `it has ${content.records.length} records, repodata.json ${listed.size}`;
  for (const one of content.records) {
    const fileName = fileNameIn(content, one);
    const record = listed.get(`${one.map} ${fileName}`);
    if (!record) return `it has ${fileName}, which repodata.json does not have there`;
    if (!sameRecord(record, content.json.subarray(one.value, one.end))) return `its record of ${fileName} is another`;
  }
  const hidden = content.removed.find((fileName) => !removed.has(fileName));
  return hidden === undefined ? undefined : `its "removed" has ${hidden}, that of repodata.json has not`;
}

/**
 * What the shards of a subdir that can be read say of run exports, by file name: where `run_exports.json` doesn't keep them they
 * are nowhere else.
 */
export async function oldRunExports(subdir: string, { store, signal }: Audit): Promise<Map<string, Uint8Array>> {
  const known = new Map<string, Uint8Array>();
  if (await store.stat(`${subdir}/${RUN_EXPORTS}`, signal)) return known;
  const stored = await store.get(`${subdir}/${SHARD_INDEX}`, signal);
  let told: FoundShards;
  try {
    if (!stored) return known;
    told = await readShardIndexWhole(stored.bytes);
  } catch {
    return known;
  }
  const folder = BELOW.exec(told.shardsBaseUrl)?.[1];
  if (folder === undefined) return known;
  const read = async (sha256: string): Promise<void> => {
    try {
      const path = [subdir, ...folder.split("/").filter((part) => part !== ""), `${sha256}.msgpack.zst`].join("/");
      const bytes = (await store.get(path, signal))?.bytes;
      const content = bytes && (await readShardJson(bytes, sha256));
      for (const one of content?.records ?? [])
        if (content && one.runExports !== undefined) known.set(fileNameIn(content, one), Buffer.from(one.runExports));
    } catch {
      signal.throwIfAborted();
    }
  };
  for await (const _ of pool(told.shards.values(), AT_ONCE, read, signal));
  return known;
}
