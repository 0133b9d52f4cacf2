import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import type { JobReport, RunReport } from "./config/report-schema.ts";
import { asMirrorError, type MirrorError, TargetError } from "./errors.ts";
import type { MirrorReport, PlannedStep } from "./events.ts";
import { systemCause } from "./system-errors.ts";
import { redactUrl } from "./transfer/redact.ts";
import { VERSION } from "./version.ts";

export type { JobReport, RunReport };

/** What became of one job: its report, or why there is none. Moments are in ms since 1970. */
export interface JobResult {
  readonly name: string;
  readonly status: JobReport["status"];
  readonly exitCode: number;
  readonly began?: number;
  readonly ended?: number;
  readonly report?: MirrorReport;
  readonly error?: MirrorError;
}

/** What a run came to, as its report file has it: counts and failures, and not every package unless it is planned only. */
export function makeRunReport(jobs: readonly JobResult[], began: number, ended: number, exitCode: number): RunReport {
  return {
    $schema: "https://unpkg.com/meso-forge-mirror/schema/report.schema.json",
    version: 1,
    tool: VERSION,
    began: timeText(began),
    ended: timeText(ended),
    exitCode,
    jobs: jobs.map(jobReport),
  };
}

function jobReport({ name, status, exitCode, began, ended, report, error }: JobResult): JobReport {
  return {
    name,
    status,
    exitCode,
    ...(began === undefined ? {} : { began: timeText(began) }),
    ...(ended === undefined ? {} : { ended: timeText(ended) }),
    added: report?.added ?? 0,
    replaced: report?.replaced ?? 0,
    kept: report?.kept ?? 0,
    removed: report?.removed ?? 0,
    skipped: report?.skipped ?? 0,
    failed: report?.failed ?? 0,
    bytes: report?.bytes ?? 0,
    targets: (report?.targets ?? []).map((t) => ({
      target: t.target,
      added: t.added,
      replaced: t.replaced,
      kept: t.kept,
      removed: t.removed,
      skipped: t.skipped,
      failed: t.failed,
      ...(t.error ? { error: failureOf(t.error) } : {}),
    })),
    failures: (report?.packages ?? []).flatMap((p) =>
      p.outcome === "failed" ? [{ ...failureOf(p.error), fileName: p.fileName, origin: redactUrl(p.origin) }] : [],
    ),
    ...(error ? { error: failureOf(error) } : {}),
    ...(report?.plan ? { plan: report.plan.map(stepOf) } : {}),
  };
}

function stepOf({ do: what, fileName, subdir, bytes, origin, error, target }: PlannedStep) {
  return {
    do: what,
    fileName,
    ...(subdir === undefined ? {} : { subdir }),
    ...(bytes === undefined ? {} : { bytes }),
    origin: redactUrl(origin),
    ...(error ? { error: failureOf(error) } : {}),
    ...(target === undefined ? {} : { target: redactUrl(target) }),
  };
}

function failureOf({ code, what, why, next }: MirrorError) {
  return { code, what, why, next };
}

function timeText(time: number): string {
  return new Date(time).toISOString();
}

/**
 * Runs one mirror and writes what it came to into a report, also where it could not begin.
 * @throws what the mirror throws, and TargetError UNWRITABLE
 */
export async function reported(
  file: string,
  work: () => Promise<MirrorReport>,
  now: () => number = Date.now,
): Promise<MirrorReport> {
  const began = now();
  const write = async (outcome: { readonly report?: MirrorReport; readonly error?: MirrorError }) => {
    const exitCode = (outcome.report ?? outcome.error)?.exitCode ?? 1;
    const status = exitCode === 130 ? "interrupted" : exitCode === 0 ? "done" : "failed";
    const result: JobResult = { name: "mirror", began, ended: now(), status, exitCode, ...outcome };
    await writeRunReport(file, makeRunReport([result], began, now(), exitCode));
  };
  let report: MirrorReport;
  try {
    report = await work();
  } catch (e) {
    // What ended the run is what has to be told, also where the report can't be written.
    await write({ error: asMirrorError(e, "mirror") }).catch(() => undefined);
    throw e;
  }
  await write({ report });
  return report;
}

/**
 * Writes a report in one step: whoever reads the file meets the old one or the new one, whole.
 * @throws TargetError UNWRITABLE
 */
export async function writeRunReport(file: string, report: RunReport): Promise<void> {
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
  try {
    const handle = await open(temporary, "wx");
    try {
      await handle.writeFile(`${JSON.stringify(report, null, 2)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (e) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new TargetError("UNWRITABLE", {
      what: `${file}: the report could not be written`,
      why: systemCause(e)?.why ?? (e as Error).message,
      next: "what was mirrored is in place; choose another --report, or change its folder's permissions",
      cause: e,
    });
  }
}
