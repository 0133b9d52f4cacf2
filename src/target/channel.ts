import { setTimeout as pause } from "node:timers/promises";
import { TargetError } from "../errors.ts";
import { firstState } from "./ahead.ts";
import { openIndexState } from "./index-state.ts";
import { noteLeaving } from "./leaving.ts";
import { publishSubdir } from "./publish-subdir.ts";
import { PreconditionFailed, type Store } from "./store.ts";
import type { Addition, Freed, Progress, PublishedSubdir, PublishOptions, SubdirWish } from "./subdir-job.ts";
import type { Removals } from "./target.ts";

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
  const all = new Map<string, SubdirWish>([
    ...(options.alone ? [] : [["noarch", { additions: [] }] as const]),
    ...wishes,
  ]);
  const steps = inOrder(all).map(([subdir, wish]) => {
    const progress: Progress = { replaced: new Map(), done: false, freed: noneFreed(), dropped: new Set() };
    return { subdir, wish, progress };
  });
  const most = store.lockless ? MAX_LOCKLESS_RACES : MAX_RACES;
  for (let race = 1; ; race++) {
    try {
      return await store.exclusive(async () => {
        const state = await openIndexState(store);
        const published = new Map<string, PublishedSubdir>();
        for (const [subdir, wish] of all) {
          const known = state.get(subdir) ?? (await firstState(store, subdir, signal));
          state.set(subdir, await noteLeaving(store, subdir, known, wish, options.now, signal));
        }
        await state.save();
        for (const { subdir, wish, progress: own } of steps) {
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
          const earlier = published.get(subdir);
          const written = [...(earlier?.written ?? []), ...done.written];
          const freed = steps.filter((s) => s.subdir === subdir).map((s) => s.progress.freed);
          published.set(subdir, { ...done, written, from: earlier ? earlier.from : done.from, freed: sumOf(freed) });
        }
        await state.save();
        return [...published.values()];
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

function noneFreed(): Freed {
  return { packages: 0, shards: 0, bytes: 0 };
}

function sumOf(all: readonly Freed[]): Freed {
  const sum = noneFreed();
  for (const { packages, shards, bytes } of all) {
    sum.packages += packages;
    sum.shards += shards;
    sum.bytes += bytes;
  }
  return sum;
}

/** What is left of a wish that the index holds already: to say it in the other files too. */
function rest({ additions, runExports, removeFiles, cleanUp, doubted, broken }: SubdirWish): SubdirWish {
  const known = new Map(runExports);
  for (const a of additions) if (a.runExports) known.set(a.fileName, a.runExports);
  return {
    additions: [],
    runExports: known,
    ...(removeFiles ? { removeFiles } : {}),
    ...(cleanUp ? { cleanUp } : {}),
    ...(doubted ? { doubted } : {}),
    ...(broken ? { broken } : {}),
  };
}

/**
 * What becomes of the subdirs one after the other. A client that reads between two of them sees what was there and some of what
 * is new, never less: it can always install. So whatever goes or changes in its place goes after all that is new has come,
 * in every subdir; the last that gets something new has both at once.
 */
function inOrder(wishes: ReadonlyMap<string, SubdirWish>): (readonly [subdir: string, wish: SubdirWish])[] {
  const sorted = [...wishes].sort(([a], [b]) => (a < b ? -1 : 1));
  const isNew = (a: Addition) => !a.update && !a.replaceWith;
  const takes = ({ additions, remove, takenBack, missing, broken, patch }: SubdirWish) =>
    additions.some((a) => !isNew(a)) ||
    patch !== undefined ||
    [remove, takenBack, missing, broken].some((s) => s && s.size > 0);
  const gives = (wish: SubdirWish) => wish.additions.some(isNew);
  const both = sorted.filter(([, wish]) => takes(wish) && gives(wish));
  const given = both
    .slice(0, -1)
    .map(([subdir, wish]) => [subdir, { additions: wish.additions.filter(isNew) }] as const);
  const taken = sorted.filter(([, wish]) => takes(wish) && !both.some(([, w]) => w === wish));
  return [...sorted.filter(([, wish]) => !takes(wish)), ...given, ...both.slice(-1), ...both.slice(0, -1), ...taken];
}

/** Additions and removals by the subdir whose index they go into. */
export function wishesFor(additions: readonly Addition[], removals: Removals = new Map()): Map<string, SubdirWish> {
  const bySubdir = new Map<string, SubdirWish & { additions: Addition[] }>();
  for (const [subdir, removal] of removals) bySubdir.set(subdir, { ...removal, additions: [] });
  for (const a of additions) {
    const wish = bySubdir.get(a.subdir);
    if (wish) wish.additions.push(a);
    else bySubdir.set(a.subdir, { additions: [a] });
  }
  return bySubdir;
}
