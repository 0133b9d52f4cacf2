import { type IndexChange, mergedPieces, type NewRecord, recordsAfter } from "../index/merge.ts";
import { emptyRepodata, findRecord, type Repodata } from "../index/repodata.ts";
import { findRunExports } from "../index/run-exports.ts";
import { readIndexFile } from "./read-index.ts";
import { type SubdirJob, write } from "./subdir-index.ts";

/** What is known of the run exports of a subdir's packages: JSON, `{}` for none, undefined for unknown. */
export type RunExportsOf = (fileName: string) => Uint8Array | undefined;

/**
 * Merges run exports into `run_exports.json` (CEP 12). The file promises an entry for every package, so it is begun only
 * when those of all packages are known, and goes on when it is there already.
 */
export async function publishRunExports(job: SubdirJob, wanted: boolean): Promise<RunExportsOf> {
  const { store, subdir, change, signal } = job;
  const added = new Map(job.runExports);
  for (const { fileName, runExports } of job.additions) if (runExports) added.set(fileName, runExports);
  const there = await readIndexFile(store, `${subdir}/run_exports.json`, signal);
  const known: RunExportsOf = (fileName) => added.get(fileName) ?? (there && findRunExports(there, fileName));
  if (!wanted) return known;
  if (!there) {
    for (const { fileName } of recordsAfter(job.index, change)) if (!added.has(fileName)) return known;
  }
  const base = there ?? emptyRepodata(subdir);
  const edit = { ...editOf(base, added, job), info: Buffer.from(JSON.stringify({ subdir, version: 1 })) };
  if (!there || edit.add.size > 0 || edit.remove.size > 0)
    await write(job, "run_exports.json", mergedPieces(base, edit, "run_exports"), "any");
  return known;
}

function editOf(
  base: Repodata,
  added: ReadonlyMap<string, Uint8Array>,
  { index, change }: SubdirJob,
): { add: Map<string, NewRecord>; remove: Set<string> } & IndexChange {
  const add = new Map<string, NewRecord>();
  for (const [fileName, runExports] of added) {
    // An entry stays unless its package comes anew: it may be patched, as records are.
    if (!change.add.has(fileName) && (findRecord(base, fileName) || !findRecord(index, fileName))) continue;
    const record = Buffer.concat([Buffer.from('{"run_exports":'), runExports, Buffer.from("}")]);
    const old = findRecord(base, fileName);
    if (!old || Buffer.compare(old, record) !== 0) add.set(fileName, { record });
  }
  const remove = new Set<string>();
  for (const fileName of [...(change.remove ?? []), ...(change.takenBack ?? [])])
    if (findRecord(base, fileName)) remove.add(fileName);
  return { add, remove };
}
