import { asMirrorError, type MirrorError } from "./errors.ts";
import type { Run } from "./run.ts";
import { noSeen } from "./target/seen.ts";
import type { Target } from "./target/target.ts";
import { redactUrl } from "./transfer/redact.ts";

/** The targets that a run goes on with. */
export function living(run: Pick<Run, "targets" | "lost">): readonly Target[] {
  return run.lost.size === 0 ? run.targets : run.targets.filter((target) => !run.lost.has(target));
}

/**
 * Gives one of several targets up: it is told at once and in the report, and the others get theirs. What has come to it and is
 * not published yet still is (docs/decisions/046).
 * @throws what was thrown, where the run has no other target
 */
export function lose(target: Target, thrown: unknown, run: Pick<Run, "targets" | "lost" | "emit">): void {
  if (run.targets.length === 1) throw thrown;
  if (run.lost.has(target)) return;
  const error = asMirrorError(thrown, redactUrl(target.where));
  run.lost.set(target, error);
  run.emit({ type: "lost", target: redactUrl(target.where), error });
}

/** What stands for a target that could not be opened: it is lost from the beginning, and asked for its name alone. */
export function unopened(where: string, error: MirrorError): Target {
  const refuse = () => Promise.reject(error);
  return {
    where,
    seen: noSeen,
    present: refuse,
    placeOf: () => undefined,
    staging: refuse,
    take: refuse,
    publish: refuse,
    close: async () => undefined,
  };
}
