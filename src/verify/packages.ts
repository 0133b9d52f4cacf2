import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { formatOf } from "../conda/file-name.ts";
import { recordFacts } from "../conda/record-facts.ts";
import { TransferError } from "../errors.ts";
import type { IndexRecord } from "../index/index-record.ts";
import { findRecord } from "../index/repodata.ts";
import { UNPATCHED } from "../target/ahead.ts";
import { isDeadLink } from "../target/dead-link.ts";
import { OWN_FOLDER } from "../target/folder.ts";
import { atWorkSince } from "../target/incoming.ts";
import { readIndexFile } from "../target/read-index.ts";
import type { Store } from "../target/store.ts";
import { pool } from "../transfer/pool.ts";
import { withRetries } from "../transfer/retry.ts";
import { type Audit, finding } from "./audit.ts";
import { misnamed } from "./check-file.ts";
import { AHEAD, BATCH } from "./checkers.ts";
import type { Finding, FindingCode } from "./finding.ts";
import { rootsOf } from "./inside.ts";
import { isPath, type View } from "./view.ts";

const NO_NAME =
  "it is no package's file name: it was not looked for, and pixi and rattler may read nothing of this index";

/** Files by name inside a subdir: bytes of each, or -1 - bytes once a record was seen that names it. */
export type Listing = Map<string, number>;

/** The packages of a subdir, and the attestations beside them. */
export async function list(store: Store, subdir: string, signal: AbortSignal): Promise<Listing> {
  const found: Listing = new Map();
  for await (const { path, size } of store.list(subdir, signal)) {
    const fileName = path.slice(subdir.length + 1);
    if (!fileName.startsWith(".") && (formatOf(fileName) || fileName.includes(".sigs"))) found.set(fileName, size);
  }
  return found;
}

/** Bytes of a file of a listing; undefined when it is not there. */
export function sizeIn(listing: Listing, fileName: string): number | undefined {
  const size = listing.get(fileName);
  return size === undefined || size >= 0 ? size : -1 - size;
}

/** Notes which files of a listing records name. */
export function markNamed(listing: Listing, records: Iterable<IndexRecord>): void {
  for (const { fileName } of records) {
    const size = listing.get(fileName);
    if (size !== undefined && size >= 0) listing.set(fileName, -1 - size);
  }
}

/**
 * What is wrong with the packages of records: each is there, has its size, and where more than a quick look is asked for every
 * byte of it is what its record says, and the archive is the package that the record is of. Memory is bounded by the number of
 * findings and of files, whatever their size.
 * @param there the files of the subdir; needed for a quick look, and where the store is no folder of this machine.
 */
export async function packageFindings(
  view: View,
  records: Iterable<IndexRecord>,
  there: Listing | undefined,
  audit: Audit,
): Promise<Finding[]> {
  const { subdir } = view;
  const { counts, signal } = audit;
  const found: Finding[] = [];
  const missing = (fileName: string, detail = "there is no such file") => {
    if (view.elsewhere) counts.elsewhere++;
    else if (isDeadLink(audit.store, `${subdir}/${fileName}`))
      found.push(finding("PACKAGE_UNREADABLE", subdir, fileName, "it is a link that leads nowhere"));
    else found.push(finding("PACKAGE_MISSING", subdir, fileName, detail));
  };
  function* present(): Generator<IndexRecord> {
    for (const one of records) {
      if (!isPath(one.fileName)) found.push(finding("RECORD_UNUSABLE", subdir, one.fileName, NO_NAME));
      // Whoever opens them sees whether they are there.
      else if (!there || sizeIn(there, one.fileName) !== undefined) yield one;
      else missing(one.fileName);
    }
  }
  if (audit.quick) {
    for (const { fileName, record } of present()) {
      if (counts.packages++ % 4096 === 0) signal.throwIfAborted();
      const facts = recordFacts(record);
      const size = there && sizeIn(there, fileName);
      const wrong = misnamed(fileName, facts, subdir);
      if (wrong !== undefined) found.push(finding("RECORD_UNUSABLE", subdir, fileName, wrong));
      else if (facts.size !== undefined && facts.size !== size)
        found.push(finding("PACKAGE_SIZE", subdir, fileName, `expected ${facts.size} bytes, it has ${size}`));
    }
    return found;
  }
  const work = audit.store.folder === undefined ? elsewhereChecked(view, audit) : hereChecked(view, audit);
  const { batch, atOnce, check } = work;
  for await (const checked of pool(batches(present(), batch), atOnce, check, signal)) {
    counts.packages += checked.packages;
    counts.bytes += checked.bytes;
    counts.unhashed += checked.unhashed;
    audit.news.read(checked.packages, checked.bytes);
    for (const { fileName, code, detail } of checked.problems) {
      if (code === "PACKAGE_MISSING") {
        missing(fileName, detail);
        counts.packages--;
      } else
        found.push(finding((code === "CHANGED" ? "PACKAGE_DAMAGED" : code) as FindingCode, subdir, fileName, detail));
    }
  }
  signal.throwIfAborted();
  return found;
}

interface CheckedBatch {
  readonly packages: number;
  readonly bytes: number;
  readonly unhashed: number;
  readonly problems: readonly { readonly fileName: string; readonly code: string; readonly detail: string }[];
}

interface Checking {
  readonly batch: number;
  readonly atOnce: number;
  check(records: readonly IndexRecord[]): Promise<CheckedBatch>;
}

/** Packages in a folder of this machine are read where they lie. */
function hereChecked({ subdir }: View, { store, checkers }: Audit): Checking {
  const folder = join(store.folder as string, subdir);
  const roots = rootsOf(store, subdir);
  return {
    batch: BATCH,
    atOnce: checkers.threads * AHEAD,
    async check(records) {
      return { packages: records.length, ...(await checkers.check(folder, records, { subdir, roots })) };
    },
  };
}

/** Others are copied to this machine for as long as they are looked at, so many at once as there are transfers. */
function elsewhereChecked({ subdir }: View, audit: Audit): Checking {
  let copies = 0;
  return {
    batch: 1,
    atOnce: audit.concurrency,
    async check(records) {
      const [one] = records as [IndexRecord];
      const folder = join(await audit.scratch(), String(copies++));
      await mkdir(folder);
      try {
        const copied = await copy(audit, `${subdir}/${one.fileName}`, join(folder, one.fileName));
        if (!copied) {
          const gone = { fileName: one.fileName, code: "PACKAGE_MISSING", detail: "there is no such file" };
          return { packages: 1, bytes: 0, unhashed: 0, problems: [gone] };
        }
        return { packages: 1, ...(await audit.checkers.check(folder, records, { subdir, roots: [folder] })) };
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

/** Copies a file of a store to this machine. Gives whether there was such a file. @throws TransferError */
export async function copy({ store, retry, signal }: Audit, path: string, to: string): Promise<boolean> {
  const place = store.placeOf(path);
  if (!place) return false;
  const once = async () => {
    const stream = await place.open({}, signal);
    if (stream === "unchanged") return;
    const file = await open(to, "w");
    try {
      for await (const chunk of stream.chunks) await file.writeFile(chunk);
    } finally {
      await file.close();
    }
  };
  try {
    await withRetries(once, { ...retry, signal });
    return true;
  } catch (e) {
    if (e instanceof TransferError && e.code === "NOT_FOUND") return false;
    throw e;
  }
}

function* batches(records: Iterable<IndexRecord>, most: number): Generator<IndexRecord[]> {
  let batch: IndexRecord[] = [];
  for (const one of records) {
    batch.push(one);
    if (batch.length < most) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** Files of a bucket that are younger may be those of a run that has not come to its index yet: nothing else tells of it. */
const ARRIVING_MS = 24 * 60 * 60 * 1000;

/**
 * Packages that no record names, and that are not meant to be unnamed: one waits for the end of its grace period, a patch hides
 * another, a third was taken back (CEP 36), and one may just have come and be listed in a moment.
 */
export async function unlistedFindings(view: View, fileNames: readonly string[], audit: Audit): Promise<Finding[]> {
  const { subdir, index, leaving } = view;
  const { store, signal, counts, clock } = audit;
  // What a section of a later revision says is not known, and it may name them (CEP 48).
  if (index?.others.some(([key]) => /^v\d+$/i.test(key))) return [];
  const removed = new Set(index?.removed);
  let left = fileNames.filter((f) => !leaving.has(f) && !removed.has(f) && !(index && findRecord(index, f)));
  if (left.length === 0) return [];
  try {
    const unpatched = await readIndexFile(store, `${subdir}/${UNPATCHED}`, signal);
    if (unpatched) left = left.filter((f) => !findRecord(unpatched.index, f));
  } catch {
    // Told of where the forms of the index are looked at.
  }
  const since =
    store.folder === undefined ? clock.now() - ARRIVING_MS : await atWorkSince(join(store.folder, OWN_FOLDER));
  const found: Finding[] = [];
  for (const fileName of left) {
    const there = await store.stat(`${subdir}/${fileName}`, signal);
    if (!there) continue;
    if (since !== undefined && there.modified !== undefined && there.modified >= since) counts.arriving++;
    else found.push(finding("PACKAGE_UNLISTED", subdir, fileName, `it has ${there.size} bytes`));
  }
  return found;
}
