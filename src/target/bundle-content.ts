import { createHash, hash } from "node:crypto";
import { type BundleEntry, type Manifest, manifestHash } from "../bundle/manifest.ts";
import { type Bundle, readBundleIndex } from "../bundle/read-bundle.ts";
import { indexInfo } from "../index/index-info.ts";
import { countMerged, type IndexChange, mergedPieces, mergedSize, type NewRecord } from "../index/merge.ts";
import { eachRecord, emptyRepodata, type Repodata, readRepodata } from "../index/repodata.ts";
import type { Received } from "../transfer/worker-messages.ts";
import type { Addition } from "./subdir-job.ts";

/** A package that the channel of a bundle has before a run. */
export interface Held {
  readonly entry: BundleEntry;
  /** Where its bytes are: with those who have the manifest that this bundle starts from, or in the file that is there. */
  readonly at: "base" | "old";
}

/** What a bundle is to be. */
export interface NextBundle {
  readonly manifest: Manifest;
  /** The records that it carries, as changes to the indexes of the file that is there. */
  readonly indexes: ReadonlyMap<string, { readonly index: Repodata; readonly change: IndexChange }>;
  readonly subdirs: readonly { readonly subdir: string; readonly records: number; readonly version: string }[];
  /** Places whose bytes nobody has at hand. */
  readonly dropped: readonly string[];
}

/** What is known when a bundle is to be written. */
export interface BundleParts {
  readonly base: Manifest | undefined;
  readonly old: Bundle | undefined;
  readonly held: ReadonlyMap<string, Held>;
  readonly additions: readonly Addition[];
  /** Packages that came in this run, by place. */
  readonly taken: ReadonlyMap<string, Received>;
  /** Places of packages that the channel has no longer. */
  readonly gone: ReadonlySet<string>;
}

/**
 * Decides what a bundle is to hold: packages that came, those of the file that is there, and records that differ from those
 * of the manifest to start from. Its manifest names the whole channel.
 * @throws SourceError BAD_BUNDLE when the file that is there is damaged
 */
export async function nextBundle({ base, old, held, additions, taken, gone }: BundleParts): Promise<NextBundle> {
  const entries = new Map<string, BundleEntry>();
  for (const [path, { entry, at }] of held) if (!gone.has(path)) entries.set(path, { ...entry, here: at === "old" });
  const added = new Map<string, Map<string, NewRecord>>();
  for (const { subdir, fileName, record, v3, current } of additions) {
    const path = `${subdir}/${fileName}`;
    const came = taken.get(path);
    const known = entries.get(path);
    const entry = came
      ? { subdir, fileName, size: came.size, sha256: came.sha256, md5: came.md5, here: true }
      : known && current && known;
    if (!entry) continue;
    entries.set(path, { ...entry, record: hash("sha256", record) });
    const records = added.get(subdir) ?? new Map<string, NewRecord>();
    added.set(subdir, records.set(fileName, { record, ...(v3 === undefined ? {} : { v3 }) }));
  }

  const subdirs = [...new Set([...entries.values()].map((e) => e.subdir))].sort();
  const indexes = new Map<string, { index: Repodata; change: IndexChange }>();
  const told = new Map<string, { size: number; sha256: string }>();
  const published: { subdir: string; records: number; version: string }[] = [];
  const dropped: string[] = [];
  for (const subdir of subdirs) {
    const bytes = old && (await readBundleIndex(old, subdir));
    const index = bytes ? readRepodata(bytes) : emptyRepodata(subdir);
    const carried = (path: string): boolean => {
      const entry = entries.get(path);
      return entry !== undefined && (entry.here || base?.entries.get(path)?.record !== entry.record);
    };
    const add = new Map([...(added.get(subdir) ?? [])].filter(([fileName]) => carried(`${subdir}/${fileName}`)));
    const there = new Set<string>();
    const remove = new Set<string>();
    for (const { fileName } of eachRecord(index)) {
      if (add.has(fileName)) continue;
      if (carried(`${subdir}/${fileName}`)) there.add(fileName);
      else remove.add(fileName);
    }
    for (const [path, entry] of entries) {
      if (entry.subdir !== subdir || !carried(path) || add.has(entry.fileName) || there.has(entry.fileName)) continue;
      dropped.push(path);
      entries.delete(path);
    }
    const own = [...entries.values()].filter((e) => e.subdir === subdir).length;
    const info = indexInfo(index, subdir, null, { add, remove });
    const change: IndexChange = { add, remove, ...(info ? { info } : {}) };
    let version = "";
    if (countMerged(index, change) > 0) {
      const digest = createHash("sha256");
      for (const piece of mergedPieces(index, change)) digest.update(piece);
      version = digest.digest("hex");
      indexes.set(subdir, { index, change });
      told.set(subdir, { size: mergedSize(index, change), sha256: version });
    }
    published.push({ subdir, records: own, version });
  }
  const since = base ? manifestHash(base) : null;
  return { manifest: { since, indexes: told, entries }, indexes, subdirs: published, dropped };
}
