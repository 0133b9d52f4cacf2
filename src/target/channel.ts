import { setTimeout as pause } from "node:timers/promises";
import { TargetError } from "../errors.ts";
import { openIndexState } from "./index-state.ts";
import { publishSubdir } from "./publish-subdir.ts";
import { PreconditionFailed, type Store } from "./store.ts";
import type { Addition, Progress, PublishedSubdir, PublishOptions, SubdirWish } from "./subdir-job.ts";

/** How often a lost race is run again before another writer counts as the winner for good. */
const MAX_RACES = 20;

/** Where nothing keeps other writers out, each of many may win before we do. */
const MAX_LOCKLESS_RACES = 200;

/** Losers of a race wait up to this long, each for another time. */
const LONGEST_PAUSE_MS = 1000;

/**
 * Merges wishes into the channel's indexes and writes what changes, in every subdir named and always in noarch, which
 * clients insist on (CEP 26). Everything that was there stays, byte for byte. Runs that meet lose nothing: each merges
 * into what it finds at that moment, and a lost race is run again.
 */
export async function publish(
  store: Store,
  wishes: ReadonlyMap<string, SubdirWish>,
  options: PublishOptions,
  signal?: AbortSignal,
): Promise<PublishedSubdir[]> {
  const all = new Map<string, SubdirWish>([["noarch", { additions: [] }], ...wishes]);
  const progress = new Map([...all.keys()].map((s): [string, Progress] => [s, { replaced: new Map(), done: false }]));
  const most = store.lockless ? MAX_LOCKLESS_RACES : MAX_RACES;
  for (let race = 1; ; race++) {
    try {
      return await store.exclusive(async () => {
        const state = await openIndexState(store);
        const published: PublishedSubdir[] = [];
        for (const [subdir, wish] of [...all].sort(([a], [b]) => (a < b ? -1 : 1))) {
          const own = progress.get(subdir) as Progress;
          const { state: next, ...done } = await publishSubdir(
            store,
            subdir,
            own.done ? rest(wish) : wish,
            own,
            state.get(subdir),
            options,
            signal,
          );
          state.set(subdir, next);
          published.push(done);
        }
        await state.save();
        return published;
      }, signal);
    } catch (e) {
      if (!(e instanceof PreconditionFailed)) throw e;
      if (race === most) {
        throw new TargetError("LOST_RACE", {
          what: `${store.where}: the index could not be written`,
          why: `another writer changed it ${race} times while we were at it`,
          next: "the packages are in place; run again when the other writer is done",
          cause: e,
        });
      }
      if (store.lockless) await pause(Math.random() * Math.min(LONGEST_PAUSE_MS, 20 * 2 ** race));
    }
  }
}

/** What is left of a wish that the index holds already: to say it in the other files too. */
function rest({ additions, runExports }: SubdirWish): SubdirWish {
  const known = new Map(runExports);
  for (const a of additions) if (a.runExports) known.set(a.fileName, a.runExports);
  return { additions: [], runExports: known };
}

/** Additions by the subdir whose index they go into. */
export function wishesFor(additions: readonly Addition[]): Map<string, SubdirWish> {
  const bySubdir = new Map<string, { additions: Addition[] }>();
  for (const a of additions) {
    const wish = bySubdir.get(a.subdir);
    if (wish) wish.additions.push(a);
    else bySubdir.set(a.subdir, { additions: [a] });
  }
  return bySubdir;
}
