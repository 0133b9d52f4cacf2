import { recordFacts } from "../conda/record-facts.ts";
import { compressedPieces, levelFor } from "../index/compress.ts";
import type { IndexFiles } from "../index/index-files.ts";
import { indexInfo } from "../index/index-info.ts";
import { countMerged, type IndexChange, mergedPieces, mergedSize, type NewRecord } from "../index/merge.ts";
import { findRecord, nameIn, type Repodata } from "../index/repodata.ts";
import type { SubdirState } from "./index-state.ts";
import { publishCurrent } from "./publish-current.ts";
import { publishRunExports } from "./publish-run-exports.ts";
import { publishShards } from "./publish-shards.ts";
import { readIndex } from "./read-index.ts";
import type { Pieces, StagedFile, Store } from "./store.ts";

/** A package that is in place (or staged to replace one) and has to be in the index. */
export interface Addition {
  readonly subdir: string;
  readonly fileName: string;
  /** Compact JSON. */
  readonly record: Uint8Array;
  readonly sha256: string;
  /** Whether the record needs repodata v3 (CEP 48). */
  readonly v3?: boolean;
  /** The package's run exports as compact JSON, `{}` for none; absent when they are not known. */
  readonly runExports?: Uint8Array;
  /** Set where the file replaces another: it is moved only when the index is written, so that both change together. */
  readonly replaceWith?: StagedFile;
}

/** What is to become of a subdir's index. */
export interface SubdirWish {
  readonly additions: readonly Addition[];
  /** Files whose records go. */
  readonly remove?: ReadonlySet<string>;
  /** Files whose records go and whose names are listed as taken back. */
  readonly takenBack?: ReadonlySet<string>;
  /** Like `takenBack`, for files that are still not there when the index is written: another run may have brought one. */
  readonly missing?: ReadonlySet<string>;
  /** Run exports of files that are in the index already, where they are known. */
  readonly runExports?: ReadonlyMap<string, Uint8Array>;
}

export interface PublishOptions {
  readonly files: IndexFiles;
  readonly warn: (message: string) => void;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export interface PublishedSubdir {
  readonly subdir: string;
  readonly records: number;
  /** The index files that were written; none when nothing changed. */
  readonly written: readonly string[];
  /** The version of its `repodata.json`. */
  readonly version: string;
}

/** Everything that the publishing of one subdir works on. */
export interface SubdirJob {
  readonly store: Store;
  readonly subdir: string;
  readonly options: PublishOptions;
  readonly signal: AbortSignal | undefined;
  readonly index: Repodata;
  readonly change: IndexChange;
  /** Whether the index differs from what is there. */
  readonly changed: boolean;
  /** Names of packages whose records change, in lower case. */
  readonly names: ReadonlySet<string>;
  readonly additions: readonly Addition[];
  readonly runExports: ReadonlyMap<string, Uint8Array>;
  /** What we wrote last, when nobody else changed the index since; undefined otherwise. */
  readonly fresh: SubdirState | undefined;
  readonly written: string[];
  readonly versions: Record<string, string>;
}

/** Changes whenever the derived files would come out otherwise for the same records. */
const FORMAT = 1;

/** Files that no client of today reads, or that we don't make: one left behind a change hides packages from its readers. */
const STALE = ["current_repodata.json.zst", "current_repodata.json.bz2", "repodata.json.gz", "repodata.jlap"];

/**
 * Merges a wish into a subdir's index and writes what changes, in the order in which no reader ever misses a file: shards,
 * their index, run exports, `repodata.json.zst`, `repodata.json`, and what is made from it (CEP 16; docs/decisions/009).
 * Everything the wish does not name stays, byte for byte.
 * @throws PreconditionFailed when another writer was quicker; nothing is lost, run it again.
 */
export async function publishSubdir(
  store: Store,
  subdir: string,
  wish: SubdirWish,
  replaced: Set<Addition>,
  state: SubdirState | undefined,
  options: PublishOptions,
  signal?: AbortSignal,
): Promise<PublishedSubdir & { readonly state: SubdirState }> {
  const asItWas = isEmpty(wish) && (await upToDate(store, subdir, state, options.files, signal));
  if (asItWas && state) return { subdir, records: state.records, written: [], version: asItWas, state };
  const { index, jsonVersion } = await readIndex(store, subdir, signal);
  for (const fault of index.faults) options.warn(`${subdir}/repodata.json: ${fault}`);
  const absent = new Set<string>();
  for (const fileName of wish.missing ?? [])
    if (!(await store.stat(`${subdir}/${fileName}`, signal))) absent.add(fileName);
  const takenBack = new Set([...(wish.takenBack ?? []), ...absent]);
  const { change, names } = changeFor(index, subdir, { ...wish, takenBack }, options.files);
  const changed =
    jsonVersion === undefined ||
    change.add.size > 0 ||
    (change.remove?.size ?? 0) > 0 ||
    (change.takenBack?.size ?? 0) > 0 ||
    change.info !== undefined;
  const made = madeWith(options.files);
  const known = state?.made === made && state.versions["repodata.json"] === jsonVersion;
  const fresh = known && jsonVersion !== undefined ? state : undefined;
  const job: SubdirJob = {
    store,
    subdir,
    options,
    signal,
    index,
    change,
    changed,
    names,
    additions: wish.additions,
    runExports: wish.runExports ?? new Map(),
    fresh,
    written: [],
    versions: {},
  };
  if (changed) await removeStale(job);
  for (const a of wish.additions) {
    if (!a.replaceWith || replaced.has(a)) continue;
    await store.put(`${subdir}/${a.fileName}`, a.replaceWith, "any", signal);
    replaced.add(a);
  }
  const size = changed ? mergedSize(index, change) : index.bytes.length;
  const content = (): Iterable<Uint8Array> => (changed ? mergedPieces(index, change) : [index.bytes]);
  // The first index of a subdir begins with it: a run that dies then leaves nothing behind that can't be gone on from.
  if (jsonVersion === undefined) await write(job, "repodata.json", content(), "absent");
  const runExports = await publishRunExports(job, options.files.runExports);
  const unreferenced = options.files.shards ? await publishShards(job, runExports) : {};
  if (options.files.zst) {
    const level = options.files.zstdLevel ?? levelFor(size);
    await derived(job, "repodata.json.zst", () => compressedPieces(content(), size, level));
  }
  if (jsonVersion !== undefined) {
    if (changed) await write(job, "repodata.json", content(), { version: jsonVersion });
    else job.versions["repodata.json"] = jsonVersion;
  }
  if (options.files.currentRepodata) await publishCurrent(job);
  const records = countMerged(index, change);
  const version = job.versions["repodata.json"] as string;
  return {
    subdir,
    records,
    written: job.written,
    version,
    state: { versions: job.versions, made, unreferenced, records },
  };
}

/** What files made from the same records depend on. */
function madeWith({ zstdLevel, baseUrl }: IndexFiles): string {
  return JSON.stringify([FORMAT, process.versions["zstd"], zstdLevel, baseUrl]);
}

function isEmpty(wish: SubdirWish): boolean {
  const { additions, remove, takenBack, missing, runExports } = wish;
  return [remove, takenBack, missing, runExports].every((s) => !s || s.size === 0) && additions.length === 0;
}

/** The version of `repodata.json` when all index files are those we wrote last, with the same settings. */
async function upToDate(
  store: Store,
  subdir: string,
  state: SubdirState | undefined,
  files: IndexFiles,
  signal?: AbortSignal,
): Promise<string | undefined> {
  if (state?.made !== madeWith(files) || Object.keys(state.unreferenced).length > 0) return undefined;
  const wanted = [
    "repodata.json",
    ...(files.zst ? ["repodata.json.zst"] : []),
    ...(files.bz2 ? ["repodata.json.bz2"] : []),
    ...(files.shards ? ["repodata_shards.msgpack.zst"] : []),
    ...(files.currentRepodata ? ["current_repodata.json"] : []),
  ];
  for (const name of [...new Set([...wanted, ...Object.keys(state.versions)])]) {
    const there = await store.stat(`${subdir}/${name}`, signal);
    if (there?.version !== state.versions[name] || !there) return undefined;
  }
  return state.versions["repodata.json"];
}

/** The part of a wish that changes something, and the package names it touches. */
function changeFor(
  index: Repodata,
  subdir: string,
  wish: SubdirWish,
  files: IndexFiles,
): { change: IndexChange; names: Set<string> } {
  const add = new Map<string, NewRecord>();
  const names = new Set<string>();
  const touch = (record: Uint8Array | undefined) => {
    const name = record && nameIn(record);
    if (name !== undefined) names.add(name);
  };
  for (const a of wish.additions) {
    const old = findRecord(index, a.fileName);
    // The record of the same bytes that is there already stays: it may be hot-fixed, and holds when it was indexed.
    if (old && recordFacts(old).sha256 === a.sha256) continue;
    add.set(a.fileName, { record: a.record, v3: a.v3 === true });
    touch(old);
    touch(a.record);
  }
  const going = (fileNames: ReadonlySet<string> | undefined, listed: ReadonlySet<string>) => {
    const chosen = new Set<string>();
    for (const fileName of fileNames ?? []) {
      const old = findRecord(index, fileName);
      if (add.has(fileName) || (!old && listed.has(fileName))) continue;
      chosen.add(fileName);
      touch(old);
    }
    return chosen;
  };
  const remove = going(wish.remove, wish.remove ?? new Set());
  const takenBack = going(wish.takenBack, new Set(index.removed));
  const info = indexInfo(index, subdir, files.baseUrl, { add, remove, takenBack });
  return { change: { add, remove, takenBack, ...(info ? { info } : {}) }, names };
}

/** Removes index files that would tell of a state that is gone, and that this run does not write anew. */
async function removeStale({ store, subdir, options, signal }: SubdirJob): Promise<void> {
  const { files } = options;
  const unwanted = [
    ...STALE,
    ...(files.zst ? [] : ["repodata.json.zst"]),
    ...(files.bz2 ? [] : ["repodata.json.bz2"]),
    ...(files.shards ? [] : ["repodata_shards.msgpack.zst"]),
    ...(files.currentRepodata ? [] : ["current_repodata.json"]),
    ...(files.runExports ? [] : ["run_exports.json"]),
  ];
  for (const name of unwanted) {
    if (!(await store.stat(`${subdir}/${name}`, signal))) continue;
    await store.remove(`${subdir}/${name}`, signal);
    options.warn(
      `${subdir}/${name} was removed: it is not among the files this run writes, and a stale one hides packages`,
    );
  }
}

/** Writes a file that is made from the index, unless it is known or seen to be what it would become. */
export async function derived(
  job: SubdirJob,
  name: string,
  content: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  const path = `${job.subdir}/${name}`;
  if (!job.changed) {
    const there = await job.store.stat(path, job.signal);
    const ours = there && job.fresh?.versions[name] === there.version;
    if (there && (ours || (await holds(job.store, path, content(), job.signal)))) {
      job.versions[name] = there.version;
      return;
    }
  }
  await write(job, name, content(), "any");
}

/** Writes one file of the index and notes that. */
export async function write(
  job: SubdirJob,
  name: string,
  content: Uint8Array | Pieces,
  expect: "any" | "absent" | { version: string },
): Promise<string> {
  const version = await job.store.put(`${job.subdir}/${name}`, content, expect, job.signal);
  job.versions[name] = version;
  job.written.push(`${job.subdir}/${name}`);
  return version;
}

/** Whether a file of the store has exactly this content. */
export async function holds(
  store: Store,
  path: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<boolean> {
  const stored = await store.get(path, signal);
  if (!stored) return false;
  let at = 0;
  for await (const piece of content) {
    if (Buffer.compare(stored.bytes.subarray(at, at + piece.length), piece) !== 0) return false;
    at += piece.length;
  }
  return at === stored.bytes.length;
}
