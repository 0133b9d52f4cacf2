import type { Brought } from "./bring.ts";
import type { Explanation } from "./choose/explain.ts";
import { InterruptedError, type MirrorError } from "./errors.ts";
import type { MirrorReport, Outcome, TargetReport } from "./events.ts";
import type { Following } from "./follow.ts";
import type { Run } from "./run.ts";
import type { Target } from "./target/target.ts";
import { redactUrl } from "./transfer/redact.ts";

/** What a run has to tell in the end. */
export function makeReport(
  run: Run,
  began: number,
  failures: readonly Outcome[],
  results: readonly Brought[],
  {
    plan,
    lost,
    following,
    explanations,
  }: {
    plan?: MirrorReport["plan"];
    lost?: ReadonlyMap<Target, MirrorError>;
    following?: Following;
    explanations?: readonly Explanation[];
  } = {},
): MirrorReport {
  const outcomes = [...failures, ...results.map((r) => r.outcome)];
  const isFailure = (o: Outcome) => o.outcome === "failed" && !(o.error instanceof InterruptedError);
  const failedOnes = outcomes.filter(isFailure);
  const unreachable =
    failedOnes.length > 0 &&
    failedOnes.length === outcomes.length &&
    failedOnes.every((o) => o.outcome === "failed" && o.error.exitCode === 3);
  const targets = run.targets.map((target): TargetReport => {
    const own = results.filter((r) => r.target === target).map((r) => r.outcome);
    const count = (outcome: Outcome["outcome"]) => own.filter((o) => o.outcome === outcome).length;
    const error = lost?.get(target);
    return {
      target: redactUrl(target.where),
      added: count("added"),
      replaced: count("replaced"),
      kept: count("kept") + (following?.kept.get(target) ?? 0),
      skipped: count("skipped"),
      removed: plan || error ? 0 : sumOf(following?.gone.get(target) ?? [], ({ going }) => going),
      failed: own.filter(isFailure).length,
      ...(error ? { error } : {}),
    };
  });
  const sum = (of: (t: TargetReport) => number) => targets.reduce((all, t) => all + of(t), 0);
  const fetched = new Map(
    results.flatMap(({ outcome: o }) => ("bytes" in o ? [[`${o.subdir}/${o.fileName}`, o.bytes] as const] : [])),
  );
  return {
    targets,
    added: sum((t) => t.added),
    replaced: sum((t) => t.replaced),
    kept: sum((t) => t.kept),
    skipped: sum((t) => t.skipped),
    removed: sum((t) => t.removed),
    failed: failedOnes.length,
    bytes: [...fetched.values()].reduce((all, bytes) => all + bytes, 0),
    milliseconds: Math.round(performance.now() - began),
    interrupted: run.signal.aborted,
    ...(plan ? { plan } : {}),
    ...(explanations ? { explanations } : {}),
    packages: outcomes.filter((o) => o.outcome !== "failed" || !(o.error instanceof InterruptedError)),
    exitCode: run.signal.aborted ? 130 : failedOnes.length === 0 && !lost?.size ? 0 : unreachable ? 3 : 1,
  };
}

function sumOf<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((sum, one) => sum + of(one), 0);
}
