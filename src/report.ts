import type { Brought } from "./bring.ts";
import { InterruptedError, type MirrorError } from "./errors.ts";
import type { MirrorReport, Outcome, TargetReport } from "./events.ts";
import type { Run } from "./run.ts";
import type { Target } from "./target/target.ts";
import { redactUrl } from "./transfer/redact.ts";

/** What a run has to tell in the end. */
export function makeReport(
  run: Run,
  began: number,
  failures: readonly Outcome[],
  results: readonly Brought[],
  { plan, lost }: { plan?: MirrorReport["plan"]; lost?: ReadonlyMap<Target, MirrorError> } = {},
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
      kept: count("kept"),
      skipped: count("skipped"),
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
    failed: failedOnes.length,
    bytes: [...fetched.values()].reduce((all, bytes) => all + bytes, 0),
    milliseconds: Math.round(performance.now() - began),
    interrupted: run.signal.aborted,
    ...(plan ? { plan } : {}),
    packages: outcomes.filter((o) => o.outcome !== "failed" || !(o.error instanceof InterruptedError)),
    exitCode: run.signal.aborted ? 130 : failedOnes.length === 0 && !lost?.size ? 0 : unreachable ? 3 : 1,
  };
}
