import type { IndexFiles } from "../index/index-files.ts";
import type { IndexChange } from "../index/merge.ts";
import type { Patch } from "../index/patch.ts";
import type { Repodata } from "../index/repodata.ts";
import type { SubdirState } from "./index-state.ts";
import { type Pieces, type Precondition, PreconditionFailed, type StagedFile, type Store } from "./store.ts";

/** What names the shards of a subdir (CEP 16). */
export const SHARD_INDEX = "repodata_shards.msgpack.zst";

/** A package that is in place (or staged to replace one) and has to be in the index. */
export interface Addition {
  readonly subdir: string;
  readonly fileName: string;
  /** Compact JSON. */
  readonly record: Uint8Array;
  readonly sha256: string;
  /** Whether the record is the one to publish even where the index has another of the same bytes: the channel it is from hot-fixed it. */
  readonly current?: boolean;
  /** Whether the record needs repodata v3 (CEP 48). */
  readonly v3?: boolean;
  /** The package's run exports as compact JSON, `{}` for none; absent when they are not known. */
  readonly runExports?: Uint8Array;
  /** Whether the package is there already, and only its record may be an older one. */
  readonly update?: true;
  /** Set where the file was found in place, in no index: should it go before the index is written, this is put there. */
  readonly ensure?: StagedFile;
  /** Set where the file replaces another: it is moved only when the index is written, so that both change together. */
  readonly replaceWith?: StagedFile;
}

/** A package that was seen to be broken, as it was then. */
export interface Broken {
  readonly record: Uint8Array;
  /** Of its file; undefined where there is none. */
  readonly version: string | undefined;
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
  /**
   * Files whose records go, and that go at once, by their names: those that are still as they were seen when the index is written.
   * Another run may have mended one.
   */
  readonly broken?: ReadonlyMap<string, Broken>;
  /** Run exports of files that are in the index already, where they are known. */
  readonly runExports?: ReadonlyMap<string, Uint8Array>;
  /**
   * Whether the files of records that go are removed once their grace period is over, and those that no index lists too; "gone":
   * only the files of records that go.
   */
  readonly removeFiles?: boolean | "gone";
  /** Whether it is looked whether all shards are there that the index names; the others are made anew. */
  readonly checkShards?: true;
  /** Whether shards that no index ever named are looked for. */
  readonly cleanUp?: true;
  /**
   * Files of the index, shards too, whose content was seen to be wrong though their size and time may be as they were: nothing that
   * was noted of the subdir's files is believed, and these are written anew.
   */
  readonly doubted?: ReadonlySet<string>;
  /** Hot-fixes to apply to what the packages themselves say. */
  readonly patch?: Patch;
}

/** What earlier tries have done of a wish. */
export interface Progress {
  /** Files that were moved in, and their versions since. */
  readonly replaced: Map<Addition, string>;
  /** The index holds what was wished. Another writer may have changed that since: it is not wished again. */
  done: boolean;
  /** What was removed from the store. */
  readonly freed: Freed;
  /** Those of `broken` whose records went. */
  readonly dropped: Set<string>;
}

/** Files that were removed because nothing names them any more. */
export interface Freed {
  packages: number;
  shards: number;
  /** Of both, and of what belongs to the packages. */
  bytes: number;
}

export interface PublishOptions {
  readonly files: IndexFiles;
  readonly warn: (message: string) => void;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** How long a package's file stays when its record has gone, in milliseconds. Default: a week. */
  readonly deleteGraceMs?: number;
  /** Whether the subdirs that are named are published and no other, not even noarch. */
  readonly alone?: true;
}

export interface PublishedSubdir {
  readonly subdir: string;
  readonly records: number;
  /** The index files that were written; none when nothing changed. */
  readonly written: readonly string[];
  /** The version of its `repodata.json`. */
  readonly version: string;
  /** The version that it was made from; undefined when there was none. */
  readonly from?: string | undefined;
  /** Those of the wish's `broken` whose records went. */
  readonly dropped?: ReadonlySet<string>;
  /** What was removed; absent where nothing is removed like that. */
  readonly freed?: Freed;
  /** Packages that no index lists and whose grace period is not over. */
  readonly waiting?: number;
}

/** What the index of a subdir is to be, and how it differs from what is there. */
export interface NextIndex {
  readonly index: Repodata;
  /** What is to be changed about `index`. */
  readonly change: IndexChange;
  /** Whether the outcome differs from the `repodata.json` that is there. */
  readonly changed: boolean;
  /** Names of packages whose records differ, in lower case. */
  readonly names: ReadonlySet<string>;
  /** Files whose content is new to the index. */
  readonly newFiles: ReadonlySet<string>;
  /** Files that are no longer part of the channel. */
  readonly goneFiles: ReadonlySet<string>;
  /** Run exports that a patch changes. */
  readonly patchedRunExports: ReadonlyMap<string, Uint8Array>;
}

/** Everything that the publishing of one subdir works on. */
export interface SubdirJob extends NextIndex {
  readonly store: Store;
  readonly subdir: string;
  readonly wish: SubdirWish;
  /** Whether `run_exports.json` is not the one that belongs to the index: a run died that had written it. */
  readonly exportsAhead: boolean;
  readonly options: PublishOptions;
  readonly signal: AbortSignal | undefined;
  readonly freed: Freed;
  /** What we wrote last, when nobody else changed the index since; undefined otherwise. */
  readonly fresh: SubdirState | undefined;
  /**
   * Where nothing keeps other writers out: versions of the files made from the index, by name, before the index was read.
   * What has changed since is not written over: it may tell of a newer index.
   */
  readonly seen: ReadonlyMap<string, string> | undefined;
  /** Paths of the files written so far. */
  readonly written: string[];
  /** Versions of the index files, by name, as they are now. */
  readonly versions: Record<string, string>;
}

/** Writes a file that is made from the index, unless it is known or seen to be what it would become. `after`: see `Store.put`. */
export async function writeDerived(
  job: SubdirJob,
  name: string,
  content: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  after?: Promise<unknown>,
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
  await writeFile(job, name, content(), asSeen(job, name), after);
}

/**
 * Before something is removed: whether the index still is the one that does without it, where nothing keeps others out.
 * @throws PreconditionFailed
 */
export async function assertNewest({ store, subdir, versions, signal }: SubdirJob): Promise<void> {
  const ours = versions["repodata.json"];
  if (!store.lockless || ours === undefined) return;
  const path = `${subdir}/repodata.json`;
  if ((await store.stat(path, signal))?.version !== ours) throw new PreconditionFailed(path);
}

/** When a file that is made from the index may be written. */
export function asSeen({ seen }: SubdirJob, name: string): Precondition {
  if (!seen) return "any";
  const version = seen.get(name);
  return version === undefined ? "absent" : { version };
}

/** Writes one file of the index and notes that. `after`: see `Store.put`. */
export async function writeFile(
  job: SubdirJob,
  name: string,
  content: Uint8Array | Pieces,
  expect: Precondition,
  after?: Promise<unknown>,
): Promise<void> {
  job.versions[name] = await job.store.put(`${job.subdir}/${name}`, content, expect, job.signal, after);
  job.written.push(`${job.subdir}/${name}`);
}

/** Versions of those of the files that are there. */
export async function versionsOf(
  store: Store,
  subdir: string,
  names: readonly string[],
  signal?: AbortSignal,
): Promise<Map<string, string>> {
  const found = await Promise.all(names.map((name) => store.stat(`${subdir}/${name}`, signal)));
  return new Map(names.flatMap((name, i) => (found[i] ? [[name, found[i].version] as const] : [])));
}

/** Whether a file of the store has exactly this content. */
export async function holds(
  store: Store,
  path: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<boolean> {
  const stored = await store.get(path, signal);
  return stored !== undefined && isMadeOf(stored.bytes, content);
}

/** Whether bytes are those of the pieces, put together. */
export async function isMadeOf(
  bytes: Uint8Array,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<boolean> {
  let at = 0;
  for await (const piece of pieces) {
    if (Buffer.compare(bytes.subarray(at, at + piece.length), piece) !== 0) return false;
    at += piece.length;
  }
  return at === bytes.length;
}
