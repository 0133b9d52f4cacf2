import type { FindingCode, ToldFinding } from "./verify/finding.ts";

/** A finding, and what became of it where repair was asked for. */
export interface ReportedFinding extends ToldFinding {
  /** How it was mended; in a dry run how it would be. */
  readonly mended?: string;
  /** Why it was not, where mending was tried. */
  readonly left?: string;
}

/** What verifying tells while it runs. */
export type VerifyEvent =
  /** So many packages of a subdir are looked at, with so many bytes. */
  | { readonly type: "checking"; readonly subdir: string; readonly packages: number; readonly bytes: number }
  | { readonly type: "checked"; readonly packages: number; readonly bytes: number }
  | { readonly type: "audited"; readonly subdir: string; readonly records: number; readonly findings: number }
  /** Something is wrong; where repair was asked for, with what became of it. */
  | { readonly type: "finding"; readonly finding: ReportedFinding }
  | { readonly type: "warning"; readonly message: string };

export interface VerifyReport {
  /** Path or URL, secrets removed. */
  readonly channel: string;
  /** Whether packages were looked at by presence and size alone. */
  readonly quick: boolean;
  /** Whether it was only told what a repair would do. */
  readonly dryRun: boolean;
  /** The subdirs that were looked at to their end. */
  readonly subdirs: readonly { readonly subdir: string; readonly records: number; readonly findings: number }[];
  /** Packages that were looked at. */
  readonly packages: number;
  /** Bytes of them that were read. */
  readonly bytes: number;
  /** Packages whose record says no hash, and that could only be held against its size. */
  readonly unhashed: number;
  /** Packages that lie elsewhere (CEP 15) and were not looked at. */
  readonly elsewhere: number;
  /** Packages that no record names yet, and that another run may be about to list. */
  readonly arriving: number;
  readonly found: number;
  readonly mended: number;
  /** Findings by their code. */
  readonly counts: Readonly<Partial<Record<FindingCode, number>>>;
  /** At most 20,000 of them; `found` and `counts` are of all. */
  readonly findings: readonly ReportedFinding[];
  /** Damaged files that were set aside, where they lie now. */
  readonly quarantined: readonly string[];
  /** Paths of the index files that were written. */
  readonly written: readonly string[];
  readonly milliseconds: number;
  /** True when the caller's signal ended the run early. */
  readonly interrupted: boolean;
  /** What the run ends with on the command line: 0, 1 or 130. */
  readonly exitCode: 0 | 1 | 130;
}

/** Findings that a report has at most: a million of them are no use to anybody, and would not fit. */
export const MOST_FINDINGS = 20_000;

/** Counts findings, and keeps as many as a report has. */
export class FindingTally {
  readonly counts: Partial<Record<FindingCode, number>> = {};
  readonly kept: ReportedFinding[] = [];
  found = 0;
  mended = 0;

  add(finding: ReportedFinding): void {
    this.found++;
    if (finding.mended !== undefined) this.mended++;
    this.counts[finding.code] = (this.counts[finding.code] ?? 0) + 1;
    if (this.kept.length < MOST_FINDINGS) this.kept.push(finding);
  }
}
