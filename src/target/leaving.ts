import { isPackageName } from "../conda/file-name.ts";
import { isGone } from "../index/merge.ts";
import { listedAmong } from "../index/merge-edits.ts";
import { found, free } from "./free.ts";
import { type Leaving, openIndexState, type SubdirState } from "./index-state.ts";
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
  const leaving = noted(old.leaving ?? {}, [wish.remove ?? [], wish.takenBack ?? []], now);
  if (leaving === old.leaving) return old;
  return { ...old, leaving, ...(old.leaving && !old.unlooked ? {} : { unlooked: true }) };
}

/** Forgets that files are to go: they were moved away, and one that comes back in their place is a new one. */
export async function forgetLeaving(store: Store, subdir: string, fileNames: ReadonlySet<string>): Promise<void> {
  await store.exclusive(async () => {
    const state = await openIndexState(store);
    const known = state.get(subdir);
    if (!known?.leaving) return;
    const left = Object.entries(known.leaving).map(
      ([since, names]) => [since, names.filter((name) => !fileNames.has(name))] as const,
    );
    const leaving = Object.fromEntries(left.filter(([, names]) => names.length > 0));
    state.set(subdir, { ...known, leaving });
    await state.save();
  });
}

/** The same with further names, those since `now` that are not there yet; the very same where there are none. */
function noted(leaving: Leaving, more: readonly Iterable<string>[], now: number): Leaving {
  const known = new Set<string>();
  for (const names of Object.values(leaving)) for (const name of names) known.add(name);
  const fresh: string[] = [];
  for (const names of more) for (const name of names) if (!known.has(name)) fresh.push(name);
  if (fresh.length === 0) return leaving;
  return { ...leaving, [String(now)]: [...(leaving[String(now)] ?? []), ...fresh] };
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
  const { store, subdir, wish, options, signal } = job;
  const known = state?.leaving;
  if (!known && !wish.removeFiles) return {};
  let all: Leaving = known ?? {};
  const grace = options.deleteGraceMs ?? WEEK;
  const looks = wish.removeFiles === true && (!known || state?.unlooked === true);
  if (looks) {
    const there: string[] = [];
    for await (const { path } of store.list(subdir, signal)) {
      const fileName = path.slice(subdir.length + 1);
      if (isPackageName(fileName)) there.push(fileName);
    }
    // Another run may have put it there, and be about to list it.
    all = noted(all, [there], options.now + Math.max(0, DAY - grace));
  }
  // What was wished to go is noted already.
  if (wish.removeFiles && job.goneFiles !== wish.remove) all = noted(all, [job.goneFiles], options.now);
  const listed = listedThen(job, all);
  const leaving: Record<string, readonly string[]> = {};
  const due: string[] = [];
  for (const [since, names] of Object.entries(all)) {
    const left = listed.size === 0 ? names : names.filter((name) => !listed.has(name));
    // By these names files are removed.
    if (options.now - Number(since) >= grace) for (const name of left.filter(isPackageName)) due.push(name);
    else if (left.length > 0) leaving[since] = left;
  }
  // What may not be removed is asked for again when as much time has passed once more.
  const kept = await removePackages(job, due);
  if (kept.length > 0) leaving[String(options.now)] = [...(leaving[String(options.now)] ?? []), ...kept];
  return { leaving, ...(!looks && (!known || state?.unlooked) ? { unlooked: true } : {}) };
}

/** Which of the names the index lists once the change is made. */
function listedThen({ index, change }: SubdirJob, leaving: Leaving): ReadonlySet<string> {
  const names = new Set<string>();
  const come: string[] = [];
  for (const group of Object.values(leaving))
    for (const name of group) {
      if (change.add.has(name)) come.push(name);
      else if (!isGone(change, name)) names.add(name);
    }
  return new Set([...come, ...listedAmong(index, names)]);
}

/**
 * Removes packages, and their attestations after them: the newest last, since it tells that there are some (CEP 50). Gives the
 * packages that may not be removed.
 */
async function removePackages(job: SubdirJob, fileNames: readonly string[]): Promise<readonly string[]> {
  const { store, subdir, signal } = job;
  const sidecars = store.anyFile ? await found(store, subdir, fileNames.map(sidecarOf), signal) : new Map();
  const packages = await found(store, subdir, fileNames, signal);
  const kept = await free(job, [...packages.values()], "packages");
  const keptNames = kept.map(({ path }) => path.slice(subdir.length + 1));
  if (sidecars.size === 0) return keptNames;
  const attested = new Set(fileNames.filter((fileName) => sidecars.has(sidecarOf(fileName))));
  const older: StoredFile[] = [];
  for await (const file of store.list(subdir, signal)) {
    const [, fileName] = /^(.+)\.sigs\.[0-9a-f]{64}$/.exec(file.path.slice(subdir.length + 1)) ?? [];
    if (fileName !== undefined && attested.has(fileName)) older.push(file);
  }
  await free(job, older, "bytes");
  await free(job, [...sidecars.values()], "bytes");
  return keptNames;
}

function sidecarOf(fileName: string): string {
  return `${fileName}.sigs`;
}
