import { basename } from "node:path";
import { isSubdir } from "./conda/file-name.ts";
import { loadVersions } from "./conda/version.ts";
import { channeldata, channeldataWithout } from "./index/channeldata.ts";
import { infoValue, liesElsewhere } from "./index/index-info.ts";
import type { PackageFacts } from "./index/package-facts.ts";
import { channelPage, type PackageSummary, type SubdirSummary } from "./index/page/channel-page.ts";
import { isOurPage } from "./index/page/frame.ts";
import { type PageRecord, pageRecord } from "./index/page/page-record.ts";
import { subdirPage } from "./index/page/subdir-page.ts";
import { placesByName } from "./index/record-names.ts";
import { countRecords, eachRecord, findRecord, type Repodata } from "./index/repodata.ts";
import type { FileCache } from "./survey/file-cache.ts";
import { readIndex } from "./target/read-index.ts";
import type { Store } from "./target/store.ts";
import { holds, type PublishedSubdir } from "./target/subdir-job.ts";

/** What the files at the top of a channel are made of. */
export interface ChannelJob {
  readonly store: Store;
  readonly cache: FileCache;
  readonly published: readonly PublishedSubdir[];
  readonly channeldata: boolean;
  readonly html: boolean;
  /** Whether those that are switched off go where the index has changed: they would tell of what is gone. */
  readonly removesStale?: true;
  /**
   * Called when `channeldata.json` can't be made anew, since that many packages were not read. What is gone is taken out of the one
   * that is there.
   */
  readonly unread: (packages: number) => void;
  readonly warn: (message: string) => void;
}

/** Brings the files at the top of a channel that packages went from up to date, where they are there. */
export async function updateChannelFiles(
  job: Pick<ChannelJob, "store" | "cache" | "published">,
  warn: (message: string) => void,
): Promise<string[]> {
  const channeldata = (await job.store.stat("channeldata.json")) !== undefined;
  const page = await job.store.get("index.html");
  const html = page !== undefined && isOurPage(page.bytes);
  const unread = () =>
    warn(
      "channeldata.json tells of packages that were not read here: what is gone is taken out, run index to make it anew",
    );
  return channeldata || html ? publishChannelFiles({ ...job, channeldata, html, unread, warn }) : [];
}

/**
 * Writes what tells of the whole channel: `channeldata.json` (CEP 38), and the pages that people browse. Nothing is read
 * where nothing changed. Gives the paths that were written.
 */
export async function publishChannelFiles(job: ChannelJob): Promise<string[]> {
  const { store } = job;
  const indexes = new Map<string, Promise<Repodata>>();
  const indexOf = (subdir: string): Promise<Repodata> => {
    const index = indexes.get(subdir) ?? readIndex(store, subdir).then((found) => found.index);
    // One index is in memory at a time: they are asked for subdir by subdir.
    indexes.clear();
    indexes.set(subdir, index);
    return index;
  };
  const written: string[] = [];
  if (job.removesStale) await removeSwitchedOff(job);
  const write = async (path: string, content: () => Iterable<Uint8Array>): Promise<void> => {
    if (await holds(store, path, content())) return;
    if (path.endsWith(".html") && (await isForeignPage(store, path))) {
      job.warn(
        `${path} is none of our pages and stays as it is: move it away to have one made, or switch write_html off`,
      );
      return;
    }
    await store.put(path, content(), "any");
    written.push(path);
  };
  const subdirs = await indexedSubdirs(job);
  const versions = JSON.stringify(subdirs);
  /** Whether a file at the top was made of these very indexes, and is as it was then. */
  const upToDate = async (path: string) => {
    const there = await store.stat(path);
    return there !== undefined && there.version === job.cache.summary(path, versions);
  };
  const writeTop = async (path: string, content: () => Iterable<Uint8Array>): Promise<void> => {
    await write(path, content);
    const there = await store.stat(path);
    if (there) job.cache.rememberSummary(path, versions, there.version);
  };
  let facts: Uint8Array | undefined;
  if (job.channeldata && !(await upToDate("channeldata.json"))) {
    const made = await makeChanneldata(job.cache, subdirs, indexOf);
    facts = made.bytes ?? (await withoutGone(store, subdirs, indexOf));
    if (made.unread > 0) job.unread(made.unread);
    if (facts) await writeTop("channeldata.json", () => [facts as Uint8Array]);
  }
  if (job.html) {
    const { compare } = await loadVersions();
    const channelName = basename(store.where) || "channel";
    const summaries: SubdirSummary[] = [];
    for (const { subdir, version } of subdirs) {
      const path = `${subdir}/index.html`;
      const known = job.cache.summary(subdir, version);
      if (known && (await store.stat(path))) {
        summaries.push(JSON.parse(known) as SubdirSummary);
        continue;
      }
      const index = await indexOf(subdir);
      const summary = summarise(subdir, index);
      const base = infoValue(index)["base_url"];
      const elsewhere = typeof base === "string" && liesElsewhere(subdir, base) ? { baseUrl: base } : {};
      await write(path, () =>
        bytesOf(
          subdirPage({ channelName, subdir, records: pageRecords(index), compareVersions: compare, ...elsewhere }),
        ),
      );
      job.cache.rememberSummary(subdir, version, JSON.stringify(summary));
      summaries.push(summary);
    }
    if (written.length > 0 || !(await upToDate("index.html"))) {
      const told = facts ?? (await store.get("channeldata.json"))?.bytes;
      const options = { channelName, subdirs: summaries, summaries: packageSummaries(told), compareVersions: compare };
      await writeTop("index.html", () => bytesOf(channelPage(options)));
    }
  }
  return written;
}

async function isForeignPage(store: Store, path: string): Promise<boolean> {
  const stored = await store.get(path);
  return stored !== undefined && !isOurPage(stored.bytes);
}

/** Removes what is switched off where this run changed the index that it tells of; pages only when they are ours. */
async function removeSwitchedOff({ store, published, channeldata, html, warn }: ChannelJob): Promise<void> {
  const changed = published.filter((p) => p.written.includes(`${p.subdir}/repodata.json`));
  if (changed.length === 0) return;
  const pages = ["index.html", ...changed.map((p) => `${p.subdir}/index.html`)];
  for (const path of [...(channeldata ? [] : ["channeldata.json"]), ...(html ? [] : pages)]) {
    if (!(await store.stat(path)) || (path.endsWith(".html") && (await isForeignPage(store, path)))) continue;
    await store.remove(path);
    warn(`${path} was removed: it is not among the files this run writes, and would tell of what is gone`);
  }
}

interface IndexedSubdir {
  readonly subdir: string;
  /** The version of its `repodata.json`. */
  readonly version: string;
}

/** The subdirs that have an index, also those that this run did not look at. */
async function indexedSubdirs({ store, published }: ChannelJob): Promise<IndexedSubdir[]> {
  const versions = new Map(published.map((p) => [p.subdir, p.version]));
  for (const subdir of (await store.folders()).filter(isSubdir)) {
    const there = versions.has(subdir) ? undefined : await store.stat(`${subdir}/repodata.json`);
    if (there) versions.set(subdir, there.version);
  }
  return [...versions].sort(([a], [b]) => (a < b ? -1 : 1)).map(([subdir, version]) => ({ subdir, version }));
}

/** None when the channel lists packages that were not read: channeldata.json must tell of all or of none. */
async function makeChanneldata(
  cache: FileCache,
  subdirs: readonly IndexedSubdir[],
  indexOf: (subdir: string) => Promise<Repodata>,
): Promise<{ readonly bytes?: Uint8Array; readonly unread: number }> {
  const found: PackageFacts[] = [];
  let listed = 0;
  for (const { subdir } of subdirs) {
    const index = await indexOf(subdir);
    listed += countRecords(index);
    for (const { fileName, facts } of cache.facts(subdir)) {
      if (facts === "" || !findRecord(index, fileName)) continue;
      listed--;
      found.push(JSON.parse(facts) as PackageFacts);
    }
  }
  if (listed > 0) return { unread: listed };
  const names = subdirs.map((s) => s.subdir);
  return { bytes: channeldata(found, names, await loadVersions()), unread: 0 };
}

/** The `channeldata.json` that is there, without what no subdir lists any more; undefined where it can't be read. */
async function withoutGone(
  store: Store,
  subdirs: readonly IndexedSubdir[],
  indexOf: (subdir: string) => Promise<Repodata>,
): Promise<Uint8Array | undefined> {
  const stored = await store.get("channeldata.json");
  if (!stored) return undefined;
  const listing = new Map<string, string[]>();
  for (const { subdir } of subdirs)
    for (const name of placesByName(await indexOf(subdir)).keys())
      listing.set(name, [...(listing.get(name) ?? []), subdir]);
  return channeldataWithout(stored.bytes, listing);
}

function* pageRecords(index: Repodata): Generator<PageRecord> {
  for (const one of eachRecord(index)) {
    const record = pageRecord(one);
    if (record) yield record;
  }
}

function summarise(subdir: string, index: Repodata): SubdirSummary {
  const names = new Set<string>();
  let [packages, bytes, newest] = [0, 0, 0];
  for (const r of pageRecords(index)) {
    packages++;
    names.add(r.name);
    bytes += r.size ?? 0;
    // Seconds or milliseconds, as formats.md has it.
    const time = r.timestamp ?? 0;
    newest = Math.max(newest, time > 253_402_300_799 ? time : time * 1000);
  }
  return { subdir, packages, names: names.size, bytes, ...(newest > 0 ? { newest } : {}) };
}

function packageSummaries(bytes: Uint8Array | undefined): Map<string, PackageSummary> {
  try {
    const value = JSON.parse(Buffer.from(bytes ?? "{}").toString("utf8")) as {
      packages?: Record<string, PackageSummary>;
    };
    return new Map(Object.entries(value.packages ?? {}));
  } catch {
    return new Map();
  }
}

function* bytesOf(texts: Iterable<string>): Generator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}
