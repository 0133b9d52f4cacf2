import { updateChannelFiles } from "./channel-files.ts";
import { type ChoiceOptions, type Rules, readRules } from "./choose/rules.ts";
import { isSubdir } from "./conda/file-name.ts";
import { indexFilesOf } from "./config/index-files.ts";
import type { Settings } from "./config/settings.ts";
import { InterruptedError, isInterruption, TargetError, UsageError } from "./errors.ts";
import type { PlannedStep, PruneEvent, PruneReport } from "./events.ts";
import { letGo, letGoIndex } from "./index/let-go.ts";
import { emptyRepodata } from "./index/repodata.ts";
import { type ChannelOptions, cachePath, openChannel } from "./open-channel.ts";
import { type PrunedSubdir, pruneIndex } from "./prune-subdir.ts";
import { guardOne, mostOf } from "./removal.ts";
import { subdirsOf } from "./subdirs-of.ts";
import { openFileCache } from "./survey/file-cache.ts";
import { RUN_EXPORTS, UNPATCHED } from "./target/ahead.ts";
import { publish } from "./target/channel.ts";
import { filesLeaving, openIndexState } from "./target/index-state.ts";
import { type LeftIn, leftIn } from "./target/left-in.ts";
import { readIndex, readIndexFile } from "./target/read-index.ts";
import type { Store } from "./target/store.ts";
import type { PublishedSubdir, PublishOptions, SubdirWish } from "./target/subdir-job.ts";

export interface PruneOptions extends ChoiceOptions, ChannelOptions {
  /** Subdirs to look at; all that are there when absent. */
  readonly subdirs?: readonly string[];
  /** What the packages that stay need stays too, as far as the channel has it. */
  readonly withDeps?: boolean;
  /** Only records go; files stay for ever, for lock files that name them. */
  readonly keepRemoved?: boolean;
  /** How much of a subdir may go, as `5%` or as a number of packages. Default: anything but all that was looked at. */
  readonly maxDelete?: string;
  /** Make the plan, change nothing. */
  readonly dryRun?: boolean;
  /** Tell why packages stay or go, and do nothing else: a file's name, a name or a MatchSpec. */
  readonly explain?: string;
  /** Ends the run early. What was not done yet is done by the next run. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: PruneEvent) => void;
  /** Milliseconds since 1970; default: the system's clock. */
  readonly now?: () => number;
}

/**
 * Removes from a channel what rules don't want: records from every file of the index first, files after their grace period. The
 * channel becomes what a mirror of it by the same rules would be. Without rules only what is left over goes: files whose grace
 * period ended, shards that no index names, and what runs that were killed left behind.
 * @throws UsageError for wrong options or configuration, TargetError when the channel can't be read or written, or when more would go
 *   than was allowed; InterruptedError
 */
export async function prune(options: PruneOptions): Promise<PruneReport> {
  const began = performance.now();
  const now = (options.now ?? Date.now)();
  const rules = await readRules(options, now);
  const most = options.maxDelete === undefined ? undefined : mostOf(options.maxDelete);
  if (options.withDeps && !rules) throw withoutRules();
  const emit = options.onEvent ?? (() => undefined);
  const warn = (message: string) => emit({ type: "warning", message });
  const signal = options.signal ?? new AbortController().signal;
  const held = new AsyncDisposableStack();
  try {
    const { settings, store } = await openChannel(options, held, warn);
    const subdirs = await subdirsOf(store, options.subdirs ?? [], warn);
    const run: Run = { store, subdirs, rules, settings, options, signal, emit, now, warn };
    if (options.explain !== undefined)
      return report(run, began, { explanations: await explained(options.explain, run) });
    const pruned = await lookAt(run);
    guard(
      pruned.map((p) => p.chosen),
      most,
      run,
    );
    if (options.dryRun) {
      const left = await store.leftovers?.(false, now, signal);
      const losing = options.withDeps || !rules ? undefined : await losingIn(pruned, run);
      return report(run, began, { pruned, plan: planOf(pruned, run), left, losing });
    }
    const published = await carryOut(pruned, run);
    const written = published.some((p) => p.written.length > 0) ? await updateTop(published, run) : [];
    const left = await store.leftovers?.(true, now, signal);
    return report(run, began, { pruned, published, written, left });
  } catch (e) {
    throw isInterruption(e, signal) && signal.aborted ? new InterruptedError(e) : e;
  } finally {
    await held.disposeAsync();
  }
}

function withoutRules(): UsageError {
  return new UsageError("BAD_FLAG", {
    what: "--with-deps without a rule",
    why: "without rules no package goes",
    next: "say what shall stay, such as --latest 3, or leave the flag out",
  });
}

interface Run {
  readonly store: Store;
  readonly subdirs: readonly string[];
  readonly rules: Rules | undefined;
  readonly settings: Settings;
  readonly options: PruneOptions;
  readonly signal: AbortSignal;
  readonly emit: (event: PruneEvent) => void;
  readonly now: number;
  readonly warn: (message: string) => void;
}

/** What is to become of a subdir. */
interface Looked {
  readonly chosen: PrunedSubdir;
  /** What is left over there already. */
  readonly left: LeftIn;
}

function publishOptions({ settings, warn, now }: Run): PublishOptions & { readonly deleteGraceMs: number } {
  const files = indexFilesOf(settings);
  // The old solver's index takes longer than all others together: it is kept up to date, and begun by `index` alone.
  const currentRepodata = files.currentRepodata ? ("keep" as const) : false;
  const deleteGraceMs = settings.delete_grace_days * DAY;
  return { files: { ...files, currentRepodata }, warn, now, deleteGraceMs, alone: true };
}

const DAY = 24 * 60 * 60 * 1000;

/** Reads every index before anything goes: one that can't be read stops the run. One is in memory at a time. */
async function lookAt(run: Run): Promise<Looked[]> {
  const { store, rules, signal, emit } = run;
  const looked: Looked[] = [];
  const needed = run.options.withDeps && rules ? await neededBy(rules, run) : undefined;
  const state = await openIndexState(store);
  for (const subdir of run.subdirs) {
    signal.throwIfAborted();
    for (const name of rules ? [UNPATCHED, RUN_EXPORTS] : []) {
      const file = await readIndexFile(store, `${subdir}/${name}`, signal);
      if (file) letGoIndex(file.index);
    }
    // Without rules it tells only which of the files that are to go have come back.
    const asks = rules !== undefined || filesLeaving(state.get(subdir)).size > 0;
    const index = asks ? (await readIndex(store, subdir, signal)).index : emptyRepodata(subdir);
    const chosen = rules
      ? pruneIndex(index, subdir, store.where, rules, needed?.get(subdir), run.options.dryRun)
      : { subdir, listed: 0, gone: new Set<string>(), goneBytes: 0, keptBytes: 0 };
    // What is left over goes along where something goes.
    const left =
      chosen.gone.size === 0 || run.options.dryRun
        ? await leftIn(store, subdir, index, state.get(subdir), publishOptions(run), signal)
        : { packages: 0, shards: 0, bytes: 0, waiting: 0 };
    looked.push({ chosen, left });
    letGo(index.bytes);
    if (rules) emit({ type: "chosen", subdir, kept: chosen.listed - chosen.gone.size, removed: chosen.gone.size });
  }
  return looked;
}

/** Files that the packages need which stay, by subdir. Packages that can't be installed here anyway are told of. */
async function neededBy(rules: Rules, run: Run): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const { store, subdirs, signal, warn } = run;
  const { neededInChannel } = await import("./prune-deps.ts");
  const all = (await store.folders(signal)).filter(isSubdir);
  const { files, unsolved } = await neededInChannel(store, all, subdirs, rules, signal);
  const [first] = unsolved;
  if (first)
    warn(
      `what these need that stay does not go together in this channel, so that of each dependency the best one stays: ${first.root.subdir}/${first.root.fileName}${unsolved.length > 1 ? ` and ${unsolved.length - 1} more` : ""}`,
    );
  return files;
}

/**
 * Stops a run whose rules leave nothing of what was looked at, or less than was allowed.
 * @throws TargetError MAX_DELETE
 */
function guard(all: readonly PrunedSubdir[], most: ReturnType<typeof mostOf> | undefined, { store, warn }: Run): void {
  const listed = sum(all, (p) => p.listed);
  const going = sum(all, (p) => p.gone.size);
  if (most) {
    const gone = all.map(({ subdir, gone: { size }, listed: count }) => {
      return { subdir, gone: [], takenBack: [], going: size, listedTakenBack: 0, listed: count };
    });
    guardOne(store.where, gone, most, "");
  } else if (going > 0 && going === listed) {
    throw new TargetError("MAX_DELETE", {
      what: `${store.where}: nothing would be left`,
      why: `the rules want none of its ${listed} packages`,
      next: "nothing was changed; see with --explain PACKAGE what is against one; if it is right, run again with --max-delete 100%",
    });
  }
  for (const { subdir, gone, listed: count } of all)
    if (count > 0 && gone.size === count) warn(`${subdir}: the rules want none of its ${count} packages`);
}

function planOf(looked: readonly Looked[], { store }: Run): PlannedStep[] {
  return looked.flatMap(({ chosen: { subdir, gone, sizes = [] } }) =>
    [...gone].map((fileName, i): PlannedStep => {
      const bytes = sizes[i] ?? Number.NaN;
      return { do: "remove", fileName, subdir, ...(Number.isNaN(bytes) ? {} : { bytes }), origin: store.where };
    }),
  );
}

/** How many packages that stay lose a dependency. */
async function losingIn(looked: readonly Looked[], { store, signal }: Run): Promise<number> {
  const gone = new Map(looked.map(({ chosen }) => [chosen.subdir, chosen.gone] as const));
  if (![...gone.values()].some((files) => files.size > 0)) return 0;
  const { countLosing } = await import("./prune-losses.ts");
  const all = (await store.folders(signal)).filter(isSubdir);
  return countLosing(all, gone, async (subdir) => (await readIndex(store, subdir, signal)).index, signal);
}

/** Takes records out, and removes files whose time has come. Where there is nothing to do, nothing is touched. */
async function carryOut(looked: readonly Looked[], run: Run): Promise<PublishedSubdir[]> {
  const { store, options, signal, emit } = run;
  const wishes = new Map<string, SubdirWish>();
  for (const { chosen, left } of looked) {
    const { subdir, gone } = chosen;
    if (gone.size > 0) {
      const goes: Partial<SubdirWish> = options.keepRemoved
        ? { takenBack: gone }
        : { remove: gone, removeFiles: "gone" };
      wishes.set(subdir, { additions: [], ...goes, cleanUp: true });
    } else if (left.packages + left.shards > 0) wishes.set(subdir, { additions: [], cleanUp: true });
  }
  if (wishes.size === 0) return [];
  const published = await publish(store, wishes, publishOptions(run), signal);
  for (const { subdir, records, written } of published) emit({ type: "published", subdir, records, written });
  return published;
}

/** What tells of the whole channel, where it is there. */
async function updateTop(published: readonly PublishedSubdir[], { store, warn }: Run): Promise<string[]> {
  const cache = await openFileCache(await cachePath(store));
  try {
    return await store.exclusive(() => updateChannelFiles({ store, cache, published }, warn));
  } finally {
    cache.close();
  }
}

async function explained(text: string, { store, subdirs, rules, signal }: Run): Promise<PruneReport["explanations"]> {
  const { explainRecords, readAsked } = await import("./choose/explain.ts");
  const asked = await readAsked(text);
  const out = [];
  for (const subdir of subdirs) {
    const { index } = await readIndex(store, subdir, signal);
    for (const one of explainRecords(index, subdir, asked, { channel: store.where, subdir }, rules)) out.push(one);
    letGo(index.bytes);
  }
  return out;
}

function report(
  { store, signal, options }: Run,
  began: number,
  told: {
    readonly pruned?: readonly Looked[];
    readonly published?: readonly PublishedSubdir[];
    readonly written?: readonly string[];
    readonly left?: { readonly files: number; readonly bytes: number } | undefined;
    readonly plan?: readonly PlannedStep[];
    readonly losing?: number | undefined;
    readonly explanations?: PruneReport["explanations"];
  },
): PruneReport {
  const { pruned = [], published = [], written = [], left, plan, losing, explanations } = told;
  const freed = options.dryRun ? pruned.map((p) => p.left) : published.flatMap((p) => p.freed ?? []);
  const subdirs = pruned.map(({ chosen: { subdir, listed, gone, goneBytes, keptBytes } }) => ({
    subdir,
    kept: listed - gone.size,
    keptBytes,
    removed: gone.size,
    removedBytes: goneBytes,
  }));
  return {
    channel: store.where,
    kept: sum(subdirs, (s) => s.kept),
    keptBytes: sum(subdirs, (s) => s.keptBytes),
    removed: sum(subdirs, (s) => s.removed),
    removedBytes: sum(subdirs, (s) => s.removedBytes),
    freed: {
      packages: sum(freed, (f) => f.packages),
      shards: sum(freed, (f) => f.shards),
      leftovers: left?.files ?? 0,
      bytes: sum(freed, (f) => f.bytes) + (left?.bytes ?? 0),
    },
    waiting: sum(
      pruned.map(({ chosen, left: before }) => {
        const done = published.find((p) => p.subdir === chosen.subdir);
        return done ? (done.waiting ?? 0) : before.waiting;
      }),
      (count) => count,
    ),
    subdirs,
    written: [...published.flatMap((p) => p.written), ...written],
    ...(plan ? { plan } : {}),
    ...(losing === undefined ? {} : { losing }),
    ...(explanations ? { explanations } : {}),
    milliseconds: Math.round(performance.now() - began),
    interrupted: signal.aborted,
    exitCode: signal.aborted ? 130 : 0,
  };
}

function sum<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0);
}
