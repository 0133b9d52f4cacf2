import type { Brought } from "./bring.ts";
import type { Following } from "./follow.ts";
import type { Run } from "./run.ts";
import type { PublishedSubdir } from "./target/subdir-job.ts";
import type { Target } from "./target/target.ts";

/**
 * Remembers which states of channels a target now has all of, so that the next run has one question to ask. A state counts only
 * when every package that it lacked has come, and when the index that it was compared with is the one that was written on.
 */
export async function remember(
  target: Target,
  following: Following,
  results: readonly Brought[],
  published: readonly PublishedSubdir[],
  run: Run,
): Promise<void> {
  const followed = target.index?.followed;
  if (!followed || run.signal.aborted || run.targets.length > 1) return;
  const came = new Set(
    results.flatMap(({ outcome: o }) => (o.outcome === "failed" ? [] : [`${o.subdir}/${o.fileName}`])),
  );
  for (const state of following.incomplete && run.removal ? [] : following.states) {
    const { key, subdir, compared, offered, shardIndex } = state;
    const done = published.find((p) => p.subdir === subdir);
    if (!done || done.from !== compared) continue;
    if (![...offered].every((fileName) => came.has(`${subdir}/${fileName}`))) continue;
    if (shardIndex) await followed.keep(key, shardIndex);
    followed.set(key, { ...state.followed, target: done.version });
  }
  await followed.save();
}
