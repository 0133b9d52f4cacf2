import { isSubdir } from "../conda/file-name.ts";
import { type RecordFacts, recordFacts } from "../conda/record-facts.ts";
import { MirrorError, TargetError } from "../errors.ts";
import { compressIndex, decompressIndex } from "../index/compress.ts";
import {
  countRecords,
  emptyRepodata,
  findRecord,
  mergeRepodata,
  type Repodata,
  readRepodata,
} from "../index/repodata.ts";
import { PreconditionFailed, type StagedFile, type Store } from "./store.ts";

/** A file that the target already has under some name, in one of its subdirs. */
export interface Present {
  readonly subdir: string;
  readonly fileName: string;
  /** What the index says of it; undefined when the index does not know the file. */
  readonly recorded: RecordFacts | undefined;
  /** Bytes of the file; undefined when only the index has it. */
  readonly fileSize: number | undefined;
}

/** A package that is in place (or staged to replace one) and has to be in the index. */
export interface Addition {
  readonly subdir: string;
  readonly fileName: string;
  readonly record: Uint8Array;
  readonly sha256: string;
  /** Set where the file replaces another: it is moved only when the index is written, so that both change together. */
  readonly replaceWith?: StagedFile;
}

export interface PublishedSubdir {
  readonly subdir: string;
  readonly records: number;
  /** The index files that were written; none when nothing changed. */
  readonly written: readonly string[];
}

/** Index files of a channel that we don't write yet. One that is left behind a change hides packages from its readers. */
const STALE = [
  "repodata_shards.msgpack.zst",
  "current_repodata.json",
  "current_repodata.json.zst",
  "current_repodata.json.bz2",
  "repodata.json.bz2",
  "repodata.json.gz",
  "repodata.jlap",
];

/** How often a lost race is run again before another writer counts as the winner for good. */
const MAX_RACES = 20;

/** Finds, in every subdir of the store, the files among `fileNames` that it has or lists. One index is in memory at a time. */
export async function findPresent(
  store: Store,
  fileNames: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Map<string, Present[]>> {
  const found = new Map<string, Present[]>();
  for (const subdir of (await store.folders(signal)).filter(isSubdir)) {
    const current = await readIndex(store, subdir, signal);
    const names = [...fileNames];
    for (let i = 0; i < names.length; i += 64) {
      signal.throwIfAborted();
      await Promise.all(
        names.slice(i, i + 64).map(async (fileName) => {
          const record = findRecord(current.index, fileName);
          const file = await store.stat(`${subdir}/${fileName}`, signal);
          if (!record && !file) return;
          const present = { subdir, fileName, recorded: record && recordFacts(record), fileSize: file?.size };
          found.set(fileName, [...(found.get(fileName) ?? []), present]);
        }),
      );
    }
  }
  return found;
}

/**
 * Merges additions into the channel's indexes and writes what changed: `repodata.json.zst`, then `repodata.json`, in
 * every subdir touched and always in noarch, which clients insist on (CEP 26). Everything that was there stays, byte
 * for byte. Runs that meet lose nothing: each merges into what it finds at that moment, and a lost race is run again.
 */
export async function publish(
  store: Store,
  additions: readonly Addition[],
  options: { zstdLevel: number; warn: (message: string) => void },
  signal?: AbortSignal,
): Promise<PublishedSubdir[]> {
  const bySubdir = new Map<string, Addition[]>([["noarch", []]]);
  for (const a of additions) bySubdir.set(a.subdir, [...(bySubdir.get(a.subdir) ?? []), a]);
  const replaced = new Set<Addition>();
  for (let race = 1; ; race++) {
    try {
      return await store.exclusive(async () => {
        const published: PublishedSubdir[] = [];
        for (const subdir of [...bySubdir.keys()].sort()) {
          published.push(
            await publishSubdir(store, subdir, bySubdir.get(subdir) as Addition[], replaced, options, signal),
          );
        }
        return published;
      }, signal);
    } catch (e) {
      if (!(e instanceof PreconditionFailed)) throw e;
      if (race === MAX_RACES) {
        throw new TargetError("LOST_RACE", {
          what: `${store.where}: the index could not be written`,
          why: `another writer changed it ${race} times while we were at it`,
          next: "the packages are in place; run again when the other writer is done",
          cause: e,
        });
      }
    }
  }
}

async function publishSubdir(
  store: Store,
  subdir: string,
  additions: readonly Addition[],
  replaced: Set<Addition>,
  options: { zstdLevel: number; warn: (message: string) => void },
  signal?: AbortSignal,
): Promise<PublishedSubdir> {
  const current = await readIndex(store, subdir, signal);
  const add = new Map<string, Uint8Array>();
  for (const a of additions) {
    const old = findRecord(current.index, a.fileName);
    // The record of the same bytes that is there already stays: it may be hot-fixed, and holds when it was indexed.
    if (!old || recordFacts(old).sha256 !== a.sha256) add.set(a.fileName, a.record);
  }
  const written: string[] = [];
  const json = `${subdir}/repodata.json`;
  const zst = `${json}.zst`;
  const bytes =
    add.size === 0 && current.jsonVersion !== undefined ? current.index.bytes : mergeRepodata(current.index, { add });
  const changed = current.jsonVersion === undefined || add.size > 0;
  if (changed) {
    for (const name of STALE) {
      if (!(await store.stat(`${subdir}/${name}`, signal))) continue;
      await store.remove(`${subdir}/${name}`, signal);
      options.warn(`${subdir}/${name} was removed: it can't be kept up to date yet, and a stale one hides packages`);
    }
  }
  for (const a of additions) {
    if (!a.replaceWith || replaced.has(a)) continue;
    await store.put(`${a.subdir}/${a.fileName}`, a.replaceWith, "any", signal);
    replaced.add(a);
  }
  if (changed || !(await store.stat(zst, signal))) {
    await store.put(zst, await compressIndex(bytes, options.zstdLevel), "any", signal);
    written.push(zst);
  }
  if (changed) {
    await store.put(
      json,
      bytes,
      current.jsonVersion === undefined ? "absent" : { version: current.jsonVersion },
      signal,
    );
    written.push(json);
  }
  return {
    subdir,
    records: countRecords(current.index) + [...add.keys()].filter((f) => !findRecord(current.index, f)).length,
    written,
  };
}

/**
 * A subdir's index as it is now: `repodata.json`, else its `.zst`, else an empty one.
 * @throws TargetError BAD_INDEX when there is one that can't be read: writing over it would lose what it lists.
 */
async function readIndex(
  store: Store,
  subdir: string,
  signal?: AbortSignal,
): Promise<{ index: Repodata; jsonVersion: string | undefined }> {
  const json = `${subdir}/repodata.json`;
  let path = json;
  try {
    let stored = await store.get(json, signal);
    const jsonVersion = stored?.version;
    if (!stored) {
      path = `${json}.zst`;
      stored = await store.get(path, signal);
      if (!stored) return { index: emptyRepodata(subdir), jsonVersion: undefined };
      stored = { ...stored, bytes: await decompressIndex(stored.bytes) };
    }
    return { index: readRepodata(stored.bytes), jsonVersion };
  } catch (e) {
    if (e instanceof MirrorError) throw e;
    throw new TargetError("BAD_INDEX", {
      what: `${store.where}: ${path} can't be read`,
      why: (e as Error).message,
      next: "nothing was changed; restore it, or move it away to have the index built from this run's packages alone",
      cause: e,
    });
  }
}
