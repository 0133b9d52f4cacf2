import { asMirrorError, InterruptedError, isInterruption } from "./errors.ts";
import type { Outcome } from "./events.ts";
import { lose } from "./lost.ts";
import type { Pending } from "./pending.ts";
import type { Run } from "./run.ts";
import type { PackageRef } from "./source/source.ts";
import type { FollowedSubdir } from "./target/followed.ts";
import type { Target, TargetIndex } from "./target/target.ts";

/** What is to go from one subdir of a target, and of how much. */
export interface Gone {
  readonly subdir: string;
  /** Files that no source has any more; none where nothing is to be removed for that. */
  readonly gone: readonly string[];
  /** Files that their channel took back (CEP 36), listed in the target or not. */
  readonly takenBack: readonly string[];
  /** Records that go, those among them that were taken back, and records that the target lists there. */
  readonly going: number;
  readonly listedTakenBack: number;
  readonly listed: number;
}

/** A state of a channel's subdir that a target will have all of. */
export interface State {
  readonly key: string;
  readonly subdir: string;
  readonly followed: Omit<FollowedSubdir, "target">;
  /** The version of the target's index that was compared, then of what we made of it; null once another writer came between. */
  compared: string | undefined | null;
  readonly shardIndex: Uint8Array | undefined;
}

/** What whole channels have for the targets of a run. */
export interface Following {
  /** Packages that a target lacks, or whose record there is another. */
  readonly refs: PackageRef[];
  /** Where there are too many to be in memory at once: further ones, in files of the run. */
  readonly pending: Pending[];
  readonly failures: Outcome[];
  /** Packages that a target has as they are. */
  readonly kept: Map<Target, number>;
  readonly gone: Map<Target, Gone[]>;
  /** To be remembered of the only target when all of it has come. */
  readonly states: State[];
  /** Subdirs that lack something of what was offered. */
  readonly unfinished: Set<string>;
  /** Whether something could not be read: then nothing goes because it was not seen. */
  incomplete: boolean;
  /** Targets that something did not come to: nothing goes from them either. */
  readonly lacking: Set<Target>;
}

/** The one target of a run, where its indexes are ours: what it had is remembered. */
export function onlyTarget(run: Run): { readonly target: Target; readonly index: TargetIndex } | undefined {
  const [target] = run.targets;
  return run.targets.length === 1 && target?.index ? { target, index: target.index } : undefined;
}

/**
 * Where something could not be read, what was not seen can't be told from what is not there; where something did not come, a
 * client may need what it would have replaced. Then nothing goes for not being on offer any more.
 * @param lost files that did not come to a target: the one who runs this is told how to go on without them.
 */
export function keepUnseen(
  following: Following,
  run: Run,
  lost: (target: Target) => readonly string[] = () => [],
): void {
  const { incomplete, lacking } = following;
  for (const [target, subdirs] of following.gone) {
    if (!incomplete && !lacking.has(target)) continue;
    const [first, ...others] = lost(target);
    const many = others.length > 0 ? ` (and ${others.length} more)` : "";
    const wayOut =
      first === undefined ? "" : `; if ${first}${many} never comes, --exclude '${nameOf(first)}[fn="${first}"]'`;
    if (subdirs.some(({ gone }) => gone.length > 0))
      run.emit({
        type: "warning",
        message: `${target.where}: nothing is removed, since not everything could be read and brought${wayOut}`,
      });
    const kept = subdirs.map((one): Gone => ({ ...one, gone: [], going: one.listedTakenBack }));
    following.gone.set(target, kept);
  }
}

/** The name in a file's name, in lower case. */
export function nameOf(fileName: string): string {
  return (/^(.+)-[^-]+-[^-]+$/.exec(fileName)?.[1] ?? fileName).toLowerCase();
}

/** Notes that something of a channel could not be read. */
export function failed(following: Following, what: string, e: unknown, run: Run): void {
  if (isInterruption(e, run.signal)) throw new InterruptedError(e);
  following.incomplete = true;
  const failure: Outcome = { outcome: "failed", fileName: what, origin: what, error: asMirrorError(e, what) };
  following.failures.push(failure);
  run.emit({ type: "finished", result: failure });
}

/**
 * Gives a target up whose indexes can't be read: nothing goes from it, and nothing is said of what it has.
 * @throws what was thrown, where the run has no other target or was interrupted
 */
export function loseFollower(target: Target, e: unknown, following: Following, run: Run): void {
  if (isInterruption(e, run.signal)) throw e;
  lose(target, e, run);
  following.gone.delete(target);
  following.kept.delete(target);
}
