import { compact, JsonBytesError, membersOf } from "../conda/json-bytes.ts";
import { emptyRepodata, findRecord, mergeMap, type Repodata, readRepodata, Segments } from "./repodata.ts";

/**
 * A `run_exports.json` (CEP 12): laid out as `repodata.json` is, with `{"run_exports": {…}}` where that has a record, so
 * it is read by the same scan: half a million entries cost what their bytes cost.
 */
export type RunExportsIndex = Repodata;

/** What a package exports, as it goes into indexes. */
export interface RunExports {
  /** Compact JSON of one object; `{}` when there is nothing. */
  readonly runExports: Uint8Array;
  /** What was left out and why, in words for the package's owner. */
  readonly problems: readonly string[];
}

/** The kinds of run exports that clients read (CEP 12). */
const KINDS = new Set(["weak", "strong", "weak_constrains", "strong_constrains", "noarch"]);

/** "Has none", which is not "unknown": CEP 21 has the difference. */
export const NO_RUN_EXPORTS: Uint8Array = Buffer.from("{}");

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads a package's `info/run_exports.json`: an object of lists, or a bare list, which means `weak` and which
 * rattler_index ends its run on. A kind that is no list of text is left out, for rattler refuses the whole entry over it;
 * lists are kept byte for byte, and keys that no CEP knows are kept when they are lists of text.
 * @param member the content, or undefined when the package has none.
 */
export function normaliseRunExports(member: Uint8Array | undefined): RunExports {
  if (member === undefined) return { runExports: NO_RUN_EXPORTS, problems: [] };
  let json: unknown;
  let raw: Map<string, Uint8Array>;
  try {
    const bare = compact(member);
    json = JSON.parse(utf8.decode(bare));
    if (isTexts(json)) return { runExports: object([["weak", bare]]), problems: [] };
    if (typeof json !== "object" || json === null || Array.isArray(json))
      return {
        runExports: NO_RUN_EXPORTS,
        problems: ["its info/run_exports.json is neither an object nor a list of text"],
      };
    raw = membersOf(bare);
  } catch (e) {
    const why = e instanceof JsonBytesError || e instanceof SyntaxError ? e.message : "it is not UTF-8";
    return { runExports: NO_RUN_EXPORTS, problems: [`its info/run_exports.json is no usable JSON: ${why}`] };
  }
  const problems: string[] = [];
  const kept: [string, Uint8Array][] = [];
  for (const [kind, bytes] of raw) {
    if (isTexts((json as Record<string, unknown>)[kind])) kept.push([kind, bytes]);
    else if (KINDS.has(kind)) problems.push(`its run exports of kind ${kind} are no list of text and are left out`);
  }
  return { runExports: object(kept), problems };
}

/**
 * Reads an existing `run_exports.json` without parsing its entries.
 * @throws JsonBytesError when it is no such file: then make a new one.
 */
export function readRunExports(bytes: Uint8Array): RunExportsIndex {
  return readRepodata(bytes);
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
  const others = new Map(index.others);
  const change = {
    add: new Map([...add].map(([fileName, value]) => [fileName, object([["run_exports", value]])])),
    remove,
  };
  const out = new Segments();
  out.text('{"info":').bytes(infoFor(subdir, existing && others.get("info")));
  for (const map of ["packages", "packages.conda"] as const) {
    out.text(`,"${map}":{`);
    mergeMap(out, index.bytes, index.maps[map], change, map);
    out.text("}");
  }
  for (const [key, value] of index.others) if (key !== "info") out.text(`,${JSON.stringify(key)}:`).bytes(value);
  return out.text("}").join();
}

/** `info` as it stands, when it is this subdir's. `version` is 0 in the CEP's text, 1 in every file that exists. */
function infoFor(subdir: string, existing: Uint8Array | undefined): Uint8Array {
  try {
    if (existing) {
      const info = JSON.parse(utf8.decode(existing)) as { subdir?: unknown } | null;
      if (info?.subdir === subdir) return existing;
    }
  } catch {
    // What can't be read is written anew.
  }
  return Buffer.from(JSON.stringify({ subdir, version: 1 }));
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function object(members: readonly (readonly [key: string, value: Uint8Array])[]): Uint8Array {
  const out = new Segments().text("{");
  members.forEach(([key, value], i) => {
    out.text(`${i === 0 ? "" : ","}${JSON.stringify(key)}:`).bytes(value);
  });
  return out.text("}").join();
}
