import { isPackageName } from "../conda/file-name.ts";
import { isGone } from "../index/merge.ts";
import { findRecord } from "../index/repodata.ts";
import { found, free } from "./free.ts";
import { openIndexState, type SubdirState } from "./index-state.ts";
import type { Store, StoredFile } from "./store.ts";
import type { SubdirJob, SubdirWish } from "./subdir-job.ts";

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

/** Forgets that files are to go: they were moved away, and one that comes back in their place is a new one. */
export async function forgetLeaving(store: Store, subdir: string, fileNames: ReadonlySet<string>): Promise<void> {
  await store.exclusive(async () => {
    const state = await openIndexState(store);
    const known = state.get(subdir);
    if (!known?.leaving) return;
    const leaving = Object.fromEntries(Object.entries(known.leaving).filter(([name]) => !fileNames.has(name)));
    state.set(subdir, { ...known, leaving });
    await state.save();
  });
}

/**
 * Removes the files whose grace period is over, once the index without them is written. Those that came back stay. Gives
 * what is still to go; nothing where nobody ever asked for removal.
 * @param state what was noted. Where that was lost, or never was, the folder is looked through for files that no index lists:
 *   their time begins now.
 */
export async function removeLeft(
  job: SubdirJob,
  state: Pick<SubdirState, "leaving" | "unlooked"> | undefined,
): Promise<Pick<SubdirState, "leaving" | "unlooked">> {
  const { store, subdir, wish, index, change, options, signal } = job;
  const known = state?.leaving;
  if (!known && !wish.removeFiles) return {};
  const listed = (fileName: string) =>
    change.add.has(fileName) || (!isGone(change, fileName) && findRecord(index, fileName) !== undefined);
  const leaving: Record<string, number> = { ...known };
  const grace = options.deleteGraceMs ?? WEEK;
  const looks = wish.removeFiles === true && (!known || state?.unlooked === true);
  if (looks) {
    for await (const { path } of store.list(subdir, signal)) {
      const fileName = path.slice(subdir.length + 1);
      // Another run may have put it there, and be about to list it.
      if (isPackageName(fileName) && !listed(fileName)) leaving[fileName] ??= options.now + Math.max(0, DAY - grace);
    }
  }
  if (wish.removeFiles)
    for (const fileName of job.goneFiles) if (isPackageName(fileName)) leaving[fileName] ??= options.now;
  const due: string[] = [];
  for (const [fileName, since] of Object.entries(leaving)) {
    if (listed(fileName)) delete leaving[fileName];
    else if (options.now - since >= grace) due.push(fileName);
  }
  await removePackages(job, due);
  for (const fileName of due) delete leaving[fileName];
  return { leaving, ...(!looks && (!known || state?.unlooked) ? { unlooked: true } : {}) };
}

/** Removes packages, and their attestations after them: the newest last, since it tells that there are some (CEP 50). */
async function removePackages(job: SubdirJob, fileNames: readonly string[]): Promise<void> {
  const { store, subdir, signal } = job;
  const sidecars = store.anyFile ? await found(store, subdir, fileNames.map(sidecarOf), signal) : new Map();
  const packages = await found(store, subdir, fileNames, signal);
  await free(job, [...packages.values()], "packages");
  if (sidecars.size === 0) return;
  const attested = new Set(fileNames.filter((fileName) => sidecars.has(sidecarOf(fileName))));
  const older: StoredFile[] = [];
  for await (const file of store.list(subdir, signal)) {
    const [, fileName] = /^(.+)\.sigs\.[0-9a-f]{64}$/.exec(file.path.slice(subdir.length + 1)) ?? [];
    if (fileName !== undefined && attested.has(fileName)) older.push(file);
  }
  await free(job, older, "bytes");
  await free(job, [...sidecars.values()], "bytes");
}

function sidecarOf(fileName: string): string {
  return `${fileName}.sigs`;
}
