import type { Brought } from "./bring.ts";
import { asMirrorError } from "./errors.ts";
import type { Outcome } from "./events.ts";
import type { Following } from "./following.ts";
import { readPending } from "./pending.ts";
import type { Run } from "./run.ts";
import type { PackageRef } from "./source/source.ts";

export interface Round {
  readonly refs: readonly PackageRef[];
  /** Whether nothing comes after it. */
  readonly last: boolean;
}

/**
 * What a run has to bring, in rounds: what is known already first, then what waits in files. At least one. The packages of a
 * round are published and forgotten before the next begins: a run over a million needs no more memory than one over 20,000,
 * and one that is killed has lost at most one round of the index.
 */
export async function* rounds(following: Following, run: Run): AsyncGenerator<Round> {
  const size = run.settings.packages_per_round;
  let left = following.pending.reduce((sum, { count }) => sum + count, 0);
  let refs: PackageRef[] = following.refs;
  if (left > 0 && refs.length >= size) {
    yield { refs, last: false };
    refs = [];
  }
  for (const { path, subdir, origin, offer } of following.pending) {
    for await (const entry of readPending(path)) {
      left--;
      try {
        refs.push(offer(entry));
      } catch (e) {
        const error = asMirrorError(e, entry.fileName);
        const failure: Outcome = { outcome: "failed", fileName: entry.fileName, origin, error };
        following.failures.push(failure);
        following.unfinished.add(subdir);
        run.emit({ type: "finished", result: failure });
      }
      if (refs.length < size || left === 0) continue;
      yield { refs, last: false };
      refs = [];
    }
  }
  yield { refs, last: true };
}

/** Notes which subdirs lack something that was offered: their state is not to be remembered as one that the target has all of. */
export function noteUnfinished(following: Following, refs: readonly PackageRef[], results: readonly Brought[]): void {
  const failed = new Set(results.flatMap(({ outcome: o }) => (o.outcome === "failed" ? [o.fileName] : [])));
  if (failed.size === 0) return;
  for (const { fileName, subdir } of refs)
    if (subdir !== undefined && failed.has(fileName)) following.unfinished.add(subdir);
}
