import { listedAmong } from "../index/merge-edits.ts";
import type { Repodata } from "../index/repodata.ts";
import { readShardIndex } from "../index/shards.ts";
import { type SubdirState, without } from "./index-state.ts";
import { asNoted } from "./leaving.ts";
import { shardsThere, unnamed } from "./publish-shards.ts";
import type { Store, StoredFile } from "./store.ts";
import { type Freed, type PublishOptions, SHARD_INDEX } from "./subdir-job.ts";

/** What is left over in a subdir. */
export interface LeftIn extends Freed {
  /** Packages that no index lists and whose grace period is not over. */
  readonly waiting: number;
}

/** What cleaning a subdir up would free: packages and shards that nothing names and whose grace period is over. */
export async function leftIn(
  store: Store,
  subdir: string,
  index: Repodata,
  state: SubdirState | undefined,
  options: PublishOptions & { readonly deleteGraceMs: number },
  signal: AbortSignal,
): Promise<LeftIn> {
  const { now, deleteGraceMs, files } = options;
  const leaving = Object.entries(state?.leaving ?? {});
  const listed = listedAmong(index, new Set(leaving.flatMap(([, { names }]) => names)));
  const isDue = ([since]: (typeof leaving)[number]) => now - Number(since) >= deleteGraceMs;
  const freed = { packages: 0, shards: 0, bytes: 0, waiting: 0 };
  const packages = new Map<string, StoredFile>();
  for (const group of leaving) {
    const left = without(group[1], (fileName) => listed.has(fileName));
    if (!isDue(group)) freed.waiting += left.names.length;
    else for (const [fileName, file] of await asNoted(store, subdir, left, signal)) packages.set(fileName, file);
  }
  freed.packages = packages.size;
  for (const { size } of packages.values()) freed.bytes += size;
  const stored = await store.get(`${subdir}/${SHARD_INDEX}`, signal);
  let named: ReadonlySet<string>;
  try {
    named = new Set(stored ? (await readShardIndex(stored.bytes)).values() : []);
  } catch {
    // It is made anew when the index is written next; until then nobody knows what it names.
    return freed;
  }
  const there = await shardsThere({ store, subdir, signal }, (sha256) => !named.has(sha256));
  // Which shards are left of an index that is not the one we wrote is not known yet: their time has not begun.
  const ours = stored === undefined || stored.version === state?.versions[SHARD_INDEX];
  for (const [sha256, since] of ours ? unnamed(there, stored !== undefined, options) : []) {
    if (now - (state?.unreferenced[sha256] ?? since) < files.shardGraceMs) continue;
    freed.shards++;
    freed.bytes += there.get(sha256)?.size ?? 0;
  }
  return freed;
}
