import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { type ChannelJob, publishChannelFiles } from "./channel-files.ts";
import { formatOf, isPackageName } from "./conda/file-name.ts";
import { recordFacts } from "./conda/record-facts.ts";
import { indexFilesOf } from "./config/index-files.ts";
import type { Settings } from "./config/settings.ts";
import { isInterruption, type MirrorError, type PackageCode, PackageError } from "./errors.ts";
import type { IndexEvent, IndexReport } from "./events.ts";
import { infoValue, liesElsewhere } from "./index/index-info.ts";
import type { Patch } from "./index/patch.ts";
import { eachRecord, findRecord } from "./index/repodata.ts";
import { type ChannelOptions, cachePath, openChannel } from "./open-channel.ts";
import { subdirsOf } from "./subdirs-of.ts";
import { type FileCache, openFileCache, type ReadFile } from "./survey/file-cache.ts";
import { readPatches } from "./survey/patches.ts";
import { openReaders, type Readers, type Surveyed } from "./survey/readers.ts";
import { type Copies, copiesOf } from "./survey-copies.ts";
import { UNPATCHED } from "./target/ahead.ts";
import { publish } from "./target/channel.ts";
import { isDeadLink } from "./target/dead-link.ts";
import { filesLeaving, lookOf, looksByName, openIndexState } from "./target/index-state.ts";
import { readIndex, readIndexFile } from "./target/read-index.ts";
import type { Store, StoredFile } from "./target/store.ts";
import type { Addition, PublishedSubdir, SubdirWish } from "./target/subdir-job.ts";

export interface IndexOptions extends ChannelOptions {
  /** Subdirs to look at; all that are there when absent. */
  readonly subdirs?: readonly string[];
  /** Patch instructions: a folder or a package with `<subdir>/patch_instructions.json`. */
  readonly patch?: string;
  /** Threads that read packages; as many as the machine has processors when absent. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: IndexEvent) => void;
  /** Milliseconds since 1970; default: the system's clock. */
  readonly now?: () => number;
}

/**
 * Builds or refreshes the index of a channel in a folder: reads packages that are new or changed, drops the records of
 * those that are gone, and writes the index files that change. One bad package is reported and left out, the others go on.
 * @throws UsageError for wrong options or configuration, TargetError when the channel can't be read or written.
 */
export async function indexChannel(options: IndexOptions): Promise<IndexReport> {
  const began = performance.now();
  const held = new AsyncDisposableStack();
  const warn = (message: string) => options.onEvent?.({ type: "warning", message });
  try {
    const { settings, store } = await openChannel(options, held, warn);
    const subdirs = await subdirsOf(store, options.subdirs ?? [], warn);
    const run = await openRun(store, settings, options, held);
    const wishes = new Map<string, SubdirWish>();
    const looked = new Map<string, Looked>();
    const patches = options.patch === undefined ? new Map<string, Patch>() : await readPatches(options.patch, warn);
    for (const subdir of subdirs) {
      const surveyed = run.signal.aborted ? undefined : await unlessInterrupted(survey(subdir, run), run);
      // What was read of other subdirs is indexed.
      if (!surveyed) break;
      const patch = patches.get(subdir);
      wishes.set(subdir, patch ? { ...surveyed.wish, patch } : surveyed.wish);
      looked.set(subdir, surveyed);
    }
    // They end while the index is written.
    void run.readers.close();
    const now = (options.now ?? Date.now)();
    // No signal: after an interruption, what was read must be in the index.
    const nothing = run.signal.aborted && wishes.size === 0;
    const published = nothing ? [] : await publish(store, wishes, { files: indexFilesOf(settings), warn, now });
    for (const p of published) {
      run.emit({ type: "published", ...p });
      const seen = looked.get(p.subdir);
      // Of a subdir that was not looked at, or whose index another writer changed meanwhile, nobody knows whether all files are there.
      const covered = seen?.whole && seen.indexed === p.from ? coveredAs(p.version, seen.elsewhere) : undefined;
      run.cache.remember(p.subdir, seen?.files ?? [], covered);
    }
    const { write_channeldata, write_html } = settings;
    const job: ChannelJob = {
      store,
      cache: run.cache,
      published,
      channeldata: write_channeldata,
      html: write_html,
      removesStale: true,
      unread: (packages) =>
        warn(
          `channeldata.json is not brought up to date, but for what is gone: of the packages that are listed, ${packages} were not read (they lie elsewhere, in subdirs that were left out, or could not be read)`,
        ),
      warn,
    };
    const written = nothing ? [] : await store.exclusive(() => publishChannelFiles(job));
    return report(run, published, written, began);
  } finally {
    // What was opened last is closed first.
    await held.disposeAsync();
  }
}

const close = (one: { close(): void | Promise<void> }): Promise<void> => Promise.resolve(one.close());

async function openRun(
  store: Store,
  settings: Settings,
  options: IndexOptions,
  held: AsyncDisposableStack,
): Promise<Run> {
  const threads = options.threads ?? availableParallelism();
  const readers = held.adopt(openReaders(threads, { facts: settings.write_channeldata }), close);
  const cache = await cachePath(store);
  // Without notes on what was read everything has to be.
  if (cache !== undefined && !existsSync(cache)) readers.prepare();
  return {
    store,
    settings,
    signal: options.signal ?? new AbortController().signal,
    emit: options.onEvent ?? (() => undefined),
    readers,
    cache: held.adopt(await openFileCache(cache), close),
    failed: [],
    counts: { read: 0, kept: 0, removed: 0 },
  };
}

interface Counts {
  read: number;
  kept: number;
  removed: number;
}

interface Run {
  readonly store: Store;
  readonly settings: Settings;
  readonly signal: AbortSignal;
  readonly emit: (event: IndexEvent) => void;
  readonly readers: Readers;
  readonly cache: FileCache;
  readonly failed: IndexReport["failed"][number][];
  readonly counts: Counts;
}

/** What came of looking at a subdir's folder. */
interface Looked {
  readonly wish: SubdirWish;
  readonly files: readonly ReadFile[];
  /** The version of the `repodata.json` that it was held against; undefined when there was none. */
  readonly indexed: string | undefined;
  /** Whether every record is of a file that was read, now or earlier, once the wish is fulfilled. */
  readonly whole: boolean;
  /** Whether packages lie elsewhere (CEP 15), so that there may be records without a file. */
  readonly elsewhere: boolean;
}

/** In a folder one look tells whether shards were deleted; elsewhere that is asked for in portions, and verify does it. */
function shardsToo({ folder }: Store): Pick<SubdirWish, "checkShards"> {
  return folder === undefined ? {} : { checkShards: true };
}

/** How the notes on what was read tell which index lists it: where packages lie elsewhere that index lists maybe more. */
function coveredAs(version: string, elsewhere: boolean): string {
  return elsewhere ? `${version} elsewhere` : version;
}

/** What a subdir's folder holds, against what its index says: what has to be read, and what becomes of the index. */
async function survey(subdir: string, run: Run): Promise<Looked> {
  const { store, cache, signal } = run;
  const listed = new Map<string, string>();
  const passed = new Map<string, StoredFile>();
  const state = (await openIndexState(store)).get(subdir);
  const leaving = filesLeaving(state);
  const kept = looksByName(state?.kept);
  for await (const file of store.list(subdir, signal)) {
    const fileName = file.path.slice(subdir.length + 1);
    if (!formatOf(fileName) || fileName.startsWith(".")) continue;
    const look = leaving.size + kept.size > 0 ? lookOf(file) : undefined;
    if (look !== undefined && (leaving.get(fileName) ?? kept.get(fileName)) === look) passed.set(fileName, file);
    else listed.set(fileName, file.version);
  }
  tellOfPassed(subdir, [...passed.keys()].filter((f) => leaving.has(f)).length, passed.size, run);
  const cached = cache.files(subdir);
  const unchanged = (fileName: string, version: string) => {
    const known = cached.get(fileName);
    return known?.version === version && (known.hasFacts || !run.settings.write_channeldata);
  };
  const indexed = await store.stat(`${subdir}/repodata.json`, signal);
  const covered = cache.covered(subdir);
  const wasElsewhere = indexed !== undefined && covered === coveredAs(indexed.version, true);
  const same =
    indexed !== undefined &&
    // Where `base_url` goes, packages that lie elsewhere go with it.
    (covered === coveredAs(indexed.version, false) || (wasElsewhere && run.settings.base_url !== "")) &&
    cached.size === listed.size &&
    [...listed].every(([fileName, version]) => unchanged(fileName, version));
  if (same) {
    run.counts.kept += listed.size;
    const exported = run.settings.write_run_exports ? await knownRunExports(subdir, run) : {};
    const wish = { additions: [], ...shardsToo(store), ...exported };
    return { wish, files: [], indexed: indexed.version, whole: true, elsewhere: wasElsewhere };
  }
  const { index, jsonVersion } = await readIndex(store, subdir, signal);
  // A run died that was about to take them out.
  for (const [fileName, { version }] of passed) if (findRecord(index, fileName)) listed.set(fileName, version);
  const toRead: string[] = [];
  for (const [fileName, version] of listed) {
    const record = findRecord(index, fileName);
    const { sha256, md5 } = record ? recordFacts(record) : {};
    const known = unchanged(fileName, version) && (sha256 === undefined || sha256 === cached.get(fileName)?.sha256);
    // Of an object that was written in one piece the version is its MD5: nothing has to be remembered.
    const told = md5 !== undefined && md5 === version && !run.settings.write_channeldata;
    if (record && (known || told)) run.counts.kept++;
    else toRead.push(fileName);
  }
  const missing = new Set<string>();
  // Where packages lie elsewhere (CEP 15) their absence says nothing.
  const elsewhere = liesElsewhere(subdir, run.settings.base_url ?? infoValue(index)["base_url"]);
  if (!elsewhere) {
    for (const { fileName } of eachRecord(index)) if (!listed.has(fileName)) missing.add(fileName);
    // What a patch hides is listed there alone.
    const from = await readIndexFile(store, `${subdir}/${UNPATCHED}`, signal);
    if (from) for (const { fileName } of eachRecord(from.index)) if (!listed.has(fileName)) missing.add(fileName);
  }
  const unreadable = leadingNowhere(subdir, missing, run);
  run.counts.removed += missing.size;
  cache.forget(
    subdir,
    [...cached.keys()].filter((fileName) => !listed.has(fileName)),
  );
  const { additions, files, refused } = await readAll(subdir, toRead, listed, run);
  return {
    wish: { additions, missing, remove: refused, ...shardsToo(store), ...(await knownRunExports(subdir, run)) },
    files,
    indexed: jsonVersion,
    whole: unreadable === 0 && additions.length + refused.size === toRead.length,
    elsewhere,
  };
}

/**
 * Takes packages out of those that are missing which are links to where nothing is: a disk with a pool of packages may not be there
 * at the moment. They are told of, and their records stay. Gives how many there are.
 */
function leadingNowhere(subdir: string, missing: Set<string>, { store, failed }: Run): number {
  let found = 0;
  for (const fileName of missing) {
    if (!isPackageName(fileName) || !isDeadLink(store, `${subdir}/${fileName}`)) continue;
    missing.delete(fileName);
    found++;
    const error = new PackageError("UNREADABLE", {
      what: `${subdir}/${fileName}: could not be read`,
      why: "it is a link that leads nowhere",
      next: "its record stays as it is; bring back what it leads to, or remove the link, and run index again",
    });
    failed.push({ subdir, fileName, error });
  }
  return found;
}

/** Warns of files that are passed over, since their records were taken out. */
function tellOfPassed(subdir: string, leaving: number, all: number, { emit }: Run): void {
  const warn = (count: number, one: string, many: string) => {
    const told = count === 1 ? `1 package was ${one}` : `${count} packages were ${many}`;
    if (count > 0)
      emit({ type: "warning", message: `${subdir}: ${told}; put one there anew, or touch it, to have it indexed` });
  };
  warn(leaving, "taken out of the channel and waits to be removed", "taken out of the channel and wait to be removed");
  warn(all - leaving, "taken out of the index and stays as a file", "taken out of the index and stay as files");
}

/** What comes of a work; undefined where an interruption ended it. */
async function unlessInterrupted<T>(work: Promise<T>, { signal }: Run): Promise<T | undefined> {
  try {
    return await work;
  } catch (e) {
    if (isInterruption(e, signal)) return undefined;
    throw e;
  }
}

/** Run exports are asked of the cache only where there is no run_exports.json to keep them. */
async function knownRunExports(subdir: string, run: Run): Promise<Pick<SubdirWish, "runExports">> {
  // No signal: what was read shall not be lost to an interruption.
  if (await run.store.stat(`${subdir}/run_exports.json`)) return {};
  const known = new Map<string, Uint8Array>();
  for (const { fileName, runExports } of run.cache.runExports(subdir)) known.set(fileName, Buffer.from(runExports));
  return { runExports: known };
}

async function readAll(
  subdir: string,
  toRead: readonly string[],
  versions: ReadonlyMap<string, string>,
  run: Run,
): Promise<{ additions: Addition[]; files: ReadFile[]; refused: Set<string> }> {
  const additions: Addition[] = [];
  const files: ReadFile[] = [];
  const refused = new Set<string>();
  run.emit({ type: "reading", subdir, packages: toRead.length });
  const atOnce = run.settings.max_concurrent_downloads;
  for await (const one of surveyed(copiesOf(run.store, subdir, toRead, atOnce, run.signal), subdir, run)) {
    const { fileName } = one;
    if (one.ok) {
      const { sha256, record, v3, runExports, facts } = one;
      additions.push({ subdir, fileName, record, sha256, v3, runExports });
      const text = Buffer.from(runExports).toString("utf8");
      files.push({ fileName, version: versions.get(fileName) as string, sha256, runExports: text, facts });
      for (const w of one.warnings) run.emit({ type: "warning", message: `${subdir}/${fileName}: ${w}` });
      run.counts.read++;
    } else {
      const error = inSubdir(subdir, fileName, one.error);
      run.failed.push({ subdir, fileName, error });
      // A file that could not be looked at may be fine; of one that is no package clients must not hear.
      if (one.error.code !== "UNREADABLE" && one.error.code !== "CHANGED") refused.add(fileName);
    }
    run.emit({ type: "read", subdir, fileName, ...(one.ok ? {} : { error: inSubdir(subdir, fileName, one.error) }) });
  }
  return { additions, files, refused };
}

/** An error about a package with the folder that it lies in: two subdirs may have files of one name. */
function inSubdir(subdir: string, fileName: string, error: MirrorError): MirrorError {
  if (!(error instanceof PackageError) || !error.what.startsWith(fileName)) return error;
  const { code, what, why, next, cause } = error;
  return new PackageError(code as PackageCode, { what: `${subdir}/${what}`, why, next, cause });
}

async function* surveyed(copies: AsyncIterable<Copies>, subdir: string, run: Run): AsyncGenerator<Surveyed> {
  for await (const { folder, fileNames, failed } of copies) {
    for (const { fileName, error } of failed) yield { fileName, ok: false, error };
    yield* run.readers.read(folder, subdir, fileNames, run.signal);
  }
}

function report(
  run: Run,
  published: readonly PublishedSubdir[],
  written: readonly string[],
  began: number,
): IndexReport {
  return {
    channel: run.store.where,
    ...run.counts,
    failed: run.failed,
    subdirs: published.map(({ subdir, records }) => ({ subdir, records })),
    written: [...published.flatMap((p) => p.written), ...written],
    milliseconds: Math.round(performance.now() - began),
    interrupted: run.signal.aborted,
    exitCode: run.signal.aborted ? 130 : run.failed.length > 0 ? 1 : 0,
  };
}
