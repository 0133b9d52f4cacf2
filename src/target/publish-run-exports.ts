import { mergedPieces, type NewRecord, recordsAfter } from "../index/merge.ts";
import { emptyRepodata, findRecord, type Repodata } from "../index/repodata.ts";
import { findRunExports } from "../index/run-exports.ts";
import { readIndexFile } from "./read-index.ts";
import { type SubdirJob, writeFile } from "./subdir-job.ts";

/** What is known of the run exports of a subdir's packages: JSON, `{}` for none, undefined for unknown. */
export type RunExportsOf = (fileName: string) => Uint8Array | undefined;

/**
 * Merges run exports into `run_exports.json` (CEP 12). The file promises an entry for every package, so it is begun only
 * when those of all packages are known, and goes on when it is there already.
 */
export async function publishRunExports(job: SubdirJob): Promise<RunExportsOf> {
  const { store, subdir, signal, options } = job;
  const added = new Map(job.wish.runExports);
  for (const { fileName, runExports } of job.wish.additions) if (runExports) added.set(fileName, runExports);
  for (const [fileName, runExports] of job.patchedRunExports) added.set(fileName, runExports);
  const found = await readIndexFile(store, `${subdir}/run_exports.json`, signal);
  const there = found?.index;
  const edit = editOf(there ?? emptyRepodata(subdir), added, job);
  const known: RunExportsOf = (fileName) => {
    const entry = edit.add.get(fileName)?.exports;
    return entry ?? (there && findRunExports(there, fileName)) ?? added.get(fileName);
  };
  if (!options.files.runExports) return known;
  if (!there) {
    for (const { fileName } of recordsAfter(job.index, job.change)) if (!added.has(fileName)) return known;
  }
  if (there && edit.add.size === 0 && edit.remove.size === 0) return known;
  const info = Buffer.from(JSON.stringify({ subdir, version: 1 }));
  await writeFile(
    job,
    "run_exports.json",
    mergedPieces(there ?? emptyRepodata(subdir), { ...edit, info }, "run_exports"),
    // Its entries are in no other file: what another writer added meanwhile must not be lost.
    found ? { version: found.version } : "absent",
  );
  return known;
}

interface Entry extends NewRecord {
  readonly exports: Uint8Array;
}

function editOf(
  base: Repodata,
  added: ReadonlyMap<string, Uint8Array>,
  { index, newFiles, goneFiles, patchedRunExports }: SubdirJob,
): { readonly add: Map<string, Entry>; readonly remove: Set<string> } {
  const add = new Map<string, Entry>();
  for (const [fileName, exports] of added) {
    // An entry stays unless its package comes anew or a patch names it: it may be patched, as records are.
    const overrides = newFiles.has(fileName) || patchedRunExports.has(fileName);
    const old = findRecord(base, fileName);
    if (!overrides && (old || !findRecord(index, fileName))) continue;
    const record = Buffer.concat([Buffer.from('{"run_exports":'), exports, Buffer.from("}")]);
    if (!old || Buffer.compare(old, record) !== 0) add.set(fileName, { record, exports });
  }
  const remove = new Set<string>();
  for (const fileName of goneFiles) if (findRecord(base, fileName)) remove.add(fileName);
  return { add, remove };
}
