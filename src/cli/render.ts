import { styleText } from "node:util";
import { framesOf, type MirrorError } from "../errors.ts";
import type { IndexReport, MirrorReport, Outcome, PlannedStep, TargetReport } from "../events.ts";

/** Bytes as people read them: 1 KiB is 1024 bytes. */
export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Seconds as people read them. */
export function secondsText(milliseconds: number): string {
  const s = milliseconds / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  const m = Math.floor(s / 60);
  return m < 60 ? `${m} min ${Math.round(s % 60)} s` : `${Math.floor(m / 60)} h ${m % 60} min`;
}

/** "1 package", "2 packages". */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** A failure in its three parts. */
export function errorText(error: MirrorError, options: { verbose?: boolean; color?: boolean } = {}): string {
  const head = options.color ? styleText(["red", "bold"], "error:", { validateStream: false }) : "error:";
  const frames = options.verbose ? framesOf(error) : undefined;
  return [`${head} ${error.what}`, `  ${error.why}`, `  ${error.next}`, ...(frames ? [frames] : [])].join("\n");
}

/** A failure as a value of the JSON document. */
export function errorJson(error: MirrorError): Record<string, string> {
  return { code: error.code, what: error.what, why: error.why, next: error.next };
}

/** The report as the one JSON document of --json, piece by piece: of a plan of millions no string could hold it. */
export function* reportJson(report: MirrorReport): Generator<string> {
  const { packages, plan, ...rest } = report;
  const targets = report.targets.map((t) => (t.error ? { ...t, error: errorJson(t.error) } : t));
  yield JSON.stringify({ ...rest, targets }).slice(0, -1);
  yield* listJson("packages", packages);
  if (plan) yield* listJson("plan", plan);
  yield "}";
}

function* listJson(key: string, list: readonly (Outcome | PlannedStep)[]): Generator<string> {
  yield `,"${key}":[`;
  let comma = "";
  for (const one of list) {
    yield comma + JSON.stringify("error" in one && one.error ? { ...one, error: errorJson(one.error) } : one);
    comma = ",";
  }
  yield "]";
}

/** The last line of a run, and one for each of several targets. */
export function summaryText(report: MirrorReport): string {
  const counts = (of: TargetReport | MirrorReport) =>
    (["added", "replaced", "removed", "kept", "skipped", "failed"] as const)
      .filter((key) => of[key] > 0 || key === "added")
      .map((key) => `${of[key]} ${key}`)
      .join(", ");
  const rate = report.milliseconds > 0 ? (report.bytes / report.milliseconds) * 1000 : 0;
  const moved = report.bytes > 0 ? `; ${bytesText(report.bytes)} at ${bytesText(rate)}/s` : "";
  const head = report.interrupted ? "interrupted: " : "";
  const [only, second] = report.targets;
  const end = second || !only ? "" : ` → ${only.target}`;
  const lines = second
    ? report.targets.map((t) => `\n  ${counts(t)} → ${t.target}${t.error ? ", incomplete" : ""}`)
    : [];
  return `${head}${counts(report)}${moved} in ${secondsText(report.milliseconds)}${end}${lines.join("")}`;
}

/** The plan of a dry run, a line a package and one in all. */
export function* planLines(plan: readonly PlannedStep[]): Generator<string> {
  const counted = new Map<PlannedStep["do"], { count: number; bytes: number }>();
  for (const s of plan) {
    yield `${s.do.padEnd(7)} ${s.subdir ?? "?"}/${s.fileName}  ${s.bytes === undefined ? "?" : bytesText(s.bytes)}${s.target === undefined ? "" : ` → ${s.target}`}${s.error ? `  (${s.error.what.replace(`${s.fileName}: `, "")})` : ""}`;
    const { count, bytes } = counted.get(s.do) ?? { count: 0, bytes: 0 };
    counted.set(s.do, { count: count + 1, bytes: bytes + (s.bytes ?? 0) });
  }
  const counts = (["add", "replace", "remove", "keep", "skip", "refuse"] as const).flatMap((what) => {
    const of = counted.get(what);
    return of ? [`${of.count} ${what} (${bytesText(of.bytes)})`] : [];
  });
  yield `plan: ${counts.join(", ") || "nothing to do"}; nothing was changed`;
}

/** The report of `index` as the one JSON document of --json. */
export function indexJson(report: IndexReport): string {
  return JSON.stringify({ ...report, failed: report.failed.map((f) => ({ ...f, error: errorJson(f.error) })) });
}

/** The last line of an `index` run. */
export function indexText(report: IndexReport): string {
  const records = report.subdirs.reduce((sum, s) => sum + s.records, 0);
  const counts = [
    `${report.read} read`,
    ...(report.kept > 0 ? [`${report.kept} kept`] : []),
    ...(report.removed > 0 ? [`${report.removed} gone`] : []),
    ...(report.failed.length > 0 ? [`${report.failed.length} failed`] : []),
  ].join(", ");
  const written = report.written.length === 0 ? "nothing to write" : `${report.written.length} index files written`;
  const head = report.interrupted ? "interrupted: " : "";
  return `${head}${counts}; ${records} packages in ${report.subdirs.length} subdirs, ${written} in ${secondsText(report.milliseconds)} → ${report.channel}`;
}
