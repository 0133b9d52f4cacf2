import type { Logger } from "pino";
import type { PartialSettings } from "../config/settings.ts";
import { UsageError } from "../errors.ts";
import type { MirrorEvent, MirrorReport, Outcome } from "../events.ts";
import { mirror } from "../mirror.ts";
import type { CiFilter, MirrorOptions } from "../run.ts";
import { reported } from "../run-report.ts";
import { choiceOptions, explanationText } from "./choice-flags.ts";
import type { MirrorFlags } from "./mirror-flags.ts";
import { openOutput } from "./output.ts";
import { bytesText, planLines, reportJson, summaryText } from "./render.ts";
import { logFailure, openSession, type Session, s3Settings } from "./session.ts";

/** `mirror`: parse, call the library, print. Gives the exit code. */
export async function mirrorCommand(sources: readonly string[], flags: MirrorFlags): Promise<number> {
  const { config } = flags;
  if (sources.length === 0 && config !== undefined && (flags.targetPath ?? []).length === 0) {
    const { jobsCommand } = await import("./jobs-command.ts");
    return jobsCommand(config, flags);
  }
  refuseJob(flags, sources.length > 0);
  const session = openSession(flags, "indexing what is finished");
  try {
    const work = () => mirror(mirrorOptions(sources, flags, session));
    const report = await (flags.report === undefined ? work() : reported(flags.report, work));
    session.progress.stop();
    await tellReport(report, flags);
    return report.exitCode;
  } finally {
    session.close();
  }
}

/** Nothing chooses among jobs where none are run. @throws UsageError BAD_FLAG */
function refuseJob({ job, config, targetPath = [] }: MirrorFlags, hasSources: boolean): void {
  if (job === undefined) return;
  const beside = hasSources ? "a source" : targetPath.length > 0 ? "a target" : undefined;
  throw new UsageError("BAD_FLAG", {
    what: `--job ${job[0]}`,
    why: beside
      ? `it chooses among the jobs of a configuration file, and ${beside} is given beside it: no job would be run`
      : "it chooses among the jobs of a configuration file, and none is given",
    next:
      config === undefined
        ? "give --config FILE with it, and neither a source nor a target; or leave it out"
        : "leave out either of them",
  });
}

/** What the library is called with, events told as they come. */
export function mirrorOptions(sources: readonly string[], flags: MirrorFlags, session: Session): MirrorOptions {
  const { signal } = session;
  const onEvent = eventTeller(session, flags);
  return {
    sources,
    target: flags.targetPath ?? [],
    ...(flags.srcType === undefined ? {} : { sourceType: flags.srcType }),
    ...(flags.srcPath === undefined ? {} : { sourcePath: flags.srcPath }),
    ...(flags.targetType === undefined ? {} : { targetType: flags.targetType }),
    ...(flags.config === undefined ? {} : { config: flags.config }),
    ...(flags.withDeps === undefined ? {} : { withDeps: flags.withDeps }),
    ...(flags.apiKey === undefined ? {} : { apiKey: flags.apiKey }),
    ...(flags.sinceManifest === undefined ? {} : { sinceManifest: flags.sinceManifest }),
    attestations: flags.attestation ?? [],
    ci: ciFilter(flags),
    platforms: flags.platform ?? [],
    ...choiceOptions(flags),
    environments: flags.environment ?? [],
    ...(flags.onConflict === undefined ? {} : { onConflict: flags.onConflict }),
    dryRun: flags.dryRun ?? false,
    mirrorOf: flags.mirrorOf ?? [],
    settings: flagSettings(flags),
    signal,
    onEvent,
  };
}

/** Settings that flags give. */
export function flagSettings(flags: MirrorFlags): PartialSettings {
  return {
    max_concurrent_downloads: flags.maxConcurrentDownloads,
    retry_attempts: flags.retryAttempts,
    timeout_seconds: flags.timeoutSeconds,
    delete_grace_days: flags.deleteGraceDays,
    limit_rate: flags.limitRate ?? flags.bandwidth,
    ...s3Settings(flags),
  };
}

/** Tells events as they come: to the progress, and to the log. */
export function eventTeller({ log, progress }: Session, flags: MirrorFlags): (e: MirrorEvent) => void {
  return (e) => {
    progress.event(e);
    switch (e.type) {
      case "warning":
        log.warn(e.message);
        break;
      case "lost":
        logFailure(log, e.error, flags.verbose === true);
        break;
      case "retrying": {
        const again = e.waitMs > 0 ? `again in ${(e.waitMs / 1000).toFixed(1)} s` : e.origin;
        log.info({ why: e.error.why }, `${e.fileName}: trying ${again}`);
        break;
      }
      case "published":
        if (e.written.length > 0) log.debug(`${e.subdir}: ${e.records} records, wrote ${e.written.join(", ")}`);
        break;
      case "check": {
        const { pull, commit, name, state, system } = e.check;
        log[state === "failure" ? "warn" : "info"](`${pull} ${commit.slice(0, 7)}: ${name}: ${state} (${system})`);
        break;
      }
      case "finished":
        logOutcome(log, e.result, flags.verbose === true);
    }
  };
}

export function ciFilter(flags: MirrorFlags): CiFilter {
  const { nameFilter, branch, commit, definition, maxBuilds, allowFailed, author, label } = flags;
  const given = { nameFilter, branch, commit, definition, maxBuilds, allowFailed, author, label };
  return Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined)) as CiFilter;
}

/** What a run came to: to stdout as text or JSON. */
export async function tellReport(report: MirrorReport, flags: MirrorFlags): Promise<void> {
  const out = openOutput(process.stdout);
  if (flags.json) {
    for (const piece of reportJson(report)) await out.write(piece);
    await out.line("");
  } else if (report.explanations) await out.line(explanationText(report.explanations));
  else if (report.plan) for (const line of planLines(report.plan)) await out.line(line);
  else if (!flags.quiet) await out.line(summaryText(report));
  await out.flush();
}

function logOutcome(log: Logger, result: Outcome, verbose: boolean): void {
  if (result.outcome === "failed") {
    logFailure(log, result.error, verbose);
  } else {
    const unverified = "verified" in result && !result.verified ? ", no hash to check it against" : "";
    const size = "bytes" in result ? ` (${bytesText(result.bytes)}${unverified})` : "";
    log.debug(`${result.outcome} ${result.subdir}/${result.fileName}${size}`);
  }
}
