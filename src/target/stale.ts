import { bz2Pieces, decodedPieces } from "../index/compress.ts";
import type { IndexFiles } from "../index/index-files.ts";
import { UNPATCHED } from "./ahead.ts";
import { isMadeOf, type SubdirJob, versionsOf } from "./subdir-job.ts";

/** Files that no client of today reads, or that we don't make: one left behind a change hides packages from its readers. */
const STALE = [
  "current_repodata.json.zst",
  "current_repodata.json.bz2",
  `${UNPATCHED}.zst`,
  `${UNPATCHED}.bz2`,
  "repodata_shards_from_packages.msgpack.zst",
  "run_exports.json.zst",
  "run_exports.json.bz2",
  "repodata.json.gz",
  "repodata.jlap",
];

/** Files that a run does not write because they are switched off. */
function switchedOff(files: IndexFiles): string[] {
  return [
    ...(files.zst ? [] : ["repodata.json.zst"]),
    ...(files.bz2 ? [] : ["repodata.json.bz2"]),
    ...(files.shards ? [] : ["repodata_shards.msgpack.zst"]),
    ...(files.currentRepodata ? [] : ["current_repodata.json"]),
    ...(files.runExports ? [] : ["run_exports.json"]),
  ];
}

/** Removes index files that would tell of a state that is gone, and that this run does not write anew. */
export async function removeStale(job: SubdirJob): Promise<void> {
  const { store, subdir, options, signal } = job;
  const unwanted = [...STALE, ...switchedOff(options.files)];
  for (const name of (await versionsOf(store, subdir, unwanted, signal)).keys()) await remove(job, name);
}

/**
 * Where the index stays as it is but is not the one that we wrote last: removes what is switched off and may tell of an older
 * one. A compressed form that holds the same stays.
 */
export async function removeDoubtful(job: SubdirJob): Promise<void> {
  const { store, subdir, options, signal } = job;
  for (const name of (await versionsOf(store, subdir, switchedOff(options.files), signal)).keys())
    if (!(await holdsTheSame(job, name))) await remove(job, name);
}

const DECODED: Readonly<Record<string, (bytes: Uint8Array) => AsyncGenerator<Uint8Array>>> = {
  "repodata.json.zst": decodedPieces,
  "repodata.json.bz2": bz2Pieces,
};

async function holdsTheSame({ store, subdir, index, signal }: SubdirJob, name: string): Promise<boolean> {
  const decoded = DECODED[name];
  const stored = decoded && (await store.get(`${subdir}/${name}`, signal));
  if (!stored) return false;
  try {
    return await isMadeOf(index.bytes, decoded(stored.bytes));
  } catch {
    return false;
  }
}

async function remove({ store, subdir, versions, options, signal }: SubdirJob, name: string): Promise<void> {
  await store.remove(`${subdir}/${name}`, signal);
  delete versions[name];
  options.warn(
    `${subdir}/${name} was removed: it is not among the files this run writes, and a stale one hides packages`,
  );
}
