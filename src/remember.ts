import type { Following } from "./following.ts";
import { carryNotices } from "./notices.ts";
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
  published: readonly PublishedSubdir[],
  run: Run,
): Promise<void> {
  const followed = target.index?.followed;
  if (!followed || run.signal.aborted || run.targets.length > 1) return;
  const lacks = following.incomplete || following.lacking.has(target);
  for (const state of lacks && run.removal ? [] : following.states) {
    const { key, subdir, compared, shardIndex } = state;
    const done = published.find((p) => p.subdir === subdir);
    if (!done || done.from !== compared || following.unfinished.has(subdir)) continue;
    if (shardIndex) await followed.keep(key, shardIndex);
    followed.set(key, { ...state.followed, target: done.version });
  }
  const notices = following.states.length > 0 || isDue(followed.asked(NOTICES), run.retry.clock.now());
  if (notices) followed.setAsked(NOTICES, run.retry.clock.now());
  await followed.save();
  if (target.index && notices) await carryNotices(target.index, run);
}

const NOTICES = "notices";
const HOUR = 60 * 60 * 1000;

/** Notices change by themselves. Where nothing else changed, a run is one request a subdir: so they are asked for once an hour. */
function isDue(asked: number | undefined, now: number): boolean {
  return asked === undefined || now < asked || now - asked >= HOUR;
}

/** Notes what a round that is not the last one made of the indexes that were compared. */
export function advance(following: Following, published: readonly PublishedSubdir[]): void {
  for (const state of following.states) {
    const done = published.find((p) => p.subdir === state.subdir);
    if (done) state.compared = done.from === state.compared ? done.version : null;
  }
}
