import { JsonBytesError, membersOf } from "../conda/json-bytes.ts";
import { rawObject } from "../conda/run-exports.ts";
import { mergeRepodata } from "./merge.ts";
import { emptyRepodata, findRecord, type Repodata, readRepodata } from "./repodata.ts";

/**
 * A `run_exports.json` (CEP 12): laid out as `repodata.json` is, with `{"run_exports": {…}}` where that has a record, so
 * it is read by the same scan: half a million entries cost what their bytes cost.
 */
export type RunExportsIndex = Repodata;

/** Bytes of an entry that says nothing, for a short file name. */
const LEAST_ENTRY = 48;

/**
 * Reads an existing `run_exports.json` without parsing its entries.
 * @param refused as of `readRepodata`, for one that is not ours.
 * @throws JsonBytesError when it is no such file: then make a new one.
 */
export function readRunExports(bytes: Uint8Array, refused?: Map<string, string>): RunExportsIndex {
  return readRepodata(bytes, refused, LEAST_ENTRY);
}

/** What the index says a file exports: compact or not as it stands there; undefined when it says nothing readable. */
export function findRunExports(index: RunExportsIndex, fileName: string): Uint8Array | undefined {
  const entry = findRecord(index, fileName);
  if (!entry) return undefined;
  try {
    const value = membersOf(entry).get("run_exports");
    return value?.[0] === 123 ? value : undefined;
  } catch (e) {
    if (e instanceof JsonBytesError) return undefined;
    throw e;
  }
}

/**
 * A `run_exports.json` with entries added, replaced and removed; every other entry stays byte for byte. File names are in
 * code point order: same input, same bytes. Every file of the unpatched index must have an entry (CEP 12), so
 * `NO_RUN_EXPORTS` is to be added for those that export nothing.
 * @param existing the file as it is, undefined when there is none.
 * @param add by file name, the `runExports` bytes of `normaliseRunExports`.
 * @throws JsonBytesError when `existing` is no such file.
 */
export function mergeRunExports(
  existing: Uint8Array | undefined,
  subdir: string,
  add: ReadonlyMap<string, Uint8Array>,
  remove: ReadonlySet<string>,
): Uint8Array {
  const index = existing === undefined ? emptyRepodata(subdir) : readRunExports(existing);
  const entries = [...add].map(
    ([fileName, value]) => [fileName, { record: rawObject([["run_exports", value]]) }] as const,
  );
  const info = infoFor(subdir, existing && new Map(index.others).get("info"));
  return mergeRepodata(index, { add: new Map(entries), remove, info }, "run_exports");
}

/** `info` as it stands, when it is this subdir's. `version` is 0 in the CEP's text, 1 in every file that exists. */
function infoFor(subdir: string, existing: Uint8Array | undefined): Uint8Array {
  try {
    if (existing) {
      const info = JSON.parse(Buffer.from(existing).toString("utf8")) as { subdir?: unknown } | null;
      if (info?.subdir === subdir) return existing;
    }
  } catch {
    // What can't be read is written anew.
  }
  return Buffer.from(JSON.stringify({ subdir, version: 1 }));
}
