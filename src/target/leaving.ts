import { isPackageName } from "../conda/file-name.ts";
import { isGone } from "../index/merge.ts";
import { findRecord } from "../index/repodata.ts";
import type { SubdirState } from "./index-state.ts";
import { assertNewest, type SubdirJob, type SubdirWish } from "./subdir-job.ts";

/** How long files stay that no index lists any more, where nothing else is said: caches of clients forget within a week (CEP 16). */
export const WEEK = 7 * 24 * 60 * 60 * 1000;

const DAY = 24 * 60 * 60 * 1000;

/**
 * Notes the files of a wish that will go, before their records do: a run that dies in between must not forget them. What is
 * still listed when files are removed stays.
 */
export function noteLeaving(old: SubdirState, wish: SubdirWish, now: number): SubdirState {
  if (!wish.removeFiles) return old;
  const names = [...(wish.remove ?? []), ...(wish.takenBack ?? [])].filter(isPackageName);
  if (names.length === 0) return old;
  const leaving = { ...Object.fromEntries(names.map((name) => [name, now])), ...old.leaving };
  return { ...old, leaving, ...(old.leaving && !old.unlooked ? {} : { unlooked: true }) };
}

/**
 * Removes the files whose grace period is over, once the index without them is written. Those that came back stay. Gives
 * what is still to go; undefined where nobody ever asked for removal.
 * @param state what was noted. Where that was lost, or never was, the folder is looked through for files that no index lists:
 *   their time begins now.
 */
export async function removeLeft(
  job: SubdirJob,
  state: Pick<SubdirState, "leaving" | "unlooked"> | undefined,
): Promise<Record<string, number> | undefined> {
  const { store, subdir, wish, index, change, options, signal } = job;
  const known = state?.leaving;
  if (!known && !wish.removeFiles) return undefined;
  const listed = (fileName: string) =>
    change.add.has(fileName) || (!isGone(change, fileName) && findRecord(index, fileName) !== undefined);
  const leaving: Record<string, number> = { ...known };
  const grace = options.deleteGraceMs ?? WEEK;
  if (!known || state.unlooked) {
    for await (const { path } of store.list(subdir, signal)) {
      const fileName = path.slice(subdir.length + 1);
      // Another run may have put it there, and be about to list it.
      if (isPackageName(fileName) && !listed(fileName)) leaving[fileName] ??= options.now + Math.max(0, DAY - grace);
    }
  }
  if (wish.removeFiles)
    for (const fileName of job.goneFiles) if (isPackageName(fileName)) leaving[fileName] ??= options.now;
  const attested = new Set<string>();
  for (const [fileName, since] of Object.entries(leaving)) {
    if (listed(fileName)) delete leaving[fileName];
    else if (options.now - since >= grace) {
      await assertNewest(job);
      if (store.anyFile && (await store.stat(`${subdir}/${fileName}.sigs`, signal))) attested.add(fileName);
      await store.remove(`${subdir}/${fileName}`, signal);
      delete leaving[fileName];
    }
  }
  if (attested.size > 0) await removeSidecars(job, attested);
  return leaving;
}

/** Removes the attestations of packages that went: the newest last, since it tells that there are some (CEP 50). */
async function removeSidecars({ store, subdir, signal }: SubdirJob, fileNames: ReadonlySet<string>): Promise<void> {
  const older: string[] = [];
  for await (const { path } of store.list(subdir, signal)) {
    const [, fileName] = /^(.+)\.sigs\.[0-9a-f]{64}$/.exec(path.slice(subdir.length + 1)) ?? [];
    if (fileName !== undefined && fileNames.has(fileName)) older.push(path);
  }
  for (const path of older) await store.remove(path, signal);
  for (const fileName of fileNames) await store.remove(`${subdir}/${fileName}.sigs`, signal);
}
