import { runJobs } from "../jobs.ts";
import { type JobResult, writeRunReport } from "../run-report.ts";
import { eventTeller, flagSettings } from "./mirror-command.ts";
import type { MirrorFlags } from "./program.ts";
import { planText, summaryText } from "./render.ts";
import { logFailure, openSession } from "./session.ts";

/** `mirror --config FILE` without a source: runs the jobs of the file. Gives the exit code. */
export async function jobsCommand(config: string, flags: MirrorFlags): Promise<number> {
  const session = openSession(flags, "indexing what is finished");
  const { log, progress, signal } = session;
  const verbose = flags.verbose === true;
  const onEvent = eventTeller(session, flags);
  const ended = (result: JobResult): void => {
    progress.reset();
    const { name, status, report, error } = result;
    if (error) logFailure(log, error, verbose);
    for (const target of report?.targets ?? []) if (target.error) logFailure(log, target.error, verbose);
    if (flags.json || flags.quiet) return;
    const text = report?.plan ? planText(report.plan) : report ? summaryText(report) : "";
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
    if (flags.json) process.stdout.write(`${JSON.stringify(report)}\n`);
    if (flags.report !== undefined) await writeRunReport(flags.report, report);
    return exitCode;
  } finally {
    session.close();
  }
}

const WHY: Readonly<Record<JobResult["status"], string>> = {
  done: "",
  failed: "failed",
  interrupted: "interrupted",
  quiet: "not run, these are its quiet hours",
  stopped: "stopped, its quiet hours began",
  "not begun": "not begun",
};
