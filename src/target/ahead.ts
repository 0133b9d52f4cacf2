import { eachRecord, findRecord } from "../index/repodata.ts";
import type { SubdirState } from "./index-state.ts";
import type { FoundFile } from "./read-index.ts";
import type { Store } from "./store.ts";
import type { SubdirWish } from "./subdir-job.ts";

/** The index as the packages themselves say it, before patches. */
export const UNPATCHED = "repodata_from_packages.json";
/** CEP 12. */
export const RUN_EXPORTS = "run_exports.json";

/**
 * Notes which of the files that are merged into, besides `repodata.json`, a subdir has when we first meet it. They are written
 * before `repodata.json`: a run that dies in between leaves them ahead of it, and what is noted tells the next run so.
 */
export async function firstState(store: Store, subdir: string, signal?: AbortSignal): Promise<SubdirState> {
  const versions: Record<string, string> = {};
  for (const name of [RUN_EXPORTS, UNPATCHED]) {
    const there = await store.stat(`${subdir}/${name}`, signal);
    if (there) versions[name] = there.version;
  }
  return { versions, made: "", records: 0, unreferenced: {} };
}

/** Whether such a file is not the one noted: a run that died wrote it, or another program did. */
export function isAhead(state: SubdirState | undefined, name: string, found: FoundFile | undefined): boolean {
  return state !== undefined && found !== undefined && state.versions[name] !== found.version;
}

/** What files that are ahead tell of and the index does not, and what has neither come now nor lies there: it went since. */
export async function wentSince(
  ahead: readonly FoundFile[],
  { index }: Pick<FoundFile, "index">,
  { additions }: SubdirWish,
  missingOf: (fileNames: readonly string[]) => Promise<string[]>,
): Promise<string[]> {
  const come = new Set(additions.map((a) => a.fileName));
  const unknown = new Set<string>();
  for (const file of ahead)
    for (const { fileName } of eachRecord(file.index))
      if (!come.has(fileName) && !findRecord(index, fileName)) unknown.add(fileName);
  return missingOf([...unknown]);
}
