import { isPackageName } from "../conda/file-name.ts";
import { letGo } from "../index/let-go.ts";
import { isGone } from "../index/merge.ts";
import { listedAmong } from "../index/merge-edits.ts";
import { UNPATCHED } from "./ahead.ts";
import { found, free } from "./free.ts";
import {
  type Leaving,
  LOOK,
  lookOf,
  looksByName,
  type SubdirState,
  type Unlisted,
  UnlistedBuilder,
  without,
} from "./index-state.ts";
import { readIndexFile } from "./read-index.ts";
import type { Store, StoredFile } from "./store.ts";
import type { SubdirJob, SubdirWish } from "./subdir-job.ts";

/** How long files stay that no index lists any more, where nothing else is said: caches of clients forget within a week (CEP 16). */
export const WEEK = 7 * 24 * 60 * 60 * 1000;

const DAY = 24 * 60 * 60 * 1000;

/**
 * Notes the files of a wish that will go, before their records do: a run that dies in between must not forget them. What is
 * still listed when files are removed stays.
 */
export async function noteLeaving(
  store: Store,
  subdir: string,
  old: SubdirState,
  wish: SubdirWish,
  now: number,
  signal?: AbortSignal,
): Promise<SubdirState> {
  const { remove = NONE, takenBack = NONE, broken = new Map(), removeFiles } = wish;
  const known = old.leaving ?? {};
  const going = removeFiles ? [remove, takenBack].filter((names) => names.size > 0) : [];
  // What is broken has no grace period.
  const dropped = broken.size === 0 ? known : await noted(store, subdir, known, [new Set(broken.keys())], 0, signal);
  const leaving = await noted(store, subdir, dropped, going, now, signal);
  if (leaving === known) return old;
  return { ...old, leaving, ...(old.leaving && !old.unlooked ? {} : { unlooked: true }) };
}

/**
 * What is noted of files that stay when their records go: those that an index does not list again, and those of records that
 * go now. To be asked before anything is written.
 */
export async function noteKept(
  { store, subdir, index, change, wish, signal }: SubdirJob,
  { kept }: Pick<SubdirState, "kept"> = {},
): Promise<Pick<SubdirState, "kept">> {
  const all = looksByName(kept);
  const listed = listedAmong(index, new Set(all.keys()));
  for (const fileName of all.keys())
    if (change.add.has(fileName) || (listed.has(fileName) && !isGone(change, fileName))) all.delete(fileName);
  const going = wish.removeFiles ? NONE : listedAmong(index, wish.takenBack ?? NONE);
  for (const [fileName, file] of await present(store, subdir, going, signal)) all.set(fileName, lookOf(file));
  if (all.size === 0) return {};
  const noted = new UnlistedBuilder();
  for (const [fileName, look] of all) noted.add(fileName, look);
  return { kept: noted.built() };
}

const NONE: ReadonlySet<string> = new Set();

/** Those of the files that stay noted, with the times that have any. */
function leavingWithout(
  leaving: Leaving,
  drops: (fileName: string, since: string) => boolean,
): Record<string, Unlisted> {
  const left: Record<string, Unlisted> = {};
  for (const [since, files] of Object.entries(leaving)) {
    const some = without(files, (fileName) => drops(fileName, since));
    if (some.names.length > 0) left[since] = some;
  }
  return left;
}

/** The same with further files, those since `now` that were not noted yet; the very same where there are none. */
async function noted(
  store: Store,
  subdir: string,
  leaving: Leaving,
  more: readonly ReadonlySet<string>[],
  now: number,
  signal?: AbortSignal,
): Promise<Leaving> {
  const known = new Set<string>();
  for (const { names } of Object.values(leaving)) for (const fileName of names) known.add(fileName);
  const all = new UnlistedBuilder();
  all.addAll(leaving[String(now)]);
  let some = false;
  for (const names of more) {
    // Half a million names are looked for as the set that they are.
    const fresh = known.size === 0 ? names : new Set([...names].filter((fileName) => !known.has(fileName)));
    // Names are those of the wish: others, cut from paths, would take as much memory once more.
    const looks = new Map<string, string>();
    for await (const file of among(store, subdir, fresh, signal))
      looks.set(file.path.slice(subdir.length + 1), lookOf(file));
    for (const fileName of fresh) all.add(fileName, looks.get(fileName) ?? NOT_THERE);
    some ||= fresh.size > 0;
    // Of two sets, both may have a name.
    if (names !== more.at(-1)) for (const fileName of fresh) known.add(fileName);
  }
  return some ? { ...leaving, [String(now)]: all.built() } : leaving;
}

/** Those of the packages that are there. */
async function* among(
  store: Store,
  subdir: string,
  names: ReadonlySet<string>,
  signal?: AbortSignal,
): AsyncIterable<StoredFile> {
  const few = store.find || names.size < ONE_BY_ONE;
  if (few) yield* (await found(store, subdir, [...names].filter(isPackageName), signal)).values();
  else yield* store.list(subdir, signal, (fileName) => names.has(fileName) && isPackageName(fileName));
}

/** The same by name. */
async function present(
  store: Store,
  subdir: string,
  names: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<Map<string, StoredFile>> {
  const there = new Map<string, StoredFile>();
  for await (const file of among(store, subdir, names, signal)) there.set(file.path.slice(subdir.length + 1), file);
  return there;
}

/** More are found by one look through the folder than each by itself. */
const ONE_BY_ONE = 5000;

/** Of a file that is not there. What comes in its place is another one. */
const NOT_THERE = "-".repeat(LOOK);

/**
 * Removes the files whose grace period is over, once the index without them is written. Those that came back stay, and so do
 * those that were put there anew. Gives what is still to go; nothing where nobody ever asked for removal.
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
    const before = new Set(Object.values(all).flatMap(({ names }) => names));
    // Another run may have put it there, and be about to list it.
    const since = String(options.now + Math.max(0, DAY - grace));
    const there = new UnlistedBuilder();
    there.addAll(all[since]);
    for await (const file of store.list(subdir, signal)) {
      const fileName = file.path.slice(subdir.length + 1);
      if (isPackageName(fileName) && !before.has(fileName)) there.add(fileName, lookOf(file));
    }
    const files = await withoutHidden(job, there.built());
    if (files.names.length > 0) all = { ...all, [since]: files };
  }
  // What was wished to go is noted already.
  if (wish.removeFiles && job.goneFiles !== wish.remove)
    all = await noted(store, subdir, all, [job.goneFiles], options.now, signal);
  const listed = listedThen(job, all);
  const isDue = (since: string) => options.now - Number(since) >= grace;
  const kept = new UnlistedBuilder();
  for (const [since, files] of Object.entries(all)) {
    if (!isDue(since)) continue;
    const due = without(files, (fileName) => listed.has(fileName));
    for (const [fileName, file] of await removePackages(job, due)) kept.add(fileName, lookOf(file));
  }
  const leaving = leavingWithout(all, (fileName, since) => isDue(since) || listed.has(fileName));
  // What may not be removed is asked for again when as much time has passed once more.
  const now = String(options.now);
  kept.addAll(leaving[now]);
  const files = kept.built();
  if (files.names.length > 0) leaving[now] = files;
  return { leaving, ...(!looks && (!known || state?.unlooked) ? { unlooked: true } : {}) };
}

/** The same without those that a patch hides: the index before patches lists them. */
async function withoutHidden({ store, subdir, signal }: SubdirJob, files: Unlisted): Promise<Unlisted> {
  if (files.names.length === 0) return files;
  const unpatched = await readIndexFile(store, `${subdir}/${UNPATCHED}`, signal);
  if (!unpatched) return files;
  const hidden = listedAmong(unpatched.index, new Set(files.names));
  letGo(unpatched.index.bytes);
  return without(files, (fileName) => hidden.has(fileName));
}

/** Which of the names the index lists once the change is made. */
function listedThen({ index, change }: SubdirJob, leaving: Leaving): ReadonlySet<string> {
  const names = new Set<string>();
  const come: string[] = [];
  for (const group of Object.values(leaving))
    for (const name of group.names) {
      if (change.add.has(name)) come.push(name);
      else if (!isGone(change, name)) names.add(name);
    }
  return new Set([...come, ...listedAmong(index, names)]);
}

/** Those of the files that are there as they were noted, by name. By these names files are removed. */
export async function asNoted(
  store: Store,
  subdir: string,
  files: Unlisted,
  signal?: AbortSignal,
): Promise<Map<string, StoredFile>> {
  const looks = looksByName(files);
  const there = await present(store, subdir, new Set(files.names), signal);
  for (const [fileName, file] of there) if (looks.get(fileName) !== lookOf(file)) there.delete(fileName);
  return there;
}

/**
 * Removes packages, and their attestations after them: the newest last, since it tells that there are some (CEP 50). Gives the
 * packages that may not be removed.
 */
async function removePackages(job: SubdirJob, files: Unlisted): Promise<ReadonlyMap<string, StoredFile>> {
  const { store, subdir, wish, signal } = job;
  const packages = await asNoted(store, subdir, files, signal);
  // A look may be the same within a second.
  for (const [fileName, { version }] of packages) {
    const seen = wish.broken?.get(fileName);
    if (seen && seen.version !== version) packages.delete(fileName);
  }
  const fileNames = [...packages.keys()];
  const sidecars = store.anyFile ? await found(store, subdir, fileNames.map(sidecarOf), signal) : new Map();
  const stays = await free(job, [...packages.values()], "packages");
  const kept = new Map(stays.map((file) => [file.path.slice(subdir.length + 1), file]));
  if (sidecars.size === 0) return kept;
  const attested = new Set(fileNames.filter((fileName) => sidecars.has(sidecarOf(fileName))));
  const older: StoredFile[] = [];
  for await (const file of store.list(subdir, signal)) {
    const [, fileName] = /^(.+)\.sigs\.[0-9a-f]{64}$/.exec(file.path.slice(subdir.length + 1)) ?? [];
    if (fileName !== undefined && attested.has(fileName)) older.push(file);
  }
  await free(job, older, "bytes");
  await free(job, [...sidecars.values()], "bytes");
  return kept;
}

function sidecarOf(fileName: string): string {
  return `${fileName}.sigs`;
}
