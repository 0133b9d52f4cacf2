import { letGoIndex } from "../index/let-go.ts";
import { mergedPieces, type NewRecord, recordsAfter } from "../index/merge.ts";
import { placesByName, recordAt } from "../index/record-names.ts";
import { emptyRepodata, findRecord, type Repodata } from "../index/repodata.ts";
import { findRunExports } from "../index/run-exports.ts";
import { RUN_EXPORTS } from "./ahead.ts";
import type { FoundFile } from "./read-index.ts";
import { SHARD_INDEX, type SubdirJob, writeFile } from "./subdir-job.ts";

/** What is known of the run exports of a subdir's packages. */
export interface KnownRunExports {
  /** JSON, `{}` for none, undefined for unknown. */
  of(fileName: string): Uint8Array | undefined;
  /** Whether only packages are known whose names the change touches; of the others nothing can be asked. */
  readonly few: boolean;
}

/**
 * Merges run exports into `run_exports.json` (CEP 12). The file promises an entry for every package, so it is begun only
 * when those of all packages are known, and goes on when it is there already.
 * @param found the file as it is; it may be let go of.
 */
export async function publishRunExports(job: SubdirJob, found: FoundFile | undefined): Promise<KnownRunExports> {
  const { subdir } = job;
  const added = new Map(job.wish.runExports);
  for (const { fileName, runExports } of job.wish.additions) if (runExports) added.set(fileName, runExports);
  for (const [fileName, runExports] of job.patchedRunExports) added.set(fileName, runExports);
  const there = found?.index;
  const edit = editOf(there ?? emptyRepodata(subdir), added, job);
  const of = (fileName: string) => {
    const entry = edit.add.get(fileName)?.exports;
    return entry ?? (there && findRunExports(there, fileName)) ?? added.get(fileName);
  };
  const known = { of, few: false };
  if (found) job.versions[RUN_EXPORTS] = found.version;
  if (isDue(job, there, added, edit)) {
    const info = Buffer.from(JSON.stringify({ subdir, version: 1 }));
    await writeFile(
      job,
      RUN_EXPORTS,
      mergedPieces(there ?? emptyRepodata(subdir), { ...edit, info }, "run_exports"),
      // Its entries are in no other file: what another writer added meanwhile must not be lost.
      found ? { version: found.version } : "absent",
    );
  }
  return there && (await onlyFewAsk(job)) ? fewOf(job, there, known) : known;
}

interface Entry extends NewRecord {
  readonly exports: Uint8Array;
}

function editOf(
  base: Repodata,
  added: ReadonlyMap<string, Uint8Array>,
  { index, wish, newFiles, goneFiles, patchedRunExports, exportsAhead }: SubdirJob,
): { readonly add: Map<string, Entry>; readonly remove: Set<string> } {
  const add = new Map<string, Entry>();
  // The entry that a run left which died may be of another package, which had this one's name then.
  const doubtful = new Set(exportsAhead ? wish.additions.map((a) => a.fileName) : []);
  for (const [fileName, exports] of added) {
    // An entry stays unless its package comes anew or a patch names it: it may be patched, as records are.
    const overrides = newFiles.has(fileName) || patchedRunExports.has(fileName) || doubtful.has(fileName);
    const old = findRecord(base, fileName);
    if (!overrides && (old || !findRecord(index, fileName))) continue;
    const record = Buffer.concat([Buffer.from('{"run_exports":'), exports, Buffer.from("}")]);
    if (!old || Buffer.compare(old, record) !== 0) add.set(fileName, { record, exports });
  }
  const remove = new Set<string>();
  // Also those that no index lists.
  for (const fileName of [...goneFiles, ...(wish.remove ?? [])])
    if (!newFiles.has(fileName) && findRecord(base, fileName)) remove.add(fileName);
  return { add, remove };
}

/** Whether the file is to be written. */
function isDue(
  { index, change, options }: SubdirJob,
  there: Repodata | undefined,
  added: ReadonlyMap<string, Uint8Array>,
  edit: { readonly add: ReadonlyMap<string, Entry>; readonly remove: ReadonlySet<string> },
): boolean {
  if (!options.files.runExports) return false;
  if (there) return edit.add.size > 0 || edit.remove.size > 0;
  for (const { fileName } of recordsAfter(index, change)) if (!added.has(fileName)) return false;
  return true;
}

/** Whether only the shards of names that the change touches will be made: the index of all is the one we wrote last. */
async function onlyFewAsk({ store, subdir, options, fresh, signal }: SubdirJob): Promise<boolean> {
  if (!options.files.shards) return true;
  const ours = fresh?.versions[SHARD_INDEX];
  return ours !== undefined && (await store.stat(`${subdir}/${SHARD_INDEX}`, signal))?.version === ours;
}

/** Keeps what those shards need and lets go of the file: at conda-forge's size it would lie beside the index while that is written. */
function fewOf({ index, change, names }: SubdirJob, there: Repodata, known: KnownRunExports): KnownRunExports {
  const few = new Map<string, Uint8Array>();
  const keep = (fileName: string) => {
    const value = known.of(fileName);
    if (value) few.set(fileName, Uint8Array.from(value));
  };
  for (const fileName of change.add.keys()) keep(fileName);
  for (const places of placesByName(index, names).values())
    for (const place of places) keep(recordAt(index, place).fileName);
  letGoIndex(there);
  return { of: (fileName) => few.get(fileName), few: true };
}
