import type { Brought } from "./bring.ts";
import { InterruptedError } from "./errors.ts";
import type { Outcome } from "./events.ts";
import type { Target } from "./target/target.ts";

/** So many packages are told one by one in a report; of larger runs, those that failed. */
const TOLD = 100_000;

interface Counts {
  added: number;
  replaced: number;
  kept: number;
  skipped: number;
  failed: number;
}

/** What became of the packages of a run, counted round by round so that none of it need be kept. */
export interface Tally {
  add(results: readonly Brought[]): void;
  of(target: Target): Readonly<Counts>;
  /** Outcomes in all. */
  readonly count: number;
  /** Bytes that were fetched or copied, each package once. */
  readonly bytes: number;
  /** What is told one by one. */
  readonly outcomes: readonly Outcome[];
}

export function openTally(): Tally {
  const counts = new Map<Target, Counts>();
  let outcomes: Outcome[] = [];
  let count = 0;
  let bytes = 0;
  const of = (target: Target): Counts => {
    const own = counts.get(target) ?? { added: 0, replaced: 0, kept: 0, skipped: 0, failed: 0 };
    counts.set(target, own);
    return own;
  };
  return {
    of,
    get count() {
      return count;
    },
    get bytes() {
      return bytes;
    },
    get outcomes() {
      return outcomes;
    },
    add(results) {
      const fetched = new Set<string>();
      for (const { target, outcome } of results) {
        count++;
        if (outcome.outcome !== "failed" || isFailure(outcome)) of(target)[outcome.outcome]++;
        if (!("bytes" in outcome)) continue;
        const path = `${outcome.subdir}/${outcome.fileName}`;
        if (!fetched.has(path)) bytes += outcome.bytes;
        fetched.add(path);
      }
      for (const { outcome } of results) if (count <= TOLD || outcome.outcome === "failed") outcomes.push(outcome);
      if (count > TOLD) outcomes = outcomes.filter((o) => o.outcome === "failed");
    },
  };
}

/** Whether a package failed; what an interruption left undone did not. */
export function isFailure(outcome: Outcome): boolean {
  return outcome.outcome === "failed" && !(outcome.error instanceof InterruptedError);
}
