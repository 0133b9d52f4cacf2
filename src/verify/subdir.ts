import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { formatOf } from "../conda/file-name.ts";
import { TargetError } from "../errors.ts";
import type { IndexRecord } from "../index/index-record.ts";
import { letGoIndex } from "../index/let-go.ts";
import { countRecords, eachRecord, findRecord, type Repodata } from "../index/repodata.ts";
import { OWN_FOLDER } from "../target/folder.ts";
import { isHeld } from "../target/folder-lock.ts";
import type { Audit } from "./audit.ts";
import { type Finding, isSame } from "./finding.ts";
import { formFindings } from "./forms.ts";
import { type Listing, list, markNamed, packageFindings, unlistedFindings } from "./packages.ts";
import { promising, sidecarFindings } from "./sidecars.ts";
import { isPath, readView, type View } from "./view.ts";

/** What a subdir is, as far as it was looked at. */
export interface AuditedSubdir {
  readonly subdir: string;
  readonly records: number;
  /** In the order of codes and file names. */
  readonly findings: readonly Finding[];
}

/** How often another writer may change what is looked at again before it counts as the winner for good. */
const MOST_LOOKS = 20;

/** Where no lock tells of other writers: how long something wrong must stay as it is, in milliseconds. */
const SETTLE_MS = 5000;

/**
 * Looks at one subdir. What seems wrong is looked at again, when no writer is between two of its steps, and is told only if
 * it is still so while the index is the one that it was held against: a channel that others write to gives no false findings.
 * @throws TargetError LOST_RACE; what the signal aborts with
 */
export async function auditSubdir(subdir: string, audit: Audit): Promise<AuditedSubdir> {
  const { store, signal } = audit;
  let view = await readView(store, subdir, signal);
  let suspects = ordered(await firstLook(view, audit));
  for (let looks = 1; suspects.length > 0; looks++) {
    if (looks > MOST_LOOKS) throw disturbed(store.where, subdir);
    await settled(audit);
    const unchanged = (await versionOf(audit, subdir)) === view.version;
    if (!unchanged) {
      if (view.index) letGoIndex(view.index);
      view = await readView(store, subdir, signal);
    }
    const again = ordered(await lookAgain(view, suspects, audit, unchanged));
    const stable = unchanged && isPartOf(again, suspects) && (await versionOf(audit, subdir)) === view.version;
    suspects = again;
    if (stable) break;
  }
  const records = view.index ? countRecords(view.index) : 0;
  if (view.index) letGoIndex(view.index);
  return { subdir, records, findings: suspects };
}

async function firstLook(view: View, audit: Audit): Promise<Finding[]> {
  const { index, subdir } = view;
  const { store, signal } = audit;
  const found = [...view.findings];
  // What lies there beside an index that can't be read may all be in it.
  if (found.some((f) => f.code === "INDEX_UNREADABLE")) return found;
  const records = () => (index ? eachRecord(index) : []);
  const listing = async () => {
    const there = await list(store, subdir, signal);
    tellOf(there, subdir, audit);
    return there;
  };
  // The forms of a large index take memory that must be free again before that of findings is taken.
  const first = index && (audit.quick || index.bytes.length > LARGE) ? await formFindings(view, audit) : undefined;
  const opens = store.folder !== undefined && !audit.quick;
  const before = opens ? undefined : await listing();
  // Threads read packages while this one looks what else lies there, and holds the forms of the index against each other.
  const [packages, [there, forms]] = await together(
    packageFindings(view, records(), before, audit),
    (async () => [before ?? (await listing()), first ?? (await formFindings(view, audit))] as const)(),
  );
  push(found, packages);
  push(found, forms);
  if (index && store.anyFile && promises(index))
    push(found, await sidecarFindings(view, promising(records()), there, audit));
  markNamed(there, records());
  const unnamed: string[] = [];
  for (const [fileName, size] of there) if (size >= 0 && formatOf(fileName)) unnamed.push(fileName);
  push(found, await unlistedFindings(view, unnamed, audit));
  return found;
}

const LARGE = 32 * 1024 * 1024;

function tellOf(there: Listing, subdir: string, { news }: Audit): void {
  let [packages, bytes] = [0, 0];
  for (const [fileName, size] of there) {
    if (!formatOf(fileName)) continue;
    packages++;
    bytes += size;
  }
  news.reading(subdir, packages, bytes);
}

/** Waits for both, also where one fails. */
async function together<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([a, b]);
  return [await a, await b];
}

/** Half a million records without attestations are not looked into one by one. */
function promises({ bytes }: Repodata): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes("attestations_sha256");
}

/**
 * What is still wrong of what seemed so.
 * @param unchanged whether the view is the one that it seemed so in.
 */
export async function lookAgain(
  view: View,
  suspects: readonly Finding[],
  audit: Audit,
  unchanged = false,
): Promise<Finding[]> {
  const { index, subdir } = view;
  const found = [...view.findings];
  if (found.some((f) => f.code === "INDEX_UNREADABLE")) return found;
  const of = (begin: string) => suspects.filter((f) => f.code.startsWith(begin));
  const missing = of("PACKAGE_MISSING");
  const unlisted = of("PACKAGE_UNLISTED").map((f) => f.fileName);
  const named = new Set<string>();
  for (const { code, fileName } of suspects)
    if (code === "RECORD_UNUSABLE" || (/^PACKAGE_/.test(code) && !/_(?:MISSING|UNLISTED)$/.test(code)))
      named.add(fileName);
  const sidecars = of("SIDECAR_").map((f) => f.fileName);
  for (const name of sidecars) named.add(name.replace(/\.sigs(?:\.[0-9a-f]{64})?$/, ""));
  if (index && missing.length + named.size > 0) {
    const many = sidecars.length > 0 || missing.length + named.size > MANY;
    const there = await (many
      ? list(audit.store, subdir, audit.signal)
      : some(subdir, [...missing.map((f) => f.fileName), ...named], audit));
    // Half a million may be missing: what is still so is the same finding.
    for (const one of missing) {
      if (there.has(one.fileName)) named.add(one.fileName);
      else if (unchanged || findRecord(index, one.fileName)) found.push(one);
    }
    const { packages, bytes, unhashed, elsewhere } = audit.counts;
    const records = () => recordsOf(index, named);
    push(found, await packageFindings(view, records(), there, audit));
    // They were counted when they were first looked at.
    Object.assign(audit.counts, { packages, bytes, unhashed, elsewhere });
    push(found, await sidecarFindings(view, promising(records()), there, audit));
  }
  if (of("FORM_").length + of("SHARD_").length > 0) push(found, await formFindings(view, audit));
  push(found, await unlistedFindings(view, unlisted, audit));
  return found;
}

function* recordsOf(index: Repodata, fileNames: Iterable<string>): Generator<IndexRecord> {
  for (const fileName of fileNames) {
    const record = findRecord(index, fileName);
    if (record) yield { fileName, record };
  }
}

/** So many names cost less to list than to be asked for one by one. */
const MANY = 100;

/** Those of the names that are there now. */
async function some(subdir: string, fileNames: readonly string[], { store, signal }: Audit): Promise<Listing> {
  const there: Listing = new Map();
  for (const fileName of fileNames) {
    const file = isPath(fileName) ? await store.stat(`${subdir}/${fileName}`, signal) : undefined;
    if (file) there.set(fileName, file.size);
  }
  return there;
}

/** Waits until no writer of ours can be between two of its steps. */
export async function settled({ store, clock, signal }: Audit): Promise<void> {
  if (store.folder === undefined) return clock.sleep(SETTLE_MS, signal);
  while (await isHeld(join(store.folder, OWN_FOLDER, "lock"))) await sleep(100, undefined, { signal });
}

async function versionOf({ store, signal }: Audit, subdir: string): Promise<string | undefined> {
  return (await store.stat(`${subdir}/repodata.json`, signal))?.version;
}

function ordered(findings: Finding[]): Finding[] {
  return findings.sort(
    (a, b) => compare(a.code, b.code) || compare(a.fileName, b.fileName) || compare(a.detail, b.detail),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether all of one ordered list stand in another. */
function isPartOf(some: readonly Finding[], all: readonly Finding[]): boolean {
  let i = 0;
  for (const one of some) {
    while (i < all.length && !isSame(all[i] as Finding, one)) i++;
    if (i++ >= all.length) return false;
  }
  return true;
}

/** A million at once are too many arguments. */
function push(to: Finding[], some: readonly Finding[]): void {
  for (const one of some) to.push(one);
}

function disturbed(where: string, subdir: string): TargetError {
  return new TargetError("LOST_RACE", {
    what: `${where}: ${subdir} could not be looked at`,
    why: `other writers changed it ${MOST_LOOKS} times while we were at it`,
    next: "run verify again when they are done",
  });
}
