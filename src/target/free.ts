import { pool } from "../transfer/pool.ts";
import { NotRemovable, type Store, type StoredFile } from "./store.ts";
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
 * Removes files that the index does without, and counts what that frees. Gives those that the server lets nobody remove, which
 * is warned of.
 * @param kind what the files count as.
 * @throws PreconditionFailed where another writer changed the index: it may name them again.
 */
export async function free(
  job: SubdirJob,
  files: readonly StoredFile[],
  kind: keyof Omit<Freed, "bytes"> | "bytes",
): Promise<readonly StoredFile[]> {
  const { store, subdir, signal = NEVER, freed, options } = job;
  const kept: StoredFile[] = [];
  let refusal: NotRemovable | undefined;
  const remove = async (file: StoredFile): Promise<void> => {
    await assertNewest(job);
    try {
      if (refusal) throw refusal;
      await store.remove(file.path, signal);
    } catch (e) {
      if (!(e instanceof NotRemovable)) throw e;
      refusal ??= e;
      kept.push(file);
      return;
    }
    freed.bytes += file.size;
    if (kind !== "bytes") freed[kind]++;
  };
  for await (const _ of pool(files, AT_ONCE, remove, signal));
  signal.throwIfAborted();
  if (refusal)
    options.warn(
      `${store.where}/${subdir}: ${kept.length} of ${files.length} files that no index lists any more stay, since they may not be removed: ${refusal.message}; allow it there, or remove them by its own means`,
    );
  return kept;
}
