import { updateChannelFiles } from "./channel-files.ts";
import { type RecordFacts, recordFacts } from "./conda/record-facts.ts";
import { indexFilesOf } from "./config/index-files.ts";
import type { Settings } from "./config/settings.ts";
import { asMirrorError, isInterruption, MirrorError, TargetError } from "./errors.ts";
import type { IndexFiles } from "./index/index-files.ts";
import { letGoIndex } from "./index/let-go.ts";
import { countRecords, eachRecord, findRecord } from "./index/repodata.ts";
import { cachePath } from "./open-channel.ts";
import { guardOne, mostOf } from "./removal.ts";
import { openFileCache } from "./survey/file-cache.ts";
import { openReaders } from "./survey/readers.ts";
import { copiesOf } from "./survey-copies.ts";
import { RUN_EXPORTS, UNPATCHED } from "./target/ahead.ts";
import { publish } from "./target/channel.ts";
import { readIndexFile } from "./target/read-index.ts";
import type { Store } from "./target/store.ts";
import { type Addition, type Broken, type PublishedSubdir, SHARD_INDEX, type SubdirWish } from "./target/subdir-job.ts";
import type { Finding } from "./verify/finding.ts";
import { keepCopy } from "./verify/quarantine.ts";
import { oldRunExports } from "./verify/shards.ts";
import { lookAgain } from "./verify/subdir.ts";
import { readView } from "./verify/view.ts";
import { type Bringing, bringAgain, type Fate } from "./verify-sources.ts";

export interface Mending extends Bringing {
  readonly settings: Settings;
  /** Whether records go whose file could not be brought back. */
  readonly removeBroken: boolean;
  /** How much of a subdir may go, as `--max-delete` has it. */
  readonly maxDelete: string | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Paths of what was written, and of what was set aside: added to. */
  readonly written: string[];
  readonly quarantined: string[];
}

/** Packages whose record may go, when nothing brings them back. One that can't be read is not among them: it may be whole. */
const BROKEN: readonly string[] = ["PACKAGE_MISSING", "PACKAGE_SIZE", "PACKAGE_DAMAGED", "PACKAGE_BROKEN"];

/** What is made anew from `repodata.json`. */
const FORMS: readonly string[] = ["FORM_UNREADABLE", "FORM_DIFFERS", "SHARD_MISSING", "SHARD_DAMAGED", "SHARD_DIFFERS"];

const DAY = 24 * 60 * 60 * 1000;

/**
 * Mends what can be mended without losing anything: packages come again from sources, packages that no record names are read in,
 * forms of the index are made anew, all through what publishes a channel always.
 * @param fates where it is noted what became of each finding, also when this fails; of one that is still there afterwards why.
 */
export async function mend(findings: readonly Finding[], work: Mending, fates: Map<Finding, Fate>): Promise<void> {
  const { audit, dryRun } = work;
  try {
    await bringAgain(findings, work, fates);
    const going = work.removeBroken ? brokenOf(findings, fates) : [];
    const bySubdir = Map.groupBy(findings, (f) => f.subdir);
    const allowed = (await isAllowed(going, work, fates)) ? new Set(going) : new Set<Finding>();
    const published: PublishedSubdir[] = [];
    for (const [subdir, some] of bySubdir) {
      audit.signal.throwIfAborted();
      await mendSubdir(subdir, some, allowed, [...bySubdir.keys()], work, fates, published);
    }
    const changed = published.filter((p) => p.written.includes(`${p.subdir}/repodata.json`));
    if (changed.length > 0) await updateTop(published, work);
    if (!dryRun) await lookWhatIsLeft(bySubdir, work, fates);
  } catch (e) {
    // What was done is told.
    if (!isInterruption(e, audit.signal)) throw e;
  }
}

/** Those of the packages that are missing or damaged and did not come back. */
function brokenOf(findings: readonly Finding[], fates: Map<Finding, Fate>): Finding[] {
  return findings.filter((f) => {
    const fate = fates.get(f);
    if (fate && "how" in fate) return false;
    if (f.code === "PACKAGE_UNREADABLE")
      fates.set(f, { why: `${fate ? `${fate.why}; ` : ""}what can't be read may be whole: its record stays` });
    return BROKEN.includes(f.code);
  });
}

/** Guards removal as `--delete` is guarded: what would be too much stays, and is told. */
async function isAllowed(going: readonly Finding[], work: Mending, fates: Map<Finding, Fate>): Promise<boolean> {
  const { store, signal } = work.audit;
  const most = mostOf(work.maxDelete);
  const subdirs = [];
  for (const [subdir, some] of Map.groupBy(going, (f) => f.subdir)) {
    const { index } = await readView(store, subdir, signal);
    const listed = index ? countRecords(index) : 0;
    if (index) letGoIndex(index);
    const gone = some.map((f) => f.fileName);
    subdirs.push({ subdir, gone, takenBack: [], going: gone.length, listedTakenBack: 0, listed });
  }
  try {
    guardOne(store.where, subdirs, most, "");
    return true;
  } catch (e) {
    if (!(e instanceof TargetError)) throw e;
    for (const f of going) fates.set(f, { why: e.why });
    return false;
  }
}

/** Everything that is to be published of one subdir, at once. */
async function mendSubdir(
  subdir: string,
  findings: readonly Finding[],
  goingOf: ReadonlySet<Finding>,
  subdirs: readonly string[],
  work: Mending,
  fates: Map<Finding, Fate>,
  published: PublishedSubdir[],
): Promise<void> {
  const { audit, dryRun } = work;
  const { store, signal } = audit;
  const of = (...codes: readonly string[]) => findings.filter((f) => codes.includes(f.code));
  const say = (some: readonly Finding[], fate: Fate) => {
    for (const f of some) fates.set(f, fate);
  };
  const forms = of(...FORMS);
  const unlisted = of("PACKAGE_UNLISTED");
  const going = findings.filter((f) => goingOf.has(f));
  const made = of("INDEX_MISSING", "REMOVED_UNUSABLE");
  if (forms.length + unlisted.length + going.length + made.length === 0) return;
  if (dryRun) {
    say(forms, { how: "would be made anew from repodata.json" });
    say(unlisted, { how: "would be read in" });
    say(going, { how: "its record would go, and its file be set aside" });
    say(made, { how: "would be made" });
    return;
  }
  try {
    const lacking = await lackingIn(subdir, forms, work);
    const read = await surveyed(
      subdir,
      new Set([...unlisted.map((f) => f.fileName), ...lacking.keys()]),
      findings,
      work,
      fates,
    );
    const additions = read.filter((a) => isAsListed(a, lacking.get(a.fileName)));
    const broken = await stillBroken(subdir, going, work);
    const doubted = new Set(forms.map((f) => f.fileName));
    const files = await filesOf(subdir, subdirs, doubted, additions.length + broken.size + made.length > 0, work);
    const wish: SubdirWish = {
      additions,
      ...(doubted.size > 0 ? { doubted } : {}),
      ...(broken.size > 0 ? { broken } : {}),
      ...(files.shards && doubted.size > 0 ? { runExports: await oldRunExports(subdir, audit) } : {}),
    };
    const options = { files, warn: work.warn, now: work.now, deleteGraceMs: work.settings.delete_grace_days * DAY };
    // No signal: what was set aside must not be in the index.
    const done = await publish(store, new Map([[subdir, wish]]), { ...options, alone: true });
    published.push(...done);
    work.written.push(...done.flatMap((p) => p.written));
    say(forms, { how: "made anew" });
    say(made, { how: "made" });
    const dropped = new Set(done.flatMap((p) => [...(p.dropped ?? [])]));
    for (const f of going) {
      const copy = broken.get(f.fileName)?.copy;
      if (!dropped.has(f.fileName)) fates.set(f, { why: "it changed meanwhile: its record stays" });
      else
        fates.set(f, {
          how: copy === undefined ? "its record went" : "its record went, what is left of its file is in quarantine",
        });
    }
    say(
      unlisted.filter((f) => !fates.has(f)),
      { how: "read in" },
    );
  } catch (e) {
    if (isInterruption(e, signal) || (e instanceof MirrorError && e.exitCode === 4)) throw e;
    const { what, why } = asMirrorError(e, subdir);
    say([...forms, ...unlisted, ...going, ...made], { why: `${what}: ${why}` });
  }
}

/** What of it still is as it was found, with what is left of it in quarantine: that was hours ago, where a channel is large. */
async function stillBroken(
  subdir: string,
  going: readonly Finding[],
  { audit, now, quarantined }: Mending,
): Promise<Map<string, Broken & { readonly copy: string | undefined }>> {
  const broken = new Map<string, Broken & { readonly copy: string | undefined }>();
  if (going.length === 0) return broken;
  const { store, signal } = audit;
  const versions = new Map<string, string | undefined>();
  for (const { fileName } of going)
    versions.set(fileName, (await store.stat(`${subdir}/${fileName}`, signal))?.version);
  const view = await readView(store, subdir, signal);
  if (!view.index) return broken;
  for (const { code, fileName } of await lookAgain(view, going, audit)) {
    const record = findRecord(view.index, fileName);
    if (!BROKEN.includes(code) || !record || !versions.has(fileName)) continue;
    const copy = await keepCopy(audit, `${subdir}/${fileName}`, now);
    if (copy !== undefined) quarantined.push(copy);
    broken.set(fileName, { record: Buffer.from(record), version: versions.get(fileName), copy });
  }
  letGoIndex(view.index);
  return broken;
}

/** Listed packages of which a file of the index that has to tell of all tells nothing. One that can't be read is set aside. */
async function lackingIn(
  subdir: string,
  forms: readonly Finding[],
  work: Mending,
): Promise<ReadonlyMap<string, RecordFacts>> {
  const { audit } = work;
  const { store, signal } = audit;
  const lacking = new Map<string, RecordFacts>();
  for (const name of [RUN_EXPORTS, UNPATCHED]) {
    const about = forms.find((f) => f.fileName === name);
    if (!about) continue;
    const { index } = await readView(store, subdir, signal);
    if (!index) continue;
    if (about.code === "FORM_DIFFERS") {
      const form = await readIndexFile(store, `${subdir}/${name}`, signal);
      for (const { fileName, record } of eachRecord(index))
        if (form && !findRecord(form.index, fileName)) lacking.set(fileName, recordFacts(record));
      if (form) letGoIndex(form.index);
    } else if (name === RUN_EXPORTS) {
      const kept = await keepCopy(audit, `${subdir}/${name}`, work.now);
      if (kept !== undefined) work.quarantined.push(kept);
      await store.remove(`${subdir}/${name}`, signal);
      for (const { fileName, record } of eachRecord(index)) lacking.set(fileName, recordFacts(record));
    }
    letGoIndex(index);
  }
  return lacking;
}

/** Whether a package that was read is the one that its record is of, where it has one: a quick look has not seen its bytes. */
function isAsListed({ sha256, record }: Addition, listed: RecordFacts | undefined): boolean {
  if (!listed) return true;
  return listed.sha256 === undefined
    ? listed.md5 !== undefined && listed.md5 === recordFacts(record).md5
    : listed.sha256 === sha256;
}

/** Reads packages as `index` does; those that are known to be missing or damaged are not read. */
async function surveyed(
  subdir: string,
  fileNames: ReadonlySet<string>,
  findings: readonly Finding[],
  { audit }: Mending,
  fates: Map<Finding, Fate>,
): Promise<Addition[]> {
  const additions: Addition[] = [];
  const bad = new Map(findings.filter((f) => f.code !== "PACKAGE_UNLISTED").map((f) => [f.fileName, f]));
  const healthy = (f: string) => {
    const finding = bad.get(f);
    const fate = finding && fates.get(finding);
    return !finding || (fate !== undefined && "how" in fate);
  };
  const names = [...fileNames].filter(healthy);
  if (names.length === 0) return additions;
  const unlisted = new Map(findings.filter((f) => f.code === "PACKAGE_UNLISTED").map((f) => [f.fileName, f]));
  const readers = openReaders(audit.checkers.threads, { facts: false });
  const refuse = (fileName: string, error: MirrorError) => {
    const about = unlisted.get(fileName);
    if (about) fates.set(about, { why: `${error.what}: ${error.why}` });
  };
  try {
    for await (const copies of copiesOf(audit.store, subdir, names, audit.concurrency, audit.signal)) {
      for (const { fileName, error } of copies.failed) refuse(fileName, error);
      for await (const one of readers.read(copies.folder, subdir, copies.fileNames, audit.signal)) {
        const { fileName } = one;
        if (!one.ok) refuse(fileName, one.error);
        else {
          const { record, sha256, v3, runExports } = one;
          additions.push({ subdir, fileName, record, sha256, v3, runExports });
        }
      }
    }
  } finally {
    await readers.close();
  }
  audit.signal.throwIfAborted();
  return additions;
}

/**
 * Which files of the index are written: where only some of its forms are wrong those and no other; else all that the subdir
 * has, or, where it has none yet, those that the other subdirs have.
 */
async function filesOf(
  subdir: string,
  subdirs: readonly string[],
  doubted: ReadonlySet<string>,
  changes: boolean,
  { audit: { store }, settings }: Mending,
): Promise<IndexFiles> {
  const defaults = { ...indexFilesOf(settings), baseUrl: null };
  const all = changes ? await formsIn(store, subdir) : undefined;
  const shards = [...doubted].some((name) => name === SHARD_INDEX || name.endsWith(".msgpack.zst"));
  let there = all ?? new Set([...doubted, ...(shards ? [SHARD_INDEX] : [])]);
  if (all?.size === 0) {
    const folders = (await store.folders()).filter((f) => subdirs.includes(f) || f.includes("-") || f === "noarch");
    const habits = await Promise.all(folders.map((folder) => formsIn(store, folder)));
    there = new Set(habits.flatMap((names) => [...names]));
    if (there.size === 0) return { ...defaults, currentRepodata: "keep" };
  }
  const has = (name: string) => there.has(name) || doubted.has(name);
  return {
    ...defaults,
    zst: has("repodata.json.zst"),
    bz2: has("repodata.json.bz2"),
    shards: has(SHARD_INDEX),
    currentRepodata: has("current_repodata.json"),
    runExports: has(RUN_EXPORTS),
  };
}

async function formsIn(store: Store, subdir: string): Promise<Set<string>> {
  const there = new Set<string>();
  for (const name of ["repodata.json.zst", "repodata.json.bz2", SHARD_INDEX, "current_repodata.json", RUN_EXPORTS])
    if (await store.stat(`${subdir}/${name}`)) there.add(name);
  return there;
}

/** What tells of the whole channel, where it is there. */
async function updateTop(published: readonly PublishedSubdir[], { audit: { store }, warn, written }: Mending) {
  const cache = await openFileCache(await cachePath(store));
  try {
    written.push(...(await store.exclusive(() => updateChannelFiles({ store, cache, published }, warn))));
  } finally {
    cache.close();
  }
}

/** What was mended is looked at as it was when it was found: only what is not there any more counts as mended. */
async function lookWhatIsLeft(
  bySubdir: ReadonlyMap<string, readonly Finding[]>,
  { audit }: Mending,
  fates: Map<Finding, Fate>,
): Promise<void> {
  for (const [subdir, findings] of bySubdir) {
    const view = await readView(audit.store, subdir, audit.signal);
    const left = new Set((await lookAgain(view, findings, audit)).map((f) => `${f.code} ${f.fileName}`));
    /** Where a run failed when the index was written, its record is gone all the same. */
    const isDropped = ({ code, fileName }: Finding) =>
      BROKEN.includes(code) && view.index !== undefined && !findRecord(view.index, fileName);
    const dropped = new Set(findings.filter(isDropped));
    if (view.index) letGoIndex(view.index);
    for (const f of findings) {
      const fate = fates.get(f);
      if (left.has(`${f.code} ${f.fileName}`)) {
        if (fate && "how" in fate) fates.set(f, { why: `${fate.how}, and it is wrong again` });
      } else if (!fate || "why" in fate) fates.set(f, { how: dropped.has(f) ? "its record went" : "it is right now" });
    }
  }
}
