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
import { type Listing, list, packageFindings, unlistedFindings } from "./packages.ts";
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
  const there = await list(store, subdir, signal);
  let [packages, bytes] = [0, 0];
  for (const [fileName, size] of there) {
    if (!formatOf(fileName)) continue;
    packages++;
    bytes += size;
  }
  audit.news.reading(subdir, packages, bytes);
  let suspects = ordered(await firstLook(view, there, audit));
  for (let looks = 1; suspects.length > 0; looks++) {
    if (looks > MOST_LOOKS) throw disturbed(store.where, subdir);
    await settled(audit);
    const unchanged = (await versionOf(audit, subdir)) === view.version;
    if (!unchanged) {
      if (view.index) letGoIndex(view.index);
      view = await readView(store, subdir, signal);
    }
    const again = ordered(await lookAgain(view, suspects, audit));
    const stable = unchanged && isPartOf(again, suspects) && (await versionOf(audit, subdir)) === view.version;
    suspects = again;
    if (stable) break;
  }
  const records = view.index ? countRecords(view.index) : 0;
  if (view.index) letGoIndex(view.index);
  return { subdir, records, findings: suspects };
}

async function firstLook(view: View, there: Listing, audit: Audit): Promise<Finding[]> {
  const { index } = view;
  const found = [...view.findings];
  // What lies there beside an index that can't be read may all be in it.
  if (found.some((f) => f.code === "INDEX_UNREADABLE")) return found;
  const records = index ? eachRecord(index) : [];
  // Threads read packages while this one holds the forms of the index against each other.
  const [packages, forms] = await together(packageFindings(view, records, there, audit), formFindings(view, audit));
  push(found, packages);
  push(found, forms);
  if (index && audit.store.anyFile && promises(index))
    push(found, await sidecarFindings(view, promising(eachRecord(index)), there, audit));
  const unnamed: string[] = [];
  for (const [fileName, size] of there) if (size >= 0 && formatOf(fileName)) unnamed.push(fileName);
  push(found, await unlistedFindings(view, unnamed, audit));
  return found;
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

/** What is still wrong of what seemed so. */
export async function lookAgain(view: View, suspects: readonly Finding[], audit: Audit): Promise<Finding[]> {
  const { index, subdir } = view;
  const found = [...view.findings];
  if (found.some((f) => f.code === "INDEX_UNREADABLE")) return found;
  const of = (begin: string) => suspects.filter((f) => f.code.startsWith(begin));
  const unlisted = suspects.filter((f) => f.code === "PACKAGE_UNLISTED").map((f) => f.fileName);
  const named = new Set(
    suspects
      .filter((f) => f.code !== "PACKAGE_UNLISTED" && (f.code.startsWith("PACKAGE_") || f.code === "RECORD_UNUSABLE"))
      .map((f) => f.fileName),
  );
  const sidecars = of("SIDECAR_").map((f) => f.fileName);
  for (const name of sidecars) named.add(name.replace(/\.sigs(?:\.[0-9a-f]{64})?$/, ""));
  if (named.size > 0 && index) {
    const there = await listed(subdir, [...named], sidecars, audit);
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

/** So many names cost less to list than to be asked for one by one, where the store is far. */
const MANY = 100;

/** Those of the names that are there now. */
async function listed(
  subdir: string,
  fileNames: readonly string[],
  sidecars: readonly string[],
  { store, signal }: Audit,
): Promise<Listing> {
  if (sidecars.length > 0 || (store.folder === undefined && fileNames.length > MANY))
    return list(store, subdir, signal);
  const there: Listing = new Map();
  for (const fileName of fileNames) {
    const path = `${subdir}/${fileName}`;
    const file = isPath(fileName) ? await store.stat(path, signal) : undefined;
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
