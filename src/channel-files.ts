import { basename } from "node:path";
import { loadVersions } from "./conda/version.ts";
import { channeldata } from "./index/channeldata.ts";
import type { PackageFacts } from "./index/package-facts.ts";
import { channelPage, type PackageSummary, type SubdirSummary } from "./index/page/channel-page.ts";
import { type PageRecord, pageRecord } from "./index/page/page-record.ts";
import { subdirPage } from "./index/page/subdir-page.ts";
import { eachRecord, findRecord, type Repodata } from "./index/repodata.ts";
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
  const write = async (path: string, content: () => Iterable<Uint8Array>): Promise<void> => {
    if (await holds(store, path, content())) return;
    await store.put(path, content(), "any");
    written.push(path);
  };
  const changed = job.published.some((p) => p.written.length > 0);
  const missing = async (path: string) => (await store.stat(path)) === undefined;
  let facts: Uint8Array | undefined;
  if (job.channeldata && (changed || (await missing("channeldata.json")))) {
    facts = await makeChanneldata(job, indexOf);
    if (facts) await write("channeldata.json", () => [facts as Uint8Array]);
  }
  if (job.html) {
    const { compare } = await loadVersions();
    const channelName = basename(store.where) || "channel";
    const summaries: SubdirSummary[] = [];
    let pages = 0;
    for (const { subdir, version } of job.published) {
      const path = `${subdir}/index.html`;
      const known = job.cache.summary(subdir, version);
      if (known && !(await missing(path))) {
        summaries.push(JSON.parse(known) as SubdirSummary);
        continue;
      }
      const index = await indexOf(subdir);
      const summary = summarise(subdir, index);
      await write(path, () =>
        bytesOf(subdirPage({ channelName, subdir, records: pageRecords(index), compareVersions: compare })),
      );
      job.cache.rememberSummary(subdir, version, JSON.stringify(summary));
      summaries.push(summary);
      pages++;
    }
    if (pages > 0 || written.length > 0 || (await missing("index.html"))) {
      const told = facts ?? (await store.get("channeldata.json"))?.bytes;
      const options = { channelName, subdirs: summaries, summaries: packageSummaries(told), compareVersions: compare };
      await write("index.html", () => bytesOf(channelPage(options)));
    }
  }
  return written;
}

/** Undefined when the channel lists packages that were not read: channeldata.json must tell of all or of none. */
async function makeChanneldata(
  job: ChannelJob,
  indexOf: (subdir: string) => Promise<Repodata>,
): Promise<Uint8Array | undefined> {
  const found: PackageFacts[] = [];
  let listed = 0;
  for (const { subdir, records } of job.published) {
    listed += records;
    if (records === 0) continue;
    const index = await indexOf(subdir);
    for (const { fileName, facts } of job.cache.facts(subdir)) {
      if (!findRecord(index, fileName)) continue;
      listed--;
      const value = JSON.parse(facts || "null") as PackageFacts | null;
      if (value) found.push(value);
    }
  }
  if (listed > 0) return undefined;
  return channeldata(
    found,
    job.published.map((p) => p.subdir),
    await loadVersions(),
  );
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
