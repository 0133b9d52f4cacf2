import type { Explanation } from "./choose/explain.ts";
import { InterruptedError } from "./errors.ts";
import type { MirrorReport, Outcome, TargetReport } from "./events.ts";
import type { Following } from "./following.ts";
import type { Run } from "./run.ts";
import { isFailure, type Tally } from "./tally.ts";
import { redactUrl } from "./transfer/redact.ts";

/** What a run has to tell in the end. */
export function makeReport(
  run: Run,
  began: number,
  failures: readonly Outcome[],
  tally: Tally,
  {
    plan,
    following,
    explanations,
  }: {
    plan?: MirrorReport["plan"];
    following?: Following;
    explanations?: readonly Explanation[];
  } = {},
): MirrorReport {
  const outcomes = [...failures, ...tally.outcomes];
  const failedOnes = outcomes.filter(isFailure);
  const unreachable =
    failedOnes.length > 0 &&
    failedOnes.length === failures.length + tally.count &&
    failedOnes.every((o) => o.outcome === "failed" && o.error.exitCode === 3);
  const targets = run.targets.map((target): TargetReport => {
    const own = tally.of(target);
    const error = run.lost.get(target);
    return {
      target: redactUrl(target.where),
      ...own,
      kept: own.kept + (following?.kept.get(target) ?? 0),
      removed: plan || error || run.signal.aborted ? 0 : sumOf(following?.gone.get(target) ?? [], ({ going }) => going),
      ...(error ? { error } : {}),
    };
  });
  const sum = (of: (t: TargetReport) => number) => targets.reduce((all, t) => all + of(t), 0);
  return {
    targets,
    added: sum((t) => t.added),
    replaced: sum((t) => t.replaced),
    kept: sum((t) => t.kept),
    skipped: sum((t) => t.skipped),
    removed: sum((t) => t.removed),
    failed: failedOnes.length,
    bytes: tally.bytes,
    milliseconds: Math.round(performance.now() - began),
    interrupted: run.signal.aborted,
    ...(plan ? { plan } : {}),
    ...(explanations ? { explanations } : {}),
    packages: outcomes.filter((o) => o.outcome !== "failed" || !(o.error instanceof InterruptedError)),
    exitCode: run.signal.aborted
      ? 130
      : (allLost(run) ?? (failedOnes.length === 0 && run.lost.size === 0 ? 0 : unreachable ? 3 : 1)),
  };
}

/** What all targets were lost with, where that is one code: then none of them is served, and it says why. */
function allLost({ targets, lost }: Run): 1 | 3 | 4 | undefined {
  if (lost.size === 0 || lost.size < targets.length) return undefined;
  const codes = new Set([...lost.values()].map((e) => e.exitCode));
  const [only] = codes;
  return codes.size === 1 && (only === 3 || only === 4) ? only : 1;
}

function sumOf<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((sum, one) => sum + of(one), 0);
}
