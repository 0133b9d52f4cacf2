import { pool } from "../transfer/pool.ts";
import type { Store, StoredFile } from "./store.ts";
import { assertNewest, type Freed, type SubdirJob } from "./subdir-job.ts";

/** Files that are removed, or asked for, at the same time: each is a request or two where the store is elsewhere. */
const AT_ONCE = 16;

const NEVER = new AbortController().signal;

/** Those of the names that lie right inside a folder, by name. */
export async function found(
  store: Store,
  folder: string,
  fileNames: readonly string[],
  signal: AbortSignal = NEVER,
): Promise<Map<string, StoredFile>> {
  if (fileNames.length === 0) return new Map();
  if (store.find) return store.find(folder, fileNames, signal);
  const there = new Map<string, StoredFile>();
  for (const fileName of fileNames) {
    const file = await store.stat(`${folder}/${fileName}`, signal);
    if (file) there.set(fileName, file);
  }
  return there;
}

/**
 * Removes files that the index does without, and counts what that frees.
 * @param kind what the files count as.
 * @throws PreconditionFailed where another writer changed the index: it may name them again.
 */
export async function free(
  job: SubdirJob,
  files: readonly StoredFile[],
  kind: keyof Omit<Freed, "bytes"> | "bytes",
): Promise<void> {
  const { store, signal = NEVER, freed } = job;
  const remove = async ({ path, size }: StoredFile): Promise<void> => {
    await assertNewest(job);
    await store.remove(path, signal);
    freed.bytes += size;
    if (kind !== "bytes") freed[kind]++;
  };
  for await (const _ of pool(files, AT_ONCE, remove, signal));
  signal.throwIfAborted();
}
