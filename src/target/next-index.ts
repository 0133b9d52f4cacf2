import { recordFacts } from "../conda/record-facts.ts";
import { differingNames } from "../index/diff.ts";
import type { IndexFiles } from "../index/index-files.ts";
import { indexInfo } from "../index/index-info.ts";
import { type IndexChange, malformedRemoved, mergeRepodata, type NewRecord } from "../index/merge.ts";
import { listedAmong } from "../index/merge-edits.ts";
import { patchRepodata } from "../index/patch.ts";
import { nameAt, nameIn } from "../index/record-names.ts";
import { findRecord, type RecordMap, type Repodata, readRepodata, SPAN } from "../index/repodata.ts";
import type { Addition, NextIndex, SubdirWish } from "./subdir-job.ts";

/** What to make of a subdir's index, and of the one before patches where there is one. */
export interface Decided {
  readonly next: NextIndex;
  /** The index before patches (`repodata_from_packages.json`), where there is to be one. */
  readonly unpatched: { readonly index: Repodata; readonly change: IndexChange; readonly changed: boolean } | undefined;
}

/**
 * Decides what a wish makes of an index. Without patches that is a change to what is there; a patch is applied to what
 * the packages themselves say, and the outcome compared with what is there.
 * @param from the index before patches as it is, where there is one.
 */
export function decide(
  index: Repodata,
  from: Repodata | undefined,
  subdir: string,
  wish: SubdirWish,
  files: IndexFiles,
  warn: (message: string) => void,
): Decided {
  if (!wish.patch) {
    const unpatched = from && changeOf(from, subdir, wish, files);
    const patchedAway = from ? wish.additions.filter((a) => isPatchedAway(index, from, a)) : [];
    const additions = wish.additions.filter((a) => !patchedAway.includes(a));
    const { change, names, newFiles, goneFiles } = changeOf(index, subdir, { ...wish, additions }, files);
    return {
      next: {
        index,
        change,
        changed: isChange(change) || malformedRemoved(index).length > 0,
        names,
        newFiles,
        goneFiles: union(goneFiles, unpatched?.goneFiles ?? NONE),
        patchedRunExports: new Map(),
      },
      unpatched: from && unpatched && { index: from, change: unpatched.change, changed: isChange(unpatched.change) },
    };
  }
  const base = from ?? index;
  const { change, newFiles, goneFiles } = changeOf(base, subdir, wish, files);
  const plain = mergeRepodata(base, change);
  const merged = readRepodata(plain);
  const say = (fileName: string, why: string) => warn(`${subdir}/${fileName}: ${why}`);
  const { bytes, runExports } = patchRepodata(merged, wish.patch, say);
  const outcome = readRepodata(bytes);
  const names = differingNames(index, outcome);
  const changed = Buffer.compare(bytes, index.bytes) !== 0;
  return {
    next: {
      index: outcome,
      change: { add: new Map() },
      changed,
      names,
      newFiles,
      goneFiles,
      patchedRunExports: runExports,
    },
    unpatched: {
      index: merged,
      change: { add: new Map() },
      changed: !from || Buffer.compare(plain, from.bytes) !== 0,
    },
  };
}

function isChange({ add, remove, takenBack, info }: IndexChange): boolean {
  return add.size > 0 || (remove?.size ?? 0) > 0 || (takenBack?.size ?? 0) > 0 || info !== undefined;
}

/** The part of a wish that changes an index, and what it touches. */
function changeOf(
  index: Repodata,
  subdir: string,
  wish: SubdirWish,
  files: IndexFiles,
): Pick<NextIndex, "names" | "newFiles" | "goneFiles"> & { readonly change: IndexChange } {
  const add = new Map<string, NewRecord>();
  const names = new Set<string>();
  const touch = (record: Uint8Array | undefined) => {
    const name = record && nameIn(record);
    if (name !== undefined) names.add(name);
  };
  for (const a of wish.additions) {
    const old = findRecord(index, a.fileName);
    // The record of the same bytes that is there already stays: it may be hot-fixed, and holds when it was indexed.
    // But the one of the channel that it is mirrored from is that of now.
    if (old && isOf(old, a) && !(a.current && Buffer.compare(old, a.record) !== 0)) continue;
    add.set(a.fileName, { record: a.record, v3: a.v3 === true });
    touch(old);
    touch(a.record);
  }
  const touchEntry = (map: RecordMap, entry: number) => {
    const at = index.maps[map].spans[entry * SPAN + 4] as number;
    const name = at > 0 ? nameAt(index.bytes, at) : undefined;
    if (name !== undefined) names.add(name);
  };
  /** Those that change something: most of a large index may go, in a set that needn't be made again. */
  const going = (fileNames: ReadonlySet<string> = NONE, isDone: (fileName: string) => boolean): ReadonlySet<string> => {
    const listed = listedAmong(index, fileNames, touchEntry);
    if (listed === fileNames && add.size === 0) return fileNames;
    const chosen = new Set<string>();
    for (const fileName of fileNames)
      if (!add.has(fileName) && (listed.has(fileName) || !isDone(fileName))) chosen.add(fileName);
    return chosen;
  };
  const alreadyRemoved = new Set(index.removed);
  const remove = going(wish.remove, () => true);
  const takenBack = going(wish.takenBack, (fileName) => alreadyRemoved.has(fileName));
  const info = indexInfo(index, subdir, files.baseUrl, { add, remove, takenBack });
  return {
    change: { add, remove, takenBack, ...(info ? { info } : {}) },
    names,
    newFiles: new Set(add.keys()),
    goneFiles: union(remove, takenBack),
  };
}

const NONE: ReadonlySet<string> = new Set();

function union(a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<string> {
  return b.size === 0 ? a : a.size === 0 ? b : new Set([...a, ...b]);
}

/** Whether an earlier patch took a file from the index, whose package is still there as it was. */
function isPatchedAway(index: Repodata, from: Repodata, addition: Addition): boolean {
  if (!index.removed.includes(addition.fileName)) return false;
  const record = findRecord(from, addition.fileName);
  return record !== undefined && isOf(record, addition);
}

/** Whether a record is about the very bytes of an addition. Old records know only their MD5. */
function isOf(record: Uint8Array, { sha256, record: made }: Addition): boolean {
  const facts = recordFacts(record);
  if (facts.sha256 !== undefined) return facts.sha256 === sha256;
  return facts.md5 !== undefined && facts.md5 === recordFacts(made).md5;
}
