import { isSubdir } from "../conda/file-name.ts";
import { factsOf, type RecordFacts, recordFacts } from "../conda/record-facts.ts";
import { findRecord } from "../index/repodata.ts";
import { readShard, readShardIndex, shardPath } from "../index/shards.ts";
import type { Present } from "../plan/plan.ts";
import { type IndexState, openIndexState } from "./index-state.ts";
import { readIndex } from "./read-index.ts";
import type { Store } from "./store.ts";

/** Looks one file up in a subdir's index. */
type LookUp = (fileName: string) => RecordFacts | undefined;

/** Finds, in every subdir of the store, the files among `fileNames` that it has or lists. One index is in memory at a time. */
export async function findPresent(
  store: Store,
  fileNames: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Map<string, Present[]>> {
  const found = new Map<string, Present[]>();
  if (fileNames.size === 0) return found;
  const state = await openIndexState(store);
  for (const subdir of (await store.folders(signal)).filter(isSubdir)) {
    const lookUp = (await inShards(store, subdir, state, fileNames, signal)) ?? (await inIndex(store, subdir, signal));
    const names = [...fileNames];
    const listed = await store.find?.(subdir, names, signal);
    for (let i = 0; i < names.length; i += 64) {
      signal.throwIfAborted();
      await Promise.all(
        names.slice(i, i + 64).map(async (fileName) => {
          const recorded = lookUp(fileName);
          const file = listed ? listed.get(fileName) : await store.stat(`${subdir}/${fileName}`, signal);
          if (!recorded && !file) return;
          const present = { subdir, fileName, recorded, fileSize: file?.size };
          found.set(fileName, [...(found.get(fileName) ?? []), present]);
        }),
      );
    }
  }
  return found;
}

async function inIndex(store: Store, subdir: string, signal: AbortSignal): Promise<LookUp> {
  const { index } = await readIndex(store, subdir, signal);
  return (fileName) => {
    const record = findRecord(index, fileName);
    return record && recordFacts(record);
  };
}

/** A small index is scanned sooner than its shards are opened. */
const SMALL = 16 * 1024 * 1024;

const INDEX = "repodata_shards.msgpack.zst";

/**
 * The shards of the few names that are asked for, where we know that they belong to the `repodata.json` that is there:
 * a few files instead of a scan of hundreds of megabytes. Undefined where that can't be known, or doesn't pay.
 */
async function inShards(
  store: Store,
  subdir: string,
  state: IndexState,
  fileNames: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<LookUp | undefined> {
  const known = state.get(subdir)?.versions;
  const json = await store.stat(`${subdir}/repodata.json`, signal);
  if (!known || !json || json.size < SMALL || json.version !== known["repodata.json"]) return undefined;
  const stored = await store.get(`${subdir}/${INDEX}`, signal);
  if (!stored || stored.version !== known[INDEX]) return undefined;
  try {
    const shards = await readShardIndex(stored.bytes);
    const names = new Set<string>();
    for (const fileName of fileNames) {
      const name = /^(.+)-[^-]+-[^-]+$/.exec(fileName)?.[1]?.toLowerCase();
      if (name !== undefined && shards.has(name)) names.add(name);
    }
    if (names.size * 10 > shards.size) return undefined;
    const records = new Map<string, RecordFacts>();
    for (const name of names) {
      const sha256 = shards.get(name) as string;
      const shard = await store.get(`${subdir}/${shardPath(sha256)}`, signal);
      if (!shard) return undefined;
      for (const [fileName, record] of await readShard(shard.bytes, sha256))
        if (fileNames.has(fileName)) records.set(fileName, factsOf(record));
    }
    return (fileName) => records.get(fileName);
  } catch {
    signal.throwIfAborted();
    // A shard that can't be read is mended when the index is next written; repodata.json says the same.
    return undefined;
  }
}
