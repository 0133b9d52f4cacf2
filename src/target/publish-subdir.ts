import { compressedBz2, compressedPieces, levelFor } from "../index/compress.ts";
import type { IndexFiles } from "../index/index-files.ts";
import { letGo } from "../index/let-go.ts";
import {
  countMerged,
  malformedKeys,
  malformedRemoved,
  mergedPieces,
  mergedSize,
  mergeRepodata,
} from "../index/merge.ts";
import { findRecord, type Repodata } from "../index/repodata.ts";
import { isAhead, RUN_EXPORTS, UNPATCHED, wentSince } from "./ahead.ts";
import { countLeaving, type SubdirState } from "./index-state.ts";
import { noteKept, removeLeft, WEEK } from "./leaving.ts";
import { decide } from "./next-index.ts";
import { publishCurrent } from "./publish-current.ts";
import { publishRunExports } from "./publish-run-exports.ts";
import { lacksShards, leaveShards, publishShards, removeUnnamed } from "./publish-shards.ts";
import { readIndex, readIndexFile } from "./read-index.ts";
import { removeDoubtful, removeStale } from "./stale.ts";
import type { StagedFile, Store } from "./store.ts";
import {
  type Progress,
  type PublishedSubdir,
  type PublishOptions,
  type SubdirJob,
  type SubdirWish,
  versionsOf,
  writeDerived,
  writeFile,
} from "./subdir-job.ts";

/** Changes whenever the derived files would come out otherwise for the same records. */
const FORMAT = 1;

/** Files that are made from the index, and are written after it where nothing keeps other writers out. */
const DERIVED = ["repodata.json.zst", "repodata.json.bz2", "repodata_shards.msgpack.zst", "current_repodata.json"];

/**
 * Merges a wish into a subdir's index and writes what changes, in the order in which no reader ever misses a file: shards,
 * their index, run exports, `repodata.json.zst` and `.bz2`, `repodata.json`, and what is made from it (CEP 16;
 * docs/decisions/009). Where nothing keeps other writers out, `repodata.json` comes before what is made from it: who loses
 * the race for it has written nothing else (docs/decisions/012).
 * Everything the wish does not name stays, byte for byte.
 * @param progress what earlier tries have done; kept up to date also when this one fails.
 * @throws PreconditionFailed when another writer was quicker; nothing is lost, run it again.
 */
export async function publishSubdir(
  store: Store,
  subdir: string,
  wish: SubdirWish,
  progress: Progress,
  state: SubdirState | undefined,
  options: PublishOptions,
  signal?: AbortSignal,
): Promise<PublishedSubdir & { readonly state: SubdirState }> {
  const { files, warn } = options;
  const lacking = wish.checkShards === true && files.shards && (await lacksShards(store, subdir, signal));
  const asItWas = !lacking && isEmpty(wish) && (await upToDate(store, subdir, state, options, signal));
  if (asItWas && state) {
    const { freed } = progress;
    const waiting = countLeaving(state);
    return { subdir, records: state.records, written: [], version: asItWas, from: asItWas, state, freed, waiting };
  }
  const seen = store.lockless && (await versionsOf(store, subdir, DERIVED, signal));
  const { index, jsonVersion } = await readIndex(store, subdir, signal);
  for (const fault of index.faults) warn(`${subdir}/repodata.json: ${fault}`);
  const from = await readIndexFile(store, `${subdir}/${UNPATCHED}`, signal);
  const exported = await readIndexFile(store, `${subdir}/${RUN_EXPORTS}`, signal);
  const missingOf = (fileNames: Iterable<string>) => stillMissing(store, subdir, [...fileNames], signal);
  const takenBack = withMore(wish.takenBack, await missingOf(wish.missing ?? []));
  const exportsAhead = isAhead(state, RUN_EXPORTS, exported);
  const ahead = [
    ...(exportsAhead && exported ? [exported] : []),
    ...(isAhead(state, UNPATCHED, from) && from ? [from] : []),
  ];
  const made = madeWith(files);
  const known = jsonVersion !== undefined && state?.made === made && state.versions["repodata.json"] === jsonVersion;
  // What we wrote has none.
  const dropped = await stillBroken(store, subdir, index, wish.broken, signal);
  for (const fileName of dropped) progress.dropped.add(fileName);
  const poison = known ? [] : [...malformedKeys(index), ...(from ? malformedKeys(from.index) : [])];
  const remove = withMore(wish.remove, [
    ...dropped,
    ...(await wentSince(ahead, { index }, wish, missingOf)),
    ...poison,
  ]);
  const { next, unpatched } = decide(index, from?.index, subdir, { ...wish, remove, takenBack }, files, warn);
  const job: SubdirJob = {
    ...next,
    changed: next.changed || jsonVersion === undefined,
    store,
    subdir,
    wish: { ...wish, remove },
    exportsAhead,
    options,
    signal,
    freed: progress.freed,
    // Shards tell of run exports too.
    fresh: known && !exportsAhead && !wish.doubted && !lacking ? state : undefined,
    seen: seen || undefined,
    written: [],
    versions: {},
  };
  const kept = await noteKept(job, state);
  // Those that are to go anyway are told by whoever says so.
  if (!known)
    warnOfNames(
      job,
      poison.filter((name) => !wish.remove?.has(name) && !takenBack.has(name)),
    );
  const ours = jsonVersion !== undefined && state?.versions["repodata.json"] === jsonVersion;
  // Where there is no repodata.json yet, a form of it that goes may be all that is left of the index.
  if (jsonVersion !== undefined && job.changed) await removeStale(job);
  else if (jsonVersion !== undefined && !ours) await removeDoubtful(job);
  for (const a of wish.additions) {
    // Another run may have removed it: it was in no index until now.
    if (a.ensure && !(await store.stat(`${subdir}/${a.fileName}`, signal)))
      await store.put(`${subdir}/${a.fileName}`, a.ensure, "any", signal);
  }
  // The index lists these very bytes: what lay there was damaged.
  if (!job.changed) await replaceFiles(job, progress);
  const runExports = await publishRunExports(job, exported);
  let unreferenced: Readonly<Record<string, number>> = {};
  if (unpatched?.changed) {
    const expect = from ? { version: from.version } : "absent";
    await writeFile(job, UNPATCHED, mergedPieces(unpatched.index, unpatched.change), expect);
  } else if (from) job.versions[UNPATCHED] = from.version;
  if (jsonVersion !== undefined && !store.lockless) {
    // zstd's threads compress while shards are made; what they write appears when the shards are there.
    const { promise: prepared, resolve: isPrepared } = Promise.withResolvers<void>();
    const lastMoment = () => replaceFiles(job, progress, prepared);
    const shards = files.shards ? publishShards(job, runExports, lastMoment) : lastMoment().then(() => ({}));
    const monolithic = publishMonolithic(job, jsonVersion, { after: shards, prepared: isPrepared });
    // Also where it fails before it has begun.
    void monolithic.then(isPrepared, isPrepared);
    await together([shards, monolithic]);
    unreferenced = await shards;
    progress.done = true;
  } else {
    // Nothing is there to be stale, or nothing keeps others from making it so. The merge starts from repodata.json: a run
    // that dies must not leave shards alone.
    await replaceFiles(job, progress);
    await publishMonolithic(job, jsonVersion, {
      written: () => {
        progress.done = true;
      },
    });
    if (jsonVersion === undefined) await removeStale(job);
    if (files.shards) unreferenced = await publishShards(job, runExports);
  }
  // No lock keeps those out who write from other machines.
  if (store.folder === undefined) await putBack(job);
  if (store.lockless) await tellOfOthers(job, progress);
  const current =
    files.currentRepodata === "keep" ? await isThere(job, "current_repodata.json") : files.currentRepodata;
  if (current) await publishCurrent(job);
  if (!files.shards) unreferenced = await leaveShards(job, state?.unreferenced ?? {});
  const left = { ...(await removeLeft(job, state)), ...kept };
  const records = countMerged(job.index, job.change);
  // What is still to do needs memory too, where much is noted.
  letGo(index.bytes);
  if (wish.cleanUp) unreferenced = await removeUnnamed(job, unreferenced);
  return {
    subdir,
    records,
    written: job.written,
    version: job.versions["repodata.json"] as string,
    from: jsonVersion,
    state: { versions: job.versions, made, unreferenced, records, ...left },
    freed: progress.freed,
    dropped: progress.dropped,
    waiting: countLeaving(left),
  };
}

function withMore(names: ReadonlySet<string> = new Set(), more: readonly string[]): ReadonlySet<string> {
  return more.length === 0 ? names : new Set([...names, ...more]);
}

/**
 * Moves in the files that replace others. Whoever has the old record refuses the new bytes, and the other way round, so this
 * waits until the index that knows them is written and has only to get its name. The file goes first: a run that dies in between
 * leaves the old record, by which the next one sees that the source has something else.
 */
async function replaceFiles(
  { store, subdir, wish, signal }: SubdirJob,
  { replaced }: Progress,
  prepared?: Promise<void>,
): Promise<void> {
  const due = wish.additions.filter((a) => a.replaceWith && !replaced.has(a));
  if (due.length > 0) await prepared;
  for (const a of due)
    replaced.set(a, await store.put(`${subdir}/${a.fileName}`, a.replaceWith as StagedFile, "any", signal));
}

/**
 * Tells of names for which pixi and rattler refuse the whole index (CEP 26): they go, with their records. Files stay.
 * @param keys of records; docs/decisions/037.
 */
function warnOfNames({ index, subdir, options }: SubdirJob, keys: readonly string[]): void {
  const warn = (name: string, what: string) =>
    options.warn(`${subdir}/repodata.json: ${JSON.stringify(name)} is no package's name${what}`);
  for (const name of malformedRemoved(index)) warn(name, ' and goes from its "removed"');
  const told = [...new Set(keys)];
  for (const name of told.slice(0, TOLD))
    warn(
      name,
      ", and pixi and rattler would read nothing of this index: its record goes, its file stays; rename it to <name>-<version>-<build>.conda or .tar.bz2, and run index on the channel",
    );
  if (told.length > TOLD) options.warn(`${subdir}/repodata.json: so do ${told.length - TOLD} more records`);
}

/** Names that are told each by itself. */
const TOLD = 20;

/** Puts back files that another run removed before it could see that they are listed again. */
async function putBack({ store, subdir, wish, signal }: SubdirJob): Promise<void> {
  for (const { fileName, ensure } of wish.additions) {
    if (!ensure || (await store.stat(`${subdir}/${fileName}`, signal))) continue;
    await store.put(`${subdir}/${fileName}`, ensure, "any", signal);
  }
}

/** Warns where another run replaced a file at the same moment: then its record may be the other one's. */
async function tellOfOthers({ store, subdir, options, signal }: SubdirJob, progress: Progress): Promise<void> {
  for (const [{ fileName }, version] of progress.replaced) {
    const there = await store.stat(`${subdir}/${fileName}`, signal);
    if (there?.version === version) continue;
    options.warn(
      `${subdir}/${fileName} was replaced by another run as well, at the same time: run index on the channel to have its record agree with it`,
    );
  }
}

/**
 * `repodata.json`, and its compressed forms, which clients ask for first: before it, unless nothing keeps other writers out.
 * @param when.written told when `repodata.json` is as it shall be.
 * @param when.after none of them appears before this has come true.
 * @param when.prepared told when `repodata.json` and `.zst` only wait for that.
 */
async function publishMonolithic(
  job: SubdirJob,
  jsonVersion: string | undefined,
  {
    written = () => undefined,
    prepared = () => undefined,
    after,
  }: { written?: () => void; prepared?: () => void; after?: Promise<unknown> },
): Promise<void> {
  const { index, change, changed, options } = job;
  const whole = !changed ? index.bytes : isSmall(job) ? mergeRepodata(index, change) : undefined;
  const content = (): Iterable<Uint8Array> => (whole ? [whole] : mergedPieces(index, change));
  const size = whole ? whole.length : mergedSize(index, change);
  const level = options.files.zstdLevel ?? levelFor(size);
  const [zstUsed, jsonUsed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const compress = async (): Promise<void> => {
    if (options.files.zst)
      await writeDerived(
        job,
        "repodata.json.zst",
        () => used(compressedPieces(content(), size, level), zstUsed),
        after,
      );
    else zstUsed.resolve();
    if (options.files.bz2) await writeDerived(job, "repodata.json.bz2", () => compressedBz2(content()), after);
  };
  const expect = jsonVersion === undefined ? "absent" : { version: jsonVersion };
  if (!changed) {
    written();
    prepared();
    await compress();
    job.versions["repodata.json"] = jsonVersion as string;
  } else if (job.seen) {
    await writeFile(job, "repodata.json", content(), expect);
    written();
    await compress();
  } else {
    // Written to disk while zstd's threads compress; it appears when the compressed form is there.
    const compressing = compress();
    const compressed = together([compressing, after]);
    const plain = writeFile(job, "repodata.json", used(content(), jsonUsed), expect, compressed);
    // A write that fails early asks for nothing.
    const through = [Promise.race([zstUsed.promise, compressing]), Promise.race([jsonUsed.promise, plain])];
    void Promise.allSettled(through).then(prepared);
    await together([compressed, plain]);
    written();
  }
}

/** The same pieces; tells when the last one has been used. */
async function* used(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  { resolve }: { readonly resolve: () => void },
): AsyncGenerator<Uint8Array> {
  try {
    yield* pieces;
  } finally {
    resolve();
  }
}

/** Waits for all of them, also where one fails: what still writes must not do so when others may. */
async function together(works: readonly (Promise<unknown> | undefined)[]): Promise<void> {
  for (const work of await Promise.allSettled(works)) if (work.status === "rejected") throw work.reason;
}

/** A small index is merged once and kept; a large one is merged again for each of its forms, and never twice in memory. */
function isSmall({ index, change }: SubdirJob): boolean {
  let size = index.bytes.length;
  for (const { record } of change.add.values()) size += record.length;
  return size < 32 * 1024 * 1024;
}

/** What files made from the same records depend on. */
function madeWith({ zstdLevel, baseUrl }: IndexFiles): string {
  return JSON.stringify([FORMAT, process.versions["zstd"], zstdLevel, baseUrl]);
}

function isEmpty(wish: SubdirWish): boolean {
  const { additions, remove, takenBack, missing, broken, runExports, removeFiles, cleanUp, patch, doubted } = wish;
  const sets = [remove, takenBack, missing, broken, runExports, doubted];
  return additions.length === 0 && !patch && !removeFiles && !cleanUp && sets.every((s) => !s || s.size === 0);
}

/** The version of `repodata.json` when all index files are those we wrote last, with the same settings. */
async function upToDate(
  store: Store,
  subdir: string,
  state: SubdirState | undefined,
  { files, now, deleteGraceMs = WEEK }: PublishOptions,
  signal?: AbortSignal,
): Promise<string | undefined> {
  if (state?.made !== madeWith(files)) return undefined;
  const shardsAreDue = Object.values(state.unreferenced).some((since) => now - since >= files.shardGraceMs);
  if (shardsAreDue) return undefined;
  if (Object.keys(state.leaving ?? {}).some((since) => now - Number(since) >= deleteGraceMs)) return undefined;
  const wanted = [
    "repodata.json",
    ...(files.zst ? ["repodata.json.zst"] : []),
    ...(files.bz2 ? ["repodata.json.bz2"] : []),
    ...(files.shards ? ["repodata_shards.msgpack.zst"] : []),
    ...(files.currentRepodata === true ? ["current_repodata.json"] : []),
  ];
  const names = [...new Set([...wanted, ...Object.keys(state.versions)])];
  const there = await versionsOf(store, subdir, names, signal);
  return names.every((name) => there.has(name) && there.get(name) === state.versions[name])
    ? state.versions["repodata.json"]
    : undefined;
}

async function isThere({ store, subdir, signal }: SubdirJob, name: string): Promise<boolean> {
  return (await store.stat(`${subdir}/${name}`, signal)) !== undefined;
}

/** Which of these files are not there. */
async function stillMissing(
  store: Store,
  subdir: string,
  fileNames: readonly string[],
  signal?: AbortSignal,
): Promise<string[]> {
  const there = fileNames.length > 0 ? await store.find?.(subdir, fileNames, signal) : undefined;
  if (there) return fileNames.filter((fileName) => !there.has(fileName));
  const missing: string[] = [];
  for (const fileName of fileNames) if (!(await store.stat(`${subdir}/${fileName}`, signal))) missing.push(fileName);
  return missing;
}

/** Which packages are still as they were seen to be broken. */
async function stillBroken(
  store: Store,
  subdir: string,
  index: Repodata,
  broken: SubdirWish["broken"] = new Map(),
  signal?: AbortSignal,
): Promise<string[]> {
  const still: string[] = [];
  for (const [fileName, { record, version }] of broken) {
    const listed = findRecord(index, fileName);
    if (!listed || Buffer.compare(listed, record) !== 0) continue;
    if ((await store.stat(`${subdir}/${fileName}`, signal))?.version === version) still.push(fileName);
  }
  return still;
}
