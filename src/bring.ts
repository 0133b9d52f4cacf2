import { rm } from "node:fs/promises";
import type { Outcome } from "./events.ts";
import type { Run } from "./mirror.ts";
import { conflict, type OnConflict, type Present, settle } from "./plan/plan.ts";
import type { PackageRef } from "./source/source.ts";
import { PreconditionFailed, type Store } from "./target/store.ts";
import type { Addition } from "./target/subdir-job.ts";
import { fetchPackage } from "./transfer/fetch-package.ts";
import type { Place } from "./transfer/place.ts";
import type { Expected, Received } from "./transfer/worker-messages.ts";

export interface Brought {
  readonly outcome: Outcome;
  /** Set when the package's record has to be in the index. */
  readonly addition?: Addition;
}

/**
 * One package from its source to its place in the target: fetched, checked, settled against what is there, moved in.
 * @param alone no other package of this run has its file name.
 */
export async function bring(
  ref: PackageRef,
  present: readonly Present[],
  claimed: Map<string, string>,
  alone: boolean,
  run: Run,
): Promise<Brought> {
  const promised = ref.sha256 !== undefined || ref.md5 !== undefined;
  const known = promised ? undefined : unchangedSince(ref, present, run);
  const { fileName, origin } = ref;
  const places = [...leftoverPlaces(ref, present, run.store), ref, ...(ref.fallbacks ?? [])];
  const free = present.length === 0 && run.store.folder !== undefined && alone;
  const fetched = await fetchPackage(
    { ...expectedOf(ref), ...(free ? { placeIn: run.store.folder } : {}) },
    places,
    await run.stagedPath(),
    known?.version,
    {
      receivers: run.receivers,
      retryAttempts: run.retry.attempts,
      longestWaitMs: run.retry.longestWaitMs,
      clock: run.retry.clock,
      signal: run.signal,
      onBytes: (bytes, size) => run.emit({ type: "bytes", fileName, bytes, size }),
      onRetry: ({ error, waitMs, place }) =>
        run.emit({ type: "retrying", fileName, error, waitMs, origin: place.origin }),
    },
  );
  if (fetched === "unchanged") return { outcome: { outcome: "kept", fileName, subdir: known?.subdir ?? "", origin } };
  const { received, version } = fetched;
  for (const w of received.warnings) run.emit({ type: "warning", message: `${fileName}: ${w}` });
  try {
    const brought = await moveIn(received, origin, promised, present, claimed, run);
    if (!promised && version !== undefined && brought.outcome.outcome !== "skipped")
      run.seen.remember(ref.key, version, received.sha256);
    return brought;
  } catch (e) {
    await rm(received.stagedPath, { force: true });
    throw e;
  }
}

/** What a worker thread has to know of a package; a reference itself can't cross threads. */
function expectedOf({ fileName, origin, sha256, md5, size, subdir, record }: PackageRef): Expected {
  const known = { sha256, md5, size, subdir, record };
  return {
    fileName,
    origin,
    ...(Object.fromEntries(Object.entries(known).filter(([, v]) => v !== undefined)) as Partial<Expected>),
  };
}

async function moveIn(
  received: Received,
  origin: string,
  verified: boolean,
  present: readonly Present[],
  claimed: Map<string, string>,
  run: Run,
): Promise<Brought> {
  const { fileName, subdir, sha256, size, record, stagedPath } = received;
  const path = `${subdir}/${fileName}`;
  const kept = async (outcome: "kept" | "skipped"): Promise<Brought> => {
    await rm(stagedPath, { force: true });
    return { outcome: { outcome, fileName, subdir, origin } };
  };
  // Two sources of one run may hold the same name; the first to arrive has it.
  const earlier = claimed.get(path);
  if (earlier === sha256) return kept("kept");
  if (earlier !== undefined) throw conflict(fileName, { subdir, recorded: { sha256: earlier } }, origin, sha256);
  claimed.set(path, sha256);
  if (received.placed) {
    return {
      outcome: { outcome: "added", fileName, subdir, bytes: size, origin, verified },
      addition: { subdir, fileName, record, sha256 },
    };
  }

  const there = await withHash(
    present.find((p) => p.subdir === subdir),
    path,
    run,
  );
  const addition = { subdir, fileName, record, sha256 };
  const done = (outcome: "added" | "replaced"): Outcome => ({
    outcome,
    fileName,
    subdir,
    bytes: size,
    origin,
    verified,
  });
  const decision = settle(received, there, run.onConflict, origin);
  if (decision === "keep" || decision === "skip") return kept(decision === "keep" ? "kept" : "skipped");
  if (decision === "replace")
    return { outcome: done("replaced"), addition: { ...addition, replaceWith: { stagedPath } } };
  try {
    await run.store.put(path, { stagedPath }, "absent", run.signal);
    return { outcome: done("added"), addition };
  } catch (e) {
    if (!(e instanceof PreconditionFailed)) throw e;
  }
  // A file that no index lists: left by a run that was killed, or just put there by another one.
  const unlisted = await run.store.digest(path, run.signal);
  if (unlisted?.sha256 === sha256) {
    await rm(stagedPath, { force: true });
    return { outcome: done("added"), addition };
  }
  switch (run.onConflict satisfies OnConflict) {
    case "replace":
      return { outcome: done("replaced"), addition: { ...addition, replaceWith: { stagedPath } } };
    case "skip":
      return kept("skipped");
    case "error":
      throw conflict(fileName, { subdir, recorded: unlisted }, origin, sha256);
  }
}

/** The version of an origin without hashes at which it was the file that the target has; a transfer then is needless. */
function unchangedSince(
  ref: PackageRef,
  present: readonly Present[],
  run: Run,
): { version: string; subdir: string } | undefined {
  for (const p of present) {
    if (p.fileSize === undefined || p.recorded?.size !== p.fileSize) continue;
    const version = run.seen.versionOf(ref.key, p.recorded.sha256);
    if (version !== undefined) return { version, subdir: p.subdir };
  }
  return undefined;
}

/** Files of a killed run that lie in place but in no index: with a hash to check them, they spare the transfer. */
function leftoverPlaces(ref: PackageRef, present: readonly Present[], store: Store): Place[] {
  if (ref.sha256 === undefined && ref.md5 === undefined) return [];
  const leftovers = present.filter(
    (p) => !p.recorded && p.fileSize !== undefined && (ref.size === undefined || ref.size === p.fileSize),
  );
  return leftovers.flatMap((p) => store.placeOf(`${p.subdir}/${p.fileName}`) ?? []);
}

/** Old indexes list files without hashes: then the file itself tells. */
async function withHash(there: Present | undefined, path: string, run: Run): Promise<Present | undefined> {
  if (
    !there?.recorded ||
    there.recorded.sha256 !== undefined ||
    there.recorded.md5 !== undefined ||
    there.fileSize === undefined
  )
    return there;
  return { ...there, recorded: await run.store.digest(path, run.signal) };
}
