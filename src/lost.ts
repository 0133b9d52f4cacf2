import { asMirrorError, type MirrorError, TargetError, TransferError } from "./errors.ts";
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

/** So many packages that can't get to a target, one after the other and each tried as often as is allowed, and it counts as down. */
const IN_A_ROW = 5;

/**
 * Notes that a package did not come to a target. Where the next ones would not either, it is lost: its disk is full, or its server
 * is down, and the others need not wait for each package to be tried there. True where it is lost: then its own error tells.
 */
export function noteMissed(
  target: Target,
  error: MirrorError,
  run: Pick<Run, "targets" | "lost" | "setbacks" | "emit">,
): boolean {
  if (run.targets.length === 1) return false;
  if (run.lost.has(target)) return true;
  const isDown = error instanceof TransferError ? error.mayPass : error.code === "UNREACHABLE";
  const setbacks = isDown ? (run.setbacks.get(target) ?? 0) + 1 : 0;
  run.setbacks.set(target, setbacks);
  if (error.code === "FULL") lose(target, error, run);
  else if (setbacks < IN_A_ROW) return false;
  else {
    const what = `${redactUrl(target.where)}: nothing more is sent there`;
    const why = `${setbacks} packages in a row could not be sent: ${error.why}`;
    const next = "the other targets get theirs; run again when it answers";
    lose(target, new TargetError("UNREACHABLE", { what, why, next, cause: error }), run);
  }
  return true;
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
