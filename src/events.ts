import type { Explanation } from "./choose/explain.ts";

import type { MirrorError } from "./errors.ts";
import type { CheckState } from "./source/ci/checks.ts";

export type { Explanation };

/** What became of one package. */
export type Outcome = {
  /** Which target, where the run has several. */
  readonly target?: string;
} & (
  | {
      readonly outcome: "added" | "replaced";
      readonly fileName: string;
      readonly subdir: string;
      readonly bytes: number;
      readonly origin: string;
      readonly verified: boolean;
    }
  | {
      readonly outcome: "kept" | "skipped";
      readonly fileName: string;
      readonly subdir: string;
      readonly origin: string;
    }
  | { readonly outcome: "failed"; readonly fileName: string; readonly origin: string; readonly error: MirrorError }
);

/** One line of a plan: what a run would do. Bytes where they are known. */
export interface PlannedStep {
  readonly do: "add" | "replace" | "keep" | "skip" | "refuse" | "remove";
  readonly fileName: string;
  readonly subdir?: string;
  readonly bytes?: number;
  readonly origin: string;
  readonly error?: MirrorError;
  /** Which target, where the run has several. */
  readonly target?: string;
}

/** What a run tells while it runs. */
export type MirrorEvent =
  /** The plan is made: packages to bring, and their bytes as far as they are known. */
  | { readonly type: "planned"; readonly packages: number; readonly bytes: number; readonly unknownSizes: number }
  /** Bytes of an archive that has to be read before the plan can be made; negative when some are read again. */
  | { readonly type: "reading"; readonly source: string; readonly bytes: number; readonly size: number | undefined }
  | { readonly type: "started"; readonly fileName: string }
  /** Bytes of one package came in; negative when some of them are fetched again. */
  | { readonly type: "bytes"; readonly fileName: string; readonly bytes: number; readonly size: number | undefined }
  | {
      readonly type: "retrying";
      readonly fileName: string;
      readonly error: MirrorError;
      readonly waitMs: number;
      readonly origin: string;
    }
  | { readonly type: "finished"; readonly result: Outcome }
  | {
      readonly type: "published";
      readonly subdir: string;
      readonly records: number;
      readonly written: readonly string[];
    }
  | { readonly type: "warning"; readonly message: string }
  /** One of several targets can't go on; the others do. */
  | { readonly type: "lost"; readonly target: string; readonly error: MirrorError }
  /** What a CI system says of a pull request's commit. */
  | { readonly type: "check"; readonly check: CheckState };

/** What became of the packages at one target. */
export interface TargetReport {
  /** Its path or URL, secrets removed. */
  readonly target: string;
  readonly added: number;
  readonly replaced: number;
  readonly kept: number;
  readonly skipped: number;
  /** Records that went from its index. */
  readonly removed: number;
  readonly failed: number;
  /**
   * Set where one of several targets was lost: it could not be opened or listed, and nothing was brought to it from then on; or its
   * index could not be written, though packages came. A run with one target ends with the error instead.
   */
  readonly error?: MirrorError;
}

/** Counts are of packages, once for each target. */
export interface MirrorReport extends Omit<TargetReport, "target" | "error"> {
  readonly targets: readonly TargetReport[];
  /** Bytes of packages that were fetched or copied, each once. */
  readonly bytes: number;
  readonly milliseconds: number;
  /** True when the caller's signal ended the run early; what was finished is indexed. */
  readonly interrupted: boolean;
  /** The plan of a dry run, in the order of the sources. */
  readonly plan?: readonly PlannedStep[];
  /** Why packages are taken or left out, where that was asked. */
  readonly explanations?: readonly Explanation[];
  /** What became of each package; of runs over more than 100,000, of those that failed. */
  readonly packages: readonly Outcome[];
  /** What the run ends with on the command line: 0, 1, 3 or 130; 4 where other writers kept winning at all of its targets. */
  readonly exitCode: 0 | 1 | 3 | 4 | 130;
}

/** What pruning tells while it runs. */
export type PruneEvent =
  /** What the rules make of a subdir. */
  | { readonly type: "chosen"; readonly subdir: string; readonly kept: number; readonly removed: number }
  | Extract<IndexEvent, { readonly type: "published" | "warning" }>;

export interface PruneReport {
  readonly channel: string;
  /** Packages that the rules want, and their bytes as far as records tell. Without rules nothing is counted. */
  readonly kept: number;
  readonly keptBytes: number;
  /** Packages that went from the index, or would go. */
  readonly removed: number;
  readonly removedBytes: number;
  /** What was removed from the store in this run, or would be: files whose grace period is over. */
  readonly freed: {
    readonly packages: number;
    readonly shards: number;
    /** Files and uploads of runs that were killed. */
    readonly leftovers: number;
    readonly bytes: number;
  };
  /** Packages that no index lists and whose files wait for their grace period to end. */
  readonly waiting: number;
  readonly subdirs: readonly {
    readonly subdir: string;
    readonly kept: number;
    readonly keptBytes: number;
    readonly removed: number;
    readonly removedBytes: number;
  }[];
  /** Paths of the index files that were written. */
  readonly written: readonly string[];
  /** The plan of a dry run: each package that would go. */
  readonly plan?: readonly PlannedStep[];
  /** Of a dry run: packages that would stay, and of a dependency of which nothing would, though there is something now. */
  readonly losing?: number;
  /** Why packages stay or go, where that was asked. */
  readonly explanations?: readonly Explanation[];
  readonly milliseconds: number;
  readonly interrupted: boolean;
  /** What the run ends with on the command line: 0 or 130. */
  readonly exitCode: 0 | 130;
}

/** What indexing tells while it runs. */
export type IndexEvent =
  /** So many packages of a subdir have to be read. */
  | { readonly type: "reading"; readonly subdir: string; readonly packages: number }
  | { readonly type: "read"; readonly subdir: string; readonly fileName: string; readonly error?: MirrorError }
  | {
      readonly type: "published";
      readonly subdir: string;
      readonly records: number;
      readonly written: readonly string[];
    }
  | { readonly type: "warning"; readonly message: string };

export interface IndexReport {
  readonly channel: string;
  /** Packages that were read, because they are new or changed. */
  readonly read: number;
  /** Packages that are as they were. */
  readonly kept: number;
  /** Records that went because their file is gone. */
  readonly removed: number;
  readonly failed: readonly { readonly subdir: string; readonly fileName: string; readonly error: MirrorError }[];
  readonly subdirs: readonly { readonly subdir: string; readonly records: number }[];
  /** Paths of the index files that were written. */
  readonly written: readonly string[];
  readonly milliseconds: number;
  /** True when the caller's signal ended the run early; what was read is indexed. */
  readonly interrupted: boolean;
  /** What the run ends with on the command line: 0, 1 or 130. */
  readonly exitCode: 0 | 1 | 130;
}
