import { UsageError } from "../errors.ts";
import { runJobs } from "../jobs.ts";
import { type JobResult, writeRunReport } from "../run-report.ts";
import { eventTeller, flagSettings } from "./mirror-command.ts";
import type { MirrorFlags } from "./mirror-flags.ts";
import { planLines, summaryText } from "./render.ts";
import { logFailure, openSession } from "./session.ts";

/** `mirror --config FILE` without a source: runs the jobs of the file. Gives the exit code. */
export async function jobsCommand(config: string, flags: MirrorFlags): Promise<number> {
  refuseOwn(flags);
  const session = openSession(flags, "indexing what is finished");
  const { log, progress, signal } = session;
  const verbose = flags.verbose === true;
  const onEvent = eventTeller(session, flags);
  const ended = (result: JobResult): void => {
    progress.reset();
    const { name, status, report, error } = result;
    if (error) logFailure(log, error, verbose);
    if (flags.json || flags.quiet) return;
    const text = report?.plan ? [...planLines(report.plan)].join("\n") : report ? summaryText(report) : "";
    const why = WHY[status];
    process.stdout.write(`${[`${name}:`, text, why && text ? `(${why})` : why].filter((t) => t).join(" ")}\n`);
  };
  try {
    const { report, exitCode } = await runJobs({
      config,
      ...(flags.job === undefined ? {} : { names: flags.job }),
      dryRun: flags.dryRun ?? false,
      settings: flagSettings(flags),
      signal,
      onEvent,
      onJob: (told) => {
        if ("ended" in told) ended(told.ended);
        else log.debug(`${told.begins}: begins`);
      },
    });
    progress.stop();
    // First, since where it can't be written stdout gets the one document that says so.
    if (flags.report !== undefined) await writeRunReport(flags.report, report);
    if (flags.json) process.stdout.write(`${JSON.stringify(report)}\n`);
    return exitCode;
  } finally {
    session.close();
  }
}

/** Flags that are a job's own keys would say nothing about any job. @throws UsageError BAD_FLAG */
function refuseOwn(flags: MirrorFlags): void {
  const { srcType, srcPath, targetType, mirrorOf, withDeps, platform, environment, sinceManifest, subdir } = flags;
  const { nameFilter, branch, commit, definition, maxBuilds, allowFailed, author, label, attestation } = flags;
  const own = { srcType, srcPath, targetType, mirrorOf, withDeps, platform, environment, sinceManifest, subdir };
  const ci = { nameFilter, branch, commit, definition, maxBuilds, allowFailed, author, label, attestation };
  const { include, exclude, latest, latestPer, since, minAge, maxSize, explain, keepRemoved, maxDelete } = flags;
  const { allowLicense, blockLicense, blockDependency, delete: remove, onConflict, apiKey } = flags;
  const choice = { include, exclude, latest, latestPer, since, minAge, maxSize, explain, keepRemoved, maxDelete };
  const more = { allowLicense, blockLicense, blockDependency, delete: remove, onConflict, apiKey };
  const given = Object.entries({ ...own, ...ci, ...choice, ...more }).find(([, value]) => value !== undefined)?.[0];
  if (given === undefined) return;
  const flag = given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new UsageError("BAD_FLAG", {
    what: `--${flag}`,
    why: "it goes with a source, and none is given: the jobs of the configuration file are run",
    next: `give a source and a target, or ${given === "apiKey" ? "set the key in the environment" : `write ${flag.replaceAll("-", "_")} into the jobs`}`,
  });
}

const WHY: Readonly<Record<JobResult["status"], string>> = {
  done: "",
  failed: "failed",
  interrupted: "interrupted",
  quiet: "not run, these are its quiet hours",
  stopped: "stopped, its quiet hours began",
  "not begun": "not begun",
};
