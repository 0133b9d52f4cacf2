import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import { attested } from "./attest.ts";
import { asMirrorError, InterruptedError, type MirrorError, TargetError } from "./errors.ts";
import type { Outcome } from "./events.ts";
import { noteMissed } from "./lost.ts";
import type { Present } from "./plan/plan.ts";
import type { Run } from "./run.ts";
import type { PackageRef } from "./source/source.ts";
import type { Addition } from "./target/subdir-job.ts";
import type { Target } from "./target/target.ts";
import { type Fetched, fetchPackage } from "./transfer/fetch-package.ts";
import type { Place } from "./transfer/place.ts";
import type { Expected } from "./transfer/worker-messages.ts";

/** A target that wants a package, and what it has under the package's name. */
export interface Wanting {
  readonly target: Target;
  readonly there: readonly Present[];
}

/** What became of a package at one target. */
export interface Brought {
  readonly target: Target;
  readonly outcome: Outcome;
  /** Set when the package's record has to be in the index. */
  readonly addition?: Addition;
  /** The package's record, where it was fetched. */
  readonly record?: Uint8Array;
}

/**
 * One package from its source to the targets that want it: fetched once and checked, then taken by each. One target's
 * failure is none of the others'. Nothing is said for a target that is lost over it.
 * @param alone no other package of this run has its file name.
 * @throws MirrorError when it could not be fetched.
 */
export async function bring(
  ref: PackageRef,
  wanting: readonly Wanting[],
  alone: boolean,
  run: Run,
): Promise<readonly Brought[]> {
  const { fileName, origin } = ref;
  const promised = ref.sha256 !== undefined || ref.md5 !== undefined;
  const known = promised ? undefined : unchangedSince(ref, wanting);
  const places = [...wanting.flatMap((w) => leftoverPlaces(ref, w)), ref, ...(ref.fallbacks ?? [])];
  const [first] = wanting;
  const free =
    run.targets.length === 1 && first?.there.length === 0 && alone ? await first.target.placeIn?.() : undefined;
  // First, since a package that lacks what its record promises must not be there.
  const sidecar = await attested(
    ref,
    wanting.map((w) => w.target),
    run,
  );
  const fetched = await fetchStaged(
    { ...expectedOf(ref), ...(free === undefined ? {} : { placeIn: free }) },
    places,
    known?.version,
    run,
  );
  if (fetched === "unchanged") {
    const kept = (w: Wanting): Brought => {
      const subdir = known?.subdirs.get(w.target) ?? "";
      return { target: w.target, outcome: { outcome: "kept", fileName, subdir, origin } };
    };
    return wanting.map(kept);
  }
  const { version } = fetched;
  // What the source knows better than the package: where its record stands, and hot-fixed run exports.
  const received = { ...fetched.received, v3: ref.v3 ?? fetched.received.v3, ...said(ref) };
  const warn = (message: string) => run.emit({ type: "warning", message: `${fileName}: ${message}` });
  for (const w of received.warnings) warn(w);
  const { subdir, size: bytes, stagedPath } = received;
  const takeOne = async ({ target, there }: Wanting): Promise<Brought | undefined> => {
    if (run.lost.has(target)) return undefined;
    try {
      const { onConflict, signal } = run;
      const beside = sidecar ? { attested: sidecar.bytes } : ref.sidecars ? { sidecars: ref.sidecars() } : {};
      const options = { onConflict, origin, warn, signal, ...beside };
      const { outcome, addition } = await target.take(received, there, options);
      run.setbacks.delete(target);
      // Before its record is published, and only beside the bytes that they are about.
      if (addition || (outcome === "kept" && ref.current)) await sidecar?.put(target, subdir);
      if (!promised && version !== undefined && outcome !== "skipped")
        target.seen.remember(ref.key, version, received.sha256);
      const told = { fileName, subdir, origin };
      const { record } = received;
      if (outcome === "kept" && ref.current)
        return { target, record, outcome: { outcome, ...told }, addition: currentRecord(ref) };
      if (outcome === "kept" || outcome === "skipped") return { target, record, outcome: { outcome, ...told } };
      const brought = { target, record, outcome: { outcome, ...told, bytes, verified: promised } };
      return addition ? { ...brought, addition: ref.current ? { ...addition, current: true } : addition } : brought;
    } catch (e) {
      const error = run.signal.aborted ? new InterruptedError(e) : asMirrorError(e, fileName);
      if (noteMissed(target, error, run)) return undefined;
      return { target, outcome: { outcome: "failed", fileName, origin, error } };
    }
  };
  const all = (await Promise.all(wanting.map(takeOne))).filter((b) => b !== undefined);
  const needed = all.some((b) => (b.addition?.replaceWith ?? b.addition?.ensure)?.stagedPath === stagedPath);
  if (!received.placed && !needed) await rm(stagedPath, { force: true });
  return all;
}

/** Fetches a package to where packages wait; where that disk is full, to where another target has room for it. */
async function fetchStaged(
  expected: Expected,
  places: readonly Place[],
  unlessVersion: string | undefined,
  run: Run,
): Promise<Fetched> {
  const { fileName } = expected;
  const options = {
    receivers: run.receivers,
    retryAttempts: run.retry.attempts,
    longestWaitMs: run.retry.longestWaitMs,
    clock: run.retry.clock,
    signal: run.signal,
    onBytes: (bytes: number, size: number | undefined) => run.emit({ type: "bytes", fileName, bytes, size }),
    onRetry: ({ error, waitMs, place }: { error: MirrorError; waitMs: number; place: Place }) =>
      run.emit({ type: "retrying", fileName, error, waitMs, origin: place.origin }),
  };
  for (;;) {
    const stagedPath = await run.stagedPath();
    try {
      return await fetchPackage(expected, places, stagedPath, unlessVersion, options);
    } catch (e) {
      const full = e instanceof TargetError && e.code === "FULL";
      if (!full || !(await run.staging.leave(dirname(stagedPath)))) throw e;
    }
  }
}

function said({ runExports }: PackageRef): { runExports?: Uint8Array } {
  return runExports ? { runExports } : {};
}

/** The record of a package that is there: the index takes it over where its own is older. */
export function currentRecord(ref: PackageRef): Addition {
  const { fileName, record, sha256, subdir, v3, runExports } = ref;
  return {
    subdir: subdir as string,
    fileName,
    record: record as Uint8Array,
    sha256: sha256 ?? "",
    current: true,
    update: true,
    ...(v3 === undefined ? {} : { v3 }),
    ...(runExports ? { runExports } : {}),
  };
}

/** What a worker thread has to know of a package; a reference itself can't cross threads. */
function expectedOf({ fileName, origin, sha256, md5, crc32, size, subdir, record }: PackageRef): Expected {
  const known = { sha256, md5, crc32, size, subdir, record };
  return {
    fileName,
    origin,
    ...(Object.fromEntries(Object.entries(known).filter(([, v]) => v !== undefined)) as Partial<Expected>),
  };
}

/**
 * The version of an origin without hashes at which it was the file that every target has; a transfer then is needless.
 * Where targets took it at different versions, it is fetched.
 */
function unchangedSince(
  ref: PackageRef,
  wanting: readonly Wanting[],
): { readonly version: string; readonly subdirs: ReadonlyMap<Target, string> } | undefined {
  const subdirs = new Map<Target, string>();
  const versions = new Set<string>();
  for (const { target, there } of wanting) {
    for (const p of there) {
      if (!p.unpacked && (p.fileSize === undefined || p.recorded?.size !== p.fileSize)) continue;
      const version = target.seen.versionOf(ref.key, p.recorded?.sha256);
      if (version === undefined) continue;
      versions.add(version);
      subdirs.set(target, p.subdir);
      break;
    }
  }
  const [version] = versions;
  return version !== undefined && versions.size === 1 && subdirs.size === wanting.length
    ? { version, subdirs }
    : undefined;
}

/** Files of a killed run that lie in place but in no index: with a hash to check them, they spare the transfer. */
function leftoverPlaces(ref: PackageRef, { target, there }: Wanting): Place[] {
  if (ref.sha256 === undefined && ref.md5 === undefined) return [];
  const leftovers = there.filter(
    (p) => !p.recorded && p.fileSize !== undefined && (ref.size === undefined || ref.size === p.fileSize),
  );
  return leftovers.flatMap((p) => target.placeOf(p.subdir, p.fileName) ?? []);
}
