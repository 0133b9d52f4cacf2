import { hash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Job } from "./config/jobs.ts";
import { loadSettings } from "./config/load.ts";
import { isQuiet, parseQuietHours, type QuietHours, untilQuiet } from "./config/quiet-hours.ts";
import type { Settings } from "./config/settings.ts";
import { asMirrorError, InterruptedError, TargetError, UsageError } from "./errors.ts";
import type { MirrorEvent } from "./events.ts";
import { makeFolder } from "./make-folder.ts";
import { mirror } from "./mirror.ts";
import type { CiFilter, MirrorOptions } from "./run.ts";
import { type JobResult, makeRunReport, type RunReport } from "./run-report.ts";
import { systemCause } from "./system-errors.ts";
import { withFileLock } from "./target/folder-lock.ts";
import { type AnswerMemory, answerMemory } from "./transfer/answers.ts";
import { type Clock, systemClock } from "./transfer/retry.ts";

export interface JobsOptions extends Pick<MirrorOptions, "settings" | "env" | "clock"> {
  /** The configuration file that has the jobs. */
  readonly config: string;
  /** Names of the jobs that are run; all that are enabled when absent. */
  readonly names?: readonly string[];
  /** Make the plans, change nothing. */
  readonly dryRun?: boolean;
  /** Ends the run early: what was finished is indexed, further jobs are not begun. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: MirrorEvent, job: string) => void;
  /** Told before and after each job. */
  readonly onJob?: (told: { readonly begins: string } | { readonly ended: JobResult }) => void;
}

/**
 * Runs the jobs of a configuration file one after the other, each with the limits of the file, which thereby hold for all.
 * A job that fails is told, and the others go on. Two runs of one file never meet: the later one ends at once.
 * @returns what became of each, and what the whole run ends with: see docs/operator-guide/jobs.md.
 * @throws UsageError for the configuration; TargetError BUSY when another run of the same file is at work
 */
export async function runJobs(
  options: JobsOptions,
): Promise<{ readonly jobs: readonly JobResult[]; readonly report: RunReport; readonly exitCode: number }> {
  const env = options.env ?? process.env;
  const clock = options.clock ?? systemClock;
  const settings = await loadSettings({ file: options.config, env, flags: options.settings ?? {} });
  const chosen = chooseJobs(settings.jobs, options);
  const lockFile = await lockFileOf(settings, options.config, env);
  const began = clock.now();
  const work = async () => {
    const jobs: JobResult[] = [];
    const answers = answerMemory();
    for (const job of chosen) {
      options.onJob?.({ begins: job.name });
      const result = await runJob(job, { ...options, env, clock, answers }, settings);
      jobs.push(result);
      options.onJob?.({ ended: result });
    }
    return jobs;
  };
  const jobs = await withFileLock(lockFile, work, options.signal, () => {
    throw new TargetError("BUSY", {
      what: `${options.config}: its jobs were not begun`,
      why: "another run of this file is still at work",
      next: "let it end; if that happens often, run less often or raise the limits",
    });
  });
  const exitCode = exitCodeOf(jobs);
  return { jobs, exitCode, report: makeRunReport(jobs, began, clock.now(), exitCode) };
}

type Named = Job & { readonly name: string };

function chooseJobs(jobs: readonly Job[], { config, names }: JobsOptions): Named[] {
  const bad = (why: string, next: string) =>
    new UsageError("BAD_CONFIG", { what: `${config}: its jobs can't be run`, why, next });
  const named = jobs.map((job, i) => ({ ...job, name: job.name ?? `job ${i + 1}` }));
  const twice = named.find((job, i) => named.findIndex((j) => j.name === job.name) !== i);
  if (twice) throw bad(`two jobs are called ${twice.name}`, "give each a name of its own");
  const missing = names?.find((name) => !named.some((job) => job.name === name));
  if (missing !== undefined)
    throw bad(
      `there is no job ${missing}`,
      `choose one of: ${named.map((j) => j.name).join(", ") || "none are there"}`,
    );
  const chosen = named.filter((job) => (names ? names.includes(job.name) : job.enabled !== false));
  if (chosen.length === 0)
    throw new UsageError("NO_SOURCE", {
      what: "no source",
      why: `mirror was not told which packages to take, and ${config} has no jobs that are enabled`,
      next: "give a source and a target, or write jobs into the file: see docs/operator-guide/jobs.md",
    });
  return chosen;
}

interface JobContext extends JobsOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  readonly answers: AnswerMemory;
}

async function runJob(job: Named, context: JobContext, settings: Settings): Promise<JobResult> {
  const { clock, signal } = context;
  const { name } = job;
  if (signal?.aborted) return { name, status: "not begun", exitCode: 130 };
  const windows = listOf(job.quiet_hours).map((text) => parseQuietHours(text) as QuietHours);
  if (isQuiet(windows, clock.now())) return { name, status: "quiet", exitCode: 0 };
  const began = clock.now();
  const quiet = new AbortController();
  const over = new AbortController();
  const watching = stopWhenQuiet(windows, clock, quiet, over.signal);
  const signals = [quiet.signal, ...(signal ? [signal] : [])];
  try {
    const report = await mirror({ ...mirrorOptions(job, context, settings), signal: AbortSignal.any(signals) });
    const both = { name, began, ended: clock.now(), report };
    if (signal?.aborted) return { ...both, status: "interrupted", exitCode: 130 };
    // What was finished is in place and indexed; the next run goes on.
    if (quiet.signal.aborted) {
      const whole = report.failed === 0 && report.targets.every((t) => !t.error);
      return { ...both, status: "stopped", exitCode: whole ? 0 : 1 };
    }
    return { ...both, status: report.exitCode === 0 ? "done" : "failed", exitCode: report.exitCode };
  } catch (e) {
    const error = asMirrorError(e, name);
    const ended = clock.now();
    if (signal?.aborted) return { name, began, ended, status: "interrupted", exitCode: 130 };
    if (quiet.signal.aborted && error instanceof InterruptedError)
      return { name, began, ended, status: "stopped", exitCode: 0 };
    return { name, began, ended, status: "failed", exitCode: error.exitCode, error };
  } finally {
    over.abort();
    await watching;
  }
}

/** A clock that is set forward or back is noticed within this time. */
const LOOK_MS = 10 * 60_000;

async function stopWhenQuiet(
  windows: readonly QuietHours[],
  clock: Clock,
  quiet: AbortController,
  over: AbortSignal,
): Promise<void> {
  try {
    while (windows.length > 0 && !over.aborted) {
      await clock.sleep(Math.min(untilQuiet(windows, clock.now()), LOOK_MS), over);
      if (over.aborted || !isQuiet(windows, clock.now())) continue;
      quiet.abort();
      return;
    }
  } catch {
    // The job is over.
  }
}

/** A job's keys, as the options they are. */
function mirrorOptions(job: Named, context: JobContext, { jobs: _, ...settings }: Settings): MirrorOptions {
  const { env, clock, answers, onEvent, dryRun } = context;
  const given = {
    sourceType: job.src_type,
    sourcePath: job.src_path,
    targetType: job.target_type,
    include: listOf(job.include),
    exclude: listOf(job.exclude),
    latest: job.latest,
    latestPer: job.latest_per,
    since: job.since,
    minAge: job.min_age,
    maxSize: job.max_size,
    allowLicenses: listOf(job.allow_license),
    blockLicenses: listOf(job.block_license),
    blockDependencies: listOf(job.block_dependency),
    delete: job.delete,
    keepRemoved: job.keep_removed,
    maxDelete: job.max_delete === undefined ? undefined : String(job.max_delete),
    subdirs: job.subdirs === undefined ? undefined : listOf(job.subdirs),
    platforms: listOf(job.platforms),
    environments: listOf(job.environments),
    withDeps: job.with_deps || undefined,
    mirrorOf: listOf(job.mirror_of),
    attestations: listOf(job.attestation),
    ci: withoutUndefined<CiFilter>({
      nameFilter: job.name_filter,
      branch: job.branch,
      commit: job.commit,
      definition: job.definition,
      maxBuilds: job.max_builds,
      allowFailed: job.allow_failed,
      author: job.author,
      label: job.label,
    }),
    onConflict: job.on_conflict,
    sinceManifest: job.since_manifest,
    dryRun,
    onEvent: onEvent && ((event: MirrorEvent) => onEvent(event, job.name)),
  };
  return {
    ...withoutUndefined<Partial<MirrorOptions>>(given),
    sources: listOf(job.source),
    target: listOf(job.target),
    settings,
    env,
    clock,
    answers,
  };
}

function withoutUndefined<T extends object>(values: { readonly [K in keyof T]?: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined)) as T;
}

function listOf(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === "string" ? [value] : value;
}

/**
 * 0 when all is well, 130 after an interruption; where every job that failed ended with the same code and none succeeded,
 * that code; else 1: some failed.
 */
function exitCodeOf(jobs: readonly JobResult[]): number {
  const codes = new Set(jobs.map((j) => j.exitCode));
  if (codes.has(130)) return 130;
  const [only] = codes;
  return codes.size === 1 ? (only as number) : 1;
}

/** The file whose lock a run of a configuration holds. */
async function lockFileOf({ lock_file: asked }: Settings, config: string, env: NodeJS.ProcessEnv): Promise<string> {
  const name = `jobs-${hash("sha256", await realpath(config)).slice(0, 16)}.lock`;
  const file = asked === null ? join(stateFolder(env), "meso-forge-mirror", name) : resolve(asked);
  try {
    await makeFolder(dirname(file));
    return file;
  } catch (e) {
    throw new UsageError("BAD_CONFIG", {
      what: `${file}: no place for the lock that keeps two runs from meeting`,
      why: systemCause(e)?.why ?? (e as Error).message,
      next: "name another place with lock_file in the configuration, or MESO_FORGE_LOCK_FILE",
      cause: e,
    });
  }
}

/** Where programs keep what is theirs between runs (XDG Base Directory; LOCALAPPDATA on Windows). */
function stateFolder(env: NodeJS.ProcessEnv): string {
  const local = process.platform === "win32" ? env["LOCALAPPDATA"] : env["XDG_STATE_HOME"];
  return local || join(homedir(), process.platform === "win32" ? "AppData/Local" : ".local/state");
}
