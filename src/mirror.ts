import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type Brought, bring } from "./bring.ts";
import { parseFileName } from "./conda/file-name.ts";
import { indexFilesOf } from "./config/index-files.ts";
import { loadSettings } from "./config/load.ts";
import type { PartialSettings, Settings } from "./config/settings.ts";
import { describePlan } from "./dry-run.ts";
import { asMirrorError, InterruptedError, type MirrorError, UsageError } from "./errors.ts";
import type { MirrorEvent, MirrorReport, Outcome } from "./events.ts";
import type { IndexFiles } from "./index/index-files.ts";
import { makePlan, type OnConflict, type Present, type Step } from "./plan/plan.ts";
import { channelLookup } from "./source/channel-lookup.ts";
import { openSource } from "./source/kinds.ts";
import type { PackageRef, Source } from "./source/source.ts";
import { parseMirrorOf } from "./source/url.ts";
import { publish, wishesFor } from "./target/channel.ts";
import { findPresent } from "./target/find-present.ts";
import { openTarget } from "./target/kinds.ts";
import { openSeen, type Seen } from "./target/seen.ts";
import type { Store } from "./target/store.ts";
import { type HttpSettings, openHttp, proxiesOf } from "./transfer/http.ts";
import { pool } from "./transfer/pool.ts";
import { type Receivers, startReceivers } from "./transfer/receivers.ts";
import { redactUrl } from "./transfer/redact.ts";
import { type Clock, type RetryOptions, systemClock } from "./transfer/retry.ts";

export interface MirrorOptions {
  /** URLs of packages, files, folders or globs. */
  readonly sources: readonly string[];
  /** The type of all sources; inferred from each when absent. */
  readonly sourceType?: string;
  /** The channel's folder. */
  readonly target: string;
  /** Inferred from `target` when absent. */
  readonly targetType?: string;
  /** What to do about a file of the same name and other bytes. Default: "error". */
  readonly onConflict?: OnConflict;
  /** Make the plan, change nothing. */
  readonly dryRun?: boolean;
  /** "URL=URL": what lies below the first can be had below the second too. */
  readonly mirrorOf?: readonly string[];
  /** Settings that are stronger than those of the environment and the file. */
  readonly settings?: PartialSettings;
  /** A configuration file. */
  readonly config?: string;
  /** Ends the run early: transfers stop, what was finished is indexed. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: MirrorEvent) => void;
  /** Default: process.env */
  readonly env?: NodeJS.ProcessEnv;
  /** Default: the system's clock. */
  readonly clock?: Clock;
}

/**
 * Copies packages from sources into a channel and indexes it.
 * A package that fails is reported and the others go on; what can't begin at all throws.
 * @throws UsageError for wrong options or configuration, TargetError when the channel can't be read or written.
 */
export async function mirror(options: MirrorOptions): Promise<MirrorReport> {
  const began = performance.now();
  const settings = await loadSettings({
    file: options.config,
    env: options.env ?? process.env,
    flags: options.settings ?? {},
  });
  if (options.sources.length === 0)
    throw new UsageError("NO_SOURCE", {
      what: "no source",
      why: "mirror was not told which packages to take",
      next: "give a package's URL, a file, a folder or a glob",
    });
  const run = await openRun(options, settings);
  try {
    const { refs, failures } = await offered(run.sources, run);
    const present = await findPresent(run.store, new Set(refs.map((r) => r.fileName)), run.signal);
    const plan = makePlan(refs, present, run.onConflict);
    if (options.dryRun) {
      const steps = await describePlan(plan, {
        onConflict: run.onConflict,
        concurrency: settings.max_concurrent_downloads,
        signal: run.signal,
      });
      const refused = steps.flatMap((s) => (s.error ? [failed(s.fileName, s.origin, s.error)] : []));
      for (const f of refused) run.emit({ type: "finished", result: f });
      return report(run, began, [...failures, ...refused], steps);
    }

    const results = await carryOut(plan, present, run);
    // Threads take a while to end; the index is written meanwhile.
    void run.receivers.close();
    const additions = results.flatMap((r) => r.addition ?? []);
    const outcomes = [...failures, ...results.map((r) => r.outcome)];
    // Also after an interruption: what is in place must be in the index.
    if (additions.length > 0 || outcomes.some((o) => o.outcome === "kept")) {
      const warn = (message: string) => run.emit({ type: "warning", message });
      const options = { files: filesOf(settings), warn, now: run.retry.clock.now() };
      for (const p of await publish(run.store, wishesFor(additions), options)) run.emit({ type: "published", ...p });
      await run.seen.save(run.store).catch((e: Error) => warn(`what was seen could not be remembered: ${e.message}`));
    }
    return report(run, began, outcomes);
  } finally {
    await run.close();
  }
}

/** The old solver's index takes longer than all others together: it is kept up to date, and begun by `index` alone. */
function filesOf(settings: Settings): IndexFiles {
  const files = indexFilesOf(settings);
  return files.currentRepodata ? { ...files, currentRepodata: "keep" } : files;
}

/** Threads that bring packages: each fetches, hashes, reads and writes, so that one for every core keeps it busy. */
const MOST_THREADS = 4;

/** Everything that one run holds open. */
export interface Run {
  readonly store: Store;
  readonly sources: readonly Source[];
  readonly signal: AbortSignal;
  readonly settings: Settings;
  readonly retry: Omit<RetryOptions, "signal">;
  readonly receivers: Receivers;
  readonly onConflict: OnConflict;
  readonly seen: Seen;
  readonly emit: (event: MirrorEvent) => void;
  /** A new name in the staging folder. */
  stagedPath(): Promise<string>;
  close(): Promise<void>;
}

async function openRun(options: MirrorOptions, settings: Settings): Promise<Run> {
  const store = await openTarget(options.target, options.targetType);
  const signal = options.signal ?? new AbortController().signal;
  const clock = options.clock ?? systemClock;
  const totalTimeoutMs = settings.timeout_seconds * 1000;
  const requests: HttpSettings = {
    connections: settings.max_concurrent_downloads,
    totalTimeoutMs,
    tokens: settings,
    proxies: proxiesOf(options.env ?? process.env),
  };
  const http = openHttp(requests);
  const retry = { attempts: settings.retry_attempts, longestWaitMs: totalTimeoutMs, clock };
  const context = { http, channels: channelLookup(http, retry), mirrors: (options.mirrorOf ?? []).map(parseMirrorOf) };
  const sources = options.sources.map((text) => openSource(text, options.sourceType, context));
  const seen = await openSeen(store);
  // Last, when nothing can fail any more: a thread keeps the process alive until it is ended.
  const receivers = startReceivers(Math.min(MOST_THREADS, availableParallelism()), sources.length, requests, signal);
  let staged = 0;
  return {
    stagedPath: async () => join(await store.staging(), String(staged++)),
    store,
    signal,
    retry,
    receivers,
    settings,
    sources,
    onConflict: options.onConflict ?? "error",
    seen,
    emit: options.onEvent ?? (() => undefined),
    async close() {
      await Promise.all([receivers.close(), http.close()]);
      await store.close();
    },
  };
}

/** Every package on offer, and the sources that could not be read. */
async function offered(sources: readonly Source[], run: Run): Promise<{ refs: PackageRef[]; failures: Outcome[] }> {
  const failures: Outcome[] = [];
  const bySource: PackageRef[][] = sources.map(() => []);
  const enumerate = async ([source, i]: readonly [Source, number]): Promise<void> => {
    try {
      for await (const ref of source.packages(run.signal)) {
        // A name becomes a path in the target: nothing looks for it there before it is known to be harmless.
        const error = badName(ref.fileName);
        if (error) failures.push({ outcome: "failed", fileName: ref.fileName, origin: ref.origin, error });
        else bySource[i]?.push(ref);
      }
    } catch (e) {
      const error = run.signal.aborted ? new InterruptedError(e) : asMirrorError(e, source.what);
      if (error instanceof InterruptedError) return;
      failures.push({ outcome: "failed", fileName: source.what, origin: source.what, error });
    }
  };
  const numbered = sources.map((s, i) => [s, i] as const);
  for await (const _ of pool(numbered, run.settings.max_concurrent_downloads, enumerate, run.signal));
  for (const f of failures) run.emit({ type: "finished", result: f });
  return { refs: bySource.flat(), failures };
}

function failed(fileName: string, origin: string, error: MirrorError): Outcome {
  return { outcome: "failed", fileName, origin, error };
}

function badName(fileName: string): MirrorError | undefined {
  try {
    parseFileName(fileName);
    return undefined;
  } catch (e) {
    return asMirrorError(e, fileName);
  }
}

/** Brings what the plan asks for, a bounded number at once. */
async function carryOut(
  plan: readonly Step<PackageRef>[],
  present: ReadonlyMap<string, readonly Present[]>,
  run: Run,
): Promise<Brought[]> {
  const transfers = plan.filter((s) => s.do === "add" || s.do === "compare" || s.do === "replace");
  const sizes = transfers.map((s) => s.offer.size);
  const bytes = sizes.reduce<number>((sum, s) => sum + (s ?? 0), 0);
  run.emit({
    type: "planned",
    packages: transfers.length,
    bytes,
    unknownSizes: sizes.filter((s) => s === undefined).length,
  });
  const results: Brought[] = [];
  const take = (result: Brought) => {
    results.push(result);
    run.emit({ type: "finished", result: result.outcome });
  };
  for (const step of plan) {
    const { fileName, origin } = step.offer;
    if (step.do === "keep") take({ outcome: { outcome: "kept", fileName, subdir: step.present.subdir, origin } });
    else if (step.do === "skip")
      take({ outcome: { outcome: "skipped", fileName, subdir: step.present.subdir, origin } });
    else if (step.do === "refuse") take({ outcome: { outcome: "failed", fileName, origin, error: step.error } });
  }
  const claimed = new Map<string, string>();
  const names = new Map<string, number>();
  for (const { offer } of transfers) names.set(offer.fileName, (names.get(offer.fileName) ?? 0) + 1);
  const bringOne = async (step: Step<PackageRef>): Promise<Brought> => {
    const { fileName, origin } = step.offer;
    run.emit({ type: "started", fileName });
    try {
      return await bring(step.offer, present.get(fileName) ?? [], claimed, names.get(fileName) === 1, run);
    } catch (e) {
      const error: MirrorError = run.signal.aborted ? new InterruptedError(e) : asMirrorError(e, fileName);
      return { outcome: { outcome: "failed", fileName, origin, error } };
    }
  };
  for await (const result of pool(transfers, run.settings.max_concurrent_downloads, bringOne, run.signal)) take(result);
  return results;
}

function report(run: Run, began: number, outcomes: readonly Outcome[], plan?: MirrorReport["plan"]): MirrorReport {
  const count = (outcome: Outcome["outcome"]) => outcomes.filter((o) => o.outcome === outcome).length;
  const failures = outcomes.filter((o) => o.outcome === "failed" && !(o.error instanceof InterruptedError));
  const done = outcomes.length - failures.length;
  const unreachable =
    failures.length > 0 && done === 0 && failures.every((o) => o.outcome === "failed" && o.error.exitCode === 3);
  return {
    target: redactUrl(run.store.where),
    added: count("added"),
    replaced: count("replaced"),
    kept: count("kept"),
    skipped: count("skipped"),
    failed: failures.length,
    bytes: outcomes.reduce((sum, o) => sum + ("bytes" in o ? o.bytes : 0), 0),
    milliseconds: Math.round(performance.now() - began),
    interrupted: run.signal.aborted,
    ...(plan ? { plan } : {}),
    packages: outcomes.filter((o) => o.outcome !== "failed" || !(o.error instanceof InterruptedError)),
    exitCode: run.signal.aborted ? 130 : failures.length === 0 ? 0 : unreachable ? 3 : 1,
  };
}
