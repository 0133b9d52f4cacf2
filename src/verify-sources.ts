import { hash } from "node:crypto";
import { rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Clients } from "./clients.ts";
import { type RecordFacts, recordFacts } from "./conda/record-facts.ts";
import { asMirrorError, isInterruption } from "./errors.ts";
import { letGoIndex } from "./index/let-go.ts";
import { findRecord, lookUp, RECORD_MAPS } from "./index/repodata.ts";
import type { PackageRef, Source } from "./source/source.ts";
import { PreconditionFailed } from "./target/store.ts";
import { fetchPackage } from "./transfer/fetch-package.ts";
import { pool } from "./transfer/pool.ts";
import { readAll } from "./transfer/read-all.ts";
import { startReceivers } from "./transfer/receivers.ts";
import { withRetries } from "./transfer/retry.ts";
import type { Audit } from "./verify/audit.ts";
import type { Finding } from "./verify/finding.ts";
import { Outside } from "./verify/inside.ts";
import { MAX_SIDECAR, readSidecar } from "./verify/sidecars.ts";
import { settled } from "./verify/subdir.ts";
import { readView } from "./verify/view.ts";

/** What became, or would become, of a finding. */
export type Fate = { readonly how: string } | { readonly why: string };

/** What is missing or damaged, and what it must be. */
interface Wanted {
  readonly finding: Finding;
  readonly subdir: string;
  /** The package; `finding` may be about its attestations. */
  readonly fileName: string;
  readonly facts: RecordFacts;
  /** Of the damaged file; undefined where there is none. */
  readonly version: string | undefined;
  /** What sources offer under its name and hash. */
  readonly refs: PackageRef[];
}

const PACKAGES: readonly string[] = [
  "PACKAGE_MISSING",
  "PACKAGE_SIZE",
  "PACKAGE_DAMAGED",
  "PACKAGE_UNREADABLE",
  "PACKAGE_OUTSIDE",
];

const SIDECAR = /\.sigs(?:\.[0-9a-f]{64})?$/;

export interface Bringing {
  readonly audit: Audit;
  readonly sources: readonly Source[];
  readonly clients: Clients;
  readonly dryRun: boolean;
  readonly warn: (message: string) => void;
}

/**
 * Brings packages and attestations that are missing or damaged again: by the hash of their record, from the first source that has
 * those bytes. A damaged file is replaced in one step, and only by bytes of that hash; the record stays as it is.
 * @param fates where it is noted what became of each.
 */
export async function bringAgain(
  findings: readonly Finding[],
  work: Bringing,
  fates: Map<Finding, Fate>,
): Promise<void> {
  const { audit, dryRun } = work;
  const { signal } = audit;
  const wanted = await wantedOf(findings, audit, fates);
  for (const source of work.sources) {
    try {
      await offers(source, wanted, signal);
    } catch (e) {
      if (isInterruption(e, signal)) throw e;
      const error = asMirrorError(e, source.what);
      work.warn(`${error.what}: ${error.why}`);
    }
  }
  const packages = wanted.filter((w) => PACKAGES.includes(w.finding.code));
  for (const w of packages) {
    const [first] = w.refs;
    if (!first)
      fates.set(w.finding, { why: work.sources.length === 0 ? "no --from names a source" : "no source has it" });
    else if (dryRun) fates.set(w.finding, { how: `would come again from ${first.origin}` });
  }
  const due = dryRun ? [] : packages.filter((w) => w.refs.length > 0);
  if (due.length > 0) await fetchAll(due, work, fates);
  for (const w of wanted.filter((one) => one.finding.code.startsWith("SIDECAR_"))) {
    try {
      fates.set(w.finding, await mendSidecar(w, work));
    } catch (e) {
      if (isInterruption(e, signal)) throw e;
      const error = asMirrorError(e, w.finding.fileName);
      fates.set(w.finding, { why: `${error.what}: ${error.why}` });
    }
  }
}

/** Versions first, then records: whoever replaces a file and its record in between has changed the version. */
async function wantedOf(findings: readonly Finding[], audit: Audit, fates: Map<Finding, Fate>): Promise<Wanted[]> {
  const { store, signal } = audit;
  const found: Wanted[] = [];
  const bySubdir = Map.groupBy(
    findings.filter((f) => PACKAGES.includes(f.code) || f.code.startsWith("SIDECAR_")),
    (f) => f.subdir,
  );
  for (const [subdir, some] of bySubdir) {
    const versions = new Map<Finding, string | undefined>();
    for (const f of some) versions.set(f, (await store.stat(`${subdir}/${f.fileName}`, signal))?.version);
    await settled(audit);
    const { index } = await readView(store, subdir, signal);
    if (!index) continue;
    for (const finding of some) {
      const fileName = finding.fileName.replace(SIDECAR, "");
      const record = findRecord(index, fileName);
      const facts = record && recordFacts(record);
      if (!facts) continue;
      if (facts.sha256 === undefined && facts.md5 === undefined)
        fates.set(finding, { why: "its record says no hash to know the right bytes by" });
      else found.push({ finding, subdir, fileName, facts, version: versions.get(finding), refs: [] });
    }
    letGoIndex(index);
  }
  return found;
}

/** Notes what a source offers of what is wanted. Of a channel only the records that are wanted are looked at. */
async function offers(source: Source, wanted: readonly Wanted[], signal: AbortSignal): Promise<void> {
  const { channel } = source;
  const take = (w: Wanted, ref: PackageRef) => {
    const other = (key: "sha256" | "md5") =>
      ref[key] !== undefined && w.facts[key] !== undefined && ref[key] !== w.facts[key];
    const elsewhere = ref.subdir !== undefined && ref.subdir !== w.subdir;
    if (!elsewhere && !other("sha256") && !other("md5")) w.refs.push(ref);
  };
  if (wanted.length === 0) return;
  if (channel) {
    const bySubdir = Map.groupBy(wanted, (w) => w.subdir);
    for (const subdir of await channel.subdirs(signal)) {
      const some = bySubdir.get(subdir);
      const upstream = some && (await channel.whole(subdir, signal));
      if (!some || upstream === undefined || upstream === "unchanged") continue;
      for (const w of some) {
        for (const map of RECORD_MAPS) {
          const record = lookUp(upstream.index, map, w.fileName);
          try {
            if (record) take(w, channel.offer(upstream, map, w.fileName, record));
          } catch {
            // A record that can't be followed says nothing; another source may have the package.
          }
        }
      }
      letGoIndex(upstream.index);
    }
    return;
  }
  const byName = Map.groupBy(wanted, (w) => w.fileName);
  for await (const ref of source.packages(signal)) for (const w of byName.get(ref.fileName) ?? []) take(w, ref);
}

const MOST_THREADS = 4;

async function fetchAll(due: readonly Wanted[], work: Bringing, fates: Map<Finding, Fate>): Promise<void> {
  const { audit, clients } = work;
  const { store, signal, retry } = audit;
  const threads = Math.min(MOST_THREADS, availableParallelism());
  const receivers = startReceivers(threads, 1, { http: clients.requests, prove: clients.prove }, signal);
  let staged = 0;
  const bring = async (w: Wanted): Promise<void> => {
    const { finding, subdir, fileName, facts, version, refs } = w;
    const [first] = refs as [PackageRef];
    const stagedPath = join(await store.staging(), `again-${staged++}`);
    const { sha256, md5, size } = facts;
    const promised = Object.fromEntries(Object.entries({ sha256, md5, size }).filter(([, v]) => v !== undefined));
    try {
      const fetched = await fetchPackage(
        { fileName, origin: first.origin, subdir, ...promised },
        refs.flatMap((ref) => [ref, ...(ref.fallbacks ?? [])]),
        stagedPath,
        undefined,
        {
          receivers,
          retryAttempts: retry.attempts,
          longestWaitMs: retry.longestWaitMs,
          clock: retry.clock,
          signal,
        },
      );
      if (fetched === "unchanged") return;
      const { received } = fetched;
      const body = { stagedPath: received.stagedPath, facts: received };
      await store.put(`${subdir}/${fileName}`, body, version === undefined ? "absent" : { version }, signal);
      await rm(received.stagedPath, { force: true });
      fates.set(finding, { how: `came again from ${first.origin}` });
    } catch (e) {
      if (isInterruption(e, signal)) return;
      if (e instanceof PreconditionFailed) {
        fates.set(finding, { why: "something else lies in its place, or it changed meanwhile; run verify again" });
        return;
      }
      const error = asMirrorError(e, fileName);
      fates.set(finding, { why: `${error.what}: ${error.why}` });
    }
  };
  try {
    for await (const _ of pool(due, audit.concurrency, bring, signal));
  } finally {
    await receivers.close();
  }
}

/** From the one under its hash, else from a source; the hashed name first (CEP 50). */
async function mendSidecar(w: Wanted, { audit, dryRun, sources }: Bringing): Promise<Fate> {
  const { store, signal, retry } = audit;
  const promised = w.facts.attestations as string;
  const isIt = (bytes: Uint8Array | undefined) => bytes !== undefined && hash("sha256", bytes, "hex") === promised;
  const name = `${w.fileName}.sigs`;
  const hashed = `${name}.${promised}`;
  const own = async (at: string) => {
    const there = await store.stat(`${w.subdir}/${at}`, signal);
    if (!there || there.size > MAX_SIDECAR) return undefined;
    return readSidecar(store, w.subdir, at, signal).catch((e: Error) => {
      if (e instanceof Outside) return undefined;
      throw e;
    });
  };
  let [bytes, origin] = [await own(hashed), "the one under its hash"];
  if (!isIt(bytes)) [bytes, origin] = [await own(name), "the one under its name"];
  for (const ref of w.refs) {
    if (isIt(bytes)) break;
    if (ref.attestations?.sha256 !== promised) continue;
    const place = ref.attestations.place();
    try {
      bytes = await withRetries(() => readAll(place, MAX_SIDECAR, signal), { ...retry, signal });
      origin = place.origin;
    } catch (e) {
      if (isInterruption(e, signal)) throw e;
    }
  }
  if (!bytes || !isIt(bytes)) return { why: sources.length === 0 ? "no --from names a source" : "no source has it" };
  if (dryRun) return { how: `would come again from ${origin}` };
  for (const at of [hashed, name]) if (!isIt(await own(at))) await store.put(`${w.subdir}/${at}`, bytes, "any", signal);
  return { how: `came again from ${origin}` };
}
