import type { ReportedFinding, VerifyReport } from "../verify-report.ts";
import { bytesText, counted, secondsText } from "./render.ts";

/** One finding in one line; its next step as well where more is asked for. */
export function findingText(f: ReportedFinding, verbose: boolean): string {
  const state = f.mended === undefined ? "" : ` → ${f.mended}`;
  const left = f.left === undefined ? "" : ` → not mended: ${f.left}`;
  return `${f.code.padEnd(18)} ${f.what} (${f.why})${state}${left}${verbose && f.mended === undefined ? `\n  ${f.next}` : ""}`;
}

/** The last lines of a run: what was found, by kind, and what was looked at. */
export function verifyText(report: VerifyReport): string {
  const records = report.subdirs.reduce((sum, s) => sum + s.records, 0);
  const looked = [
    `${counted(records, "record")} in ${counted(report.subdirs.length, "subdir")}`,
    report.quick
      ? `${counted(report.packages, "package")} by size`
      : `${counted(report.packages, "package")} read (${bytesText(report.bytes)})`,
    ...(report.unhashed > 0 ? [`${report.unhashed} without a hash to check by`] : []),
    ...(report.elsewhere > 0 ? [`${report.elsewhere} lie elsewhere and were not looked at`] : []),
    ...(report.arriving > 0 ? [`${report.arriving} are about to be listed by another run`] : []),
  ].join(", ");
  const kinds = Object.entries(report.counts).map(([code, n]) => `${n} ${code}`);
  const would = report.dryRun ? "would be mended" : "mended";
  const left = report.found - report.mended;
  const found =
    report.found === 0
      ? "whole"
      : `${counted(report.found, "finding")}: ${kinds.join(", ")}${report.mended > 0 ? `; ${report.mended} ${would}, ${left} left` : ""}`;
  const head = report.interrupted ? "interrupted: " : "";
  return `${head}${found}; ${looked} in ${secondsText(report.milliseconds)} → ${report.channel}`;
}
