import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type Brought, bring, type Wanting } from "./bring.ts";
import { openClients } from "./clients.ts";
import { parseFileName } from "./conda/file-name.ts";
import { indexFilesOf } from "./config/index-files.ts";
import { loadSettings } from "./config/load.ts";
import type { PartialSettings, Settings } from "./config/settings.ts";
import { describePlan } from "./dry-run.ts";
import { asMirrorError, InterruptedError, type MirrorError, UsageError } from "./errors.ts";
import type { MirrorEvent, MirrorReport, Outcome, PlannedStep, TargetReport } from "./events.ts";
import type { IndexFiles } from "./index/index-files.ts";
import { makePlan, type OnConflict, type Present, type Step } from "./plan/plan.ts";
import { channelLookup } from "./source/channel-lookup.ts";
import { openSource, type SourceContext } from "./source/kinds.ts";
import { memberPattern } from "./source/member-pattern.ts";
import type { PackageRef, Source } from "./source/source.ts";
import { parseMirrorOf } from "./source/url.ts";
import { openTarget, type TargetContext } from "./target/kinds.ts";
import type { Target } from "./target/target.ts";
import { openHttp } from "./transfer/http.ts";
import { pool } from "./transfer/pool.ts";
import { type Receivers, startReceivers } from "./transfer/receivers.ts";
import { redactUrl } from "./transfer/redact.ts";
import { type Clock, type RetryOptions, systemClock } from "./transfer/retry.ts";
import { scratchFolder } from "./transfer/scratch.ts";
import { dependencies } from "./with-deps.ts";

export interface MirrorOptions {
  /** URLs of packages, files, folders or globs. */
  readonly sources: readonly string[];
  /** The type of all sources; inferred from each when absent. */
  readonly sourceType?: string;
  /** A regular expression: which members of an archive or artifact, by their whole inner path; every match is taken. */
  readonly sourcePath?: string;
  /** Where packages go: a channel's folder or address. Several: each package is fetched once. */
  readonly target: string | readonly string[];
  /** The type of all targets; inferred from each when absent. */
  readonly targetType?: string;
  /** What to do about a file of the same name and other bytes. Default: "error". */
  readonly onConflict?: OnConflict;
  /** Make the plan, change nothing. */
  readonly dryRun?: boolean;
  /** "URL=URL": what lies below the first can be had below the second too. */
  readonly mirrorOf?: readonly string[];
  /** A channel's name, URL or folder: what the packages need to be installed is taken from it as well. */
  readonly withDeps?: string;
  /** Platforms of lock files that are taken, and that `withDeps` solves for, such as "linux-64"; all of them when absent. */
  readonly platforms?: readonly string[];
  /** Environments (or categories) of lock files that are taken; all when absent. */
  readonly environments?: readonly string[];
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
    const plans = await planFor(refs, run);
    const deps =
      options.withDeps === undefined ? undefined : { channel: options.withDeps, platforms: options.platforms ?? [] };
    const neededBy = async (results: readonly Brought[]): Promise<PackageRef[]> => {
      if (!deps || run.signal.aborted) return [];
      const needed = await enumerated(deps.channel, run, () => dependencies(deps, results, refs, run));
      failures.push(...needed.failures);
      return needed.refs;
    };
    if (options.dryRun) {
      const { plan, would } = await told(plans, run);
      const more = await told(await planFor(await neededBy(would), run), run);
      const refused = [...would, ...more.would].filter((w) => w.outcome.outcome === "failed");
      return report(run, began, failures, refused, { plan: [...plan, ...more.plan] });
    }

    const results = await carryOut(plans, run);
    const needed = await neededBy(results);
    if (needed.length > 0) results.push(...(await carryOut(await planFor(needed, run), run)));
    // Threads take a while to end; the index is written meanwhile.
    void run.receivers.close();
    const published = await Promise.allSettled(
      run.targets.map((target) => {
        const ofTarget = results.filter((r) => r.target === target);
        return publish(target, ofTarget, run);
      }),
    );
    const lost = new Map<Target, MirrorError>();
    for (const [i, p] of published.entries()) {
      if (p.status === "fulfilled") continue;
      const target = run.targets[i] as Target;
      lost.set(target, asMirrorError(p.reason, redactUrl(target.where)));
    }
    // One of several is told in the report, which has more to tell; a run that has no other ends with it.
    if (run.targets.length === 1) for (const error of lost.values()) throw error;
    return report(run, began, failures, results, { lost });
  } finally {
    await run.close();
  }
}

/** What is to be done for one target. Steps of all targets are about the same offers, in the same order. */
interface TargetPlan {
  readonly target: Target;
  readonly present: ReadonlyMap<string, readonly Present[]>;
  readonly steps: readonly Step<PackageRef>[];
}

function planFor(refs: readonly PackageRef[], run: Run): Promise<TargetPlan[]> {
  return Promise.all(
    run.targets.map(async (target): Promise<TargetPlan> => {
      const present = await target.present(refs, run.signal);
      return { target, present, steps: makePlan(refs, present, run.onConflict) };
    }),
  );
}

/** What is on offer, or the failure to find out: what came before it stays and is indexed. */
async function enumerated(
  what: string,
  run: Run,
  offers: () => Promise<PackageRef[]>,
): Promise<{ refs: PackageRef[]; failures: Outcome[] }> {
  try {
    return { refs: await offers(), failures: [] };
  } catch (e) {
    if (run.signal.aborted) return { refs: [], failures: [] };
    const error = asMirrorError(e, what);
    const failure = failed(redactUrl(what), redactUrl(what), error);
    run.emit({ type: "finished", result: failure });
    return { refs: [], failures: [failure] };
  }
}

/** What a dry run tells, and what would become of each package. */
async function told(plans: readonly TargetPlan[], run: Run): Promise<{ plan: PlannedStep[]; would: Brought[] }> {
  const plan: PlannedStep[] = [];
  const would: Brought[] = [];
  for (const { target, steps } of plans) {
    const concurrency = run.settings.max_concurrent_downloads;
    for (const s of await describePlan(steps, { onConflict: run.onConflict, concurrency, signal: run.signal })) {
      plan.push(ofTarget(s, target, run));
      const { fileName, origin, error, subdir } = s;
      if (error) {
        const refused = failed(fileName, origin, error);
        would.push({ target, outcome: refused });
        run.emit({ type: "finished", result: refused });
      } else if (subdir !== undefined) would.push({ target, outcome: { outcome: "kept", fileName, subdir, origin } });
    }
  }
  return { plan, would };
}

/** Where there are several targets, what is told names the one it is about. */
function ofTarget<T extends object>(one: T, target: Target, run: Run): T {
  return run.targets.length > 1 ? { ...one, target: target.where } : one;
}

/** Also after an interruption: what is in place must be in the index. */
async function publish(target: Target, results: readonly Brought[], run: Run): Promise<void> {
  const additions = results.flatMap((r) => r.addition ?? []);
  if (additions.length === 0 && !results.some((r) => r.outcome.outcome === "kept")) return;
  const warn = (message: string) => run.emit({ type: "warning", message });
  const options = { files: filesOf(run.settings), warn, now: run.retry.clock.now() };
  for (const p of await target.publish(additions, options)) run.emit({ type: "published", ...p });
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
  readonly targets: readonly Target[];
  readonly sourceContext: SourceContext;
  readonly sources: readonly Source[];
  readonly signal: AbortSignal;
  readonly settings: Settings;
  readonly retry: Omit<RetryOptions, "signal">;
  readonly receivers: Receivers;
  readonly onConflict: OnConflict;
  readonly emit: (event: MirrorEvent) => void;
  /** A new name in the staging folder. */
  stagedPath(): Promise<string>;
  close(): Promise<void>;
}

async function openRun(options: MirrorOptions, settings: Settings): Promise<Run> {
  const signal = options.signal ?? new AbortController().signal;
  const clock = options.clock ?? systemClock;
  const env = options.env ?? process.env;
  const totalTimeoutMs = settings.timeout_seconds * 1000;
  const retry = { attempts: settings.retry_attempts, longestWaitMs: totalTimeoutMs, clock };
  const emit = options.onEvent ?? (() => undefined);
  const warn = (message: string) => emit({ type: "warning", message });
  const { requests, credentials, prove, api } = await openClients(settings, { env, now: () => clock.now(), warn });
  const http = openHttp(requests, prove);
  const targets = await openTargets(options, {
    env,
    api,
    credentials,
    retryAttempts: settings.retry_attempts,
    concurrency: settings.max_concurrent_downloads,
    clock,
    s3: { region: settings.s3_region, endpoint: settings.s3_endpoint },
    warn,
  });
  // A dry run leaves the target as it is.
  const scratch = scratchFolder(options.dryRun ? undefined : () => (targets[0] as Target).staging());
  const context: SourceContext = {
    http,
    api,
    credentials,
    retry,
    env,
    channels: channelLookup(http, retry),
    mirrors: (options.mirrorOf ?? []).map(parseMirrorOf),
    members: options.sourcePath === undefined ? undefined : memberPattern(options.sourcePath),
    lock: { environments: options.environments ?? [], platforms: options.platforms ?? [] },
    githubApiUrl: settings.github_api_url,
    azureDevopsUrl: settings.azure_devops_url,
    scratch: scratch.folder,
    warn,
  };
  const sources = options.sources.map((text) => openSource(text, options.sourceType, context));
  // Last, when nothing can fail any more: a thread keeps the process alive until it is ended.
  const threads = Math.min(MOST_THREADS, availableParallelism());
  const receivers = startReceivers(threads, sources.length, { http: requests, prove }, signal);
  let staged = 0;
  return {
    stagedPath: async () => join(await (targets[0] as Target).staging(), String(staged++)),
    targets,
    sourceContext: context,
    signal,
    retry,
    receivers,
    settings,
    sources,
    onConflict: options.onConflict ?? "error",
    emit,
    async close() {
      await Promise.all([receivers.close(), http.close()]);
      await scratch.remove();
      await Promise.all(targets.map((target) => target.close()));
      await api.close();
    },
  };
}

async function openTargets(options: MirrorOptions, context: TargetContext): Promise<Target[]> {
  const targets: Target[] = [];
  const texts = typeof options.target === "string" ? [options.target] : options.target;
  for (const text of texts.length > 0 ? texts : [""]) {
    const target = await openTarget(text, options.targetType, context);
    if (targets.some((t) => t.where === target.where)) await target.close();
    else targets.push(target);
  }
  // Packages wait where they can be linked from.
  return targets.sort((a, b) => Number(b.folder !== undefined) - Number(a.folder !== undefined));
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

/** Brings what the plans ask for, a bounded number at once. */
async function carryOut(plans: readonly TargetPlan[], run: Run): Promise<Brought[]> {
  const results: Brought[] = [];
  const take = ({ outcome, ...result }: Brought) => {
    const named = ofTarget(outcome, result.target, run);
    results.push({ ...result, outcome: named });
    run.emit({ type: "finished", result: named });
  };
  const transfers: { readonly ref: PackageRef; readonly wanting: Wanting[] }[] = [];
  const offers = plans[0]?.steps ?? [];
  for (const [i, { offer: ref }] of offers.entries()) {
    const wanting: Wanting[] = [];
    for (const { target, present, steps } of plans) {
      const step = steps[i] as Step<PackageRef>;
      const there = present.get(ref.fileName) ?? [];
      if (step.do === "add" || step.do === "compare" || step.do === "replace") wanting.push({ target, there });
      else take({ target, outcome: settled(step) });
    }
    if (wanting.length > 0) transfers.push({ ref, wanting });
  }
  const sizes = transfers.map((t) => t.ref.size);
  const bytes = sizes.reduce<number>((sum, s) => sum + (s ?? 0), 0);
  const unknownSizes = sizes.filter((s) => s === undefined).length;
  run.emit({ type: "planned", packages: transfers.length, bytes, unknownSizes });
  const names = new Map<string, number>();
  for (const { ref } of transfers) names.set(ref.fileName, (names.get(ref.fileName) ?? 0) + 1);
  const bringOne = async ({ ref, wanting }: (typeof transfers)[number]): Promise<readonly Brought[]> => {
    const { fileName, origin } = ref;
    run.emit({ type: "started", fileName });
    try {
      return await bring(ref, wanting, names.get(fileName) === 1, run);
    } catch (e) {
      const error: MirrorError = run.signal.aborted ? new InterruptedError(e) : asMirrorError(e, fileName);
      return wanting.map(({ target }) => ({ target, outcome: failed(fileName, origin, error) }));
    }
  };
  for await (const brought of pool(transfers, run.settings.max_concurrent_downloads, bringOne, run.signal))
    for (const one of brought) take(one);
  return results;
}

/** The outcome of a step that moves nothing. */
function settled(step: Extract<Step<PackageRef>, { do: "keep" | "skip" | "refuse" }>): Outcome {
  const { fileName, origin } = step.offer;
  if (step.do === "refuse") return failed(fileName, origin, step.error);
  return { outcome: step.do === "keep" ? "kept" : "skipped", fileName, subdir: step.present.subdir, origin };
}

function report(
  run: Run,
  began: number,
  failures: readonly Outcome[],
  results: readonly Brought[],
  { plan, lost }: { plan?: MirrorReport["plan"]; lost?: ReadonlyMap<Target, MirrorError> } = {},
): MirrorReport {
  const outcomes = [...failures, ...results.map((r) => r.outcome)];
  const isFailure = (o: Outcome) => o.outcome === "failed" && !(o.error instanceof InterruptedError);
  const failedOnes = outcomes.filter(isFailure);
  const unreachable =
    failedOnes.length > 0 &&
    failedOnes.length === outcomes.length &&
    failedOnes.every((o) => o.outcome === "failed" && o.error.exitCode === 3);
  const targets = run.targets.map((target): TargetReport => {
    const own = results.filter((r) => r.target === target).map((r) => r.outcome);
    const count = (outcome: Outcome["outcome"]) => own.filter((o) => o.outcome === outcome).length;
    const error = lost?.get(target);
    return {
      target: redactUrl(target.where),
      added: count("added"),
      replaced: count("replaced"),
      kept: count("kept"),
      skipped: count("skipped"),
      failed: own.filter(isFailure).length,
      ...(error ? { error } : {}),
    };
  });
  const sum = (of: (t: TargetReport) => number) => targets.reduce((all, t) => all + of(t), 0);
  const fetched = new Map(
    results.flatMap(({ outcome: o }) => ("bytes" in o ? [[`${o.subdir}/${o.fileName}`, o.bytes] as const] : [])),
  );
  return {
    targets,
    added: sum((t) => t.added),
    replaced: sum((t) => t.replaced),
    kept: sum((t) => t.kept),
    skipped: sum((t) => t.skipped),
    failed: failedOnes.length,
    bytes: [...fetched.values()].reduce((all, bytes) => all + bytes, 0),
    milliseconds: Math.round(performance.now() - began),
    interrupted: run.signal.aborted,
    ...(plan ? { plan } : {}),
    packages: outcomes.filter((o) => o.outcome !== "failed" || !(o.error instanceof InterruptedError)),
    exitCode: run.signal.aborted ? 130 : failedOnes.length === 0 && !lost?.size ? 0 : unreachable ? 3 : 1,
  };
}
