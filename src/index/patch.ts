import { formatOf } from "../conda/file-name.ts";
import { compact, eachMember, JsonBytesError, skipSpace, stringAt } from "../conda/json-bytes.ts";
import { normaliseRunExports } from "../conda/run-exports.ts";
import { type Edit, edit } from "./edit-record.ts";
import { mergeRepodata } from "./merge.ts";
import { findRecord, type Repodata } from "./repodata.ts";

/** Called with the file name that something is wrong with (`patch` for the whole), and what. */
export type Warn = (fileName: string, why: string) => void;

/** A subdir's `patch_instructions.json`, taken apart but not parsed. Shares the memory of its bytes. */
export interface Patch {
  /** 2 may change run exports as well (CEP 21). */
  readonly version: 1 | 2;
  /** Fields to change, as raw JSON objects, by file name. Those of a `.tar.bz2` hold for its `.conda` twin too. */
  readonly packages: ReadonlyMap<string, Uint8Array>;
  /** The same, for `.conda` files alone; wins over `packages`. */
  readonly conda: ReadonlyMap<string, Uint8Array>;
  readonly revoke: readonly string[];
  readonly remove: readonly string[];
}

/** What a patch makes of an index. Each file is in at most one of the first two. */
export interface Patched {
  /** The new record of each file that has one: compact JSON. */
  readonly changed: ReadonlyMap<string, Uint8Array>;
  /** Files whose records go, and whose names belong into `removed`. */
  readonly removed: ReadonlySet<string>;
  /** New run exports by file name, as `mergeRunExports` takes them. Only version 2 has any. */
  readonly runExports: ReadonlyMap<string, Uint8Array>;
}

/** Patch instructions that can't be used at all. */
export class PatchError extends Error {
  constructor(why: string, cause?: unknown) {
    super(why, cause === undefined ? undefined : { cause });
    this.name = "PatchError";
  }
}

/** What says which file it is. A hotfix that changed these would make the index lie, or undo what an indexer vouches for. */
const PROTECTED = new Set([
  "attestations_sha256",
  "build",
  "build_number",
  "indexed_timestamp",
  "md5",
  "name",
  "sha256",
  "size",
  "subdir",
  "version",
]);

const EMPTY = Buffer.from("{}");
const REVOKED = "package_has_been_revoked";

/**
 * Takes a `patch_instructions.json` apart.
 * @throws PatchError when it is no such file, or of a version that is not 1 or 2. None counts as 1.
 */
export function parsePatch(bytes: Uint8Array, warn: Warn = () => {}): Patch {
  const members = new Map<string, Uint8Array>();
  try {
    const end = eachMember(bytes, 0, (keyStart, keyEnd, valueStart, valueEnd) => {
      const key = stringAt(bytes, keyStart, keyEnd);
      if (members.has(key)) throw new PatchError(`patch_instructions.json has ${JSON.stringify(key)} twice`);
      members.set(key, bytes.subarray(valueStart, valueEnd));
    });
    if (skipSpace(bytes, end) !== bytes.length) throw new PatchError("something follows the patch instructions");
    const version = members.get("patch_instructions_version");
    // The oldest patches have no version; conda-index and rattler_index read them.
    const stated = version === undefined ? 1 : (JSON.parse(Buffer.from(version).toString("utf8")) as unknown);
    if (stated !== 1 && stated !== 2)
      throw new PatchError(`patch_instructions_version is ${JSON.stringify(stated)?.slice(0, 40)}; 1 and 2 are known`);
    if (members.has("v3")) warn("patch", "its v3 part is not applied");
    return {
      version: stated,
      packages: fieldsByFile(members.get("packages")),
      conda: fieldsByFile(members.get("packages.conda")),
      revoke: fileNames(members.get("revoke"), "revoke"),
      remove: fileNames(members.get("remove"), "remove"),
    };
  } catch (e) {
    if (e instanceof PatchError) throw e;
    if (e instanceof JsonBytesError || e instanceof SyntaxError)
      throw new PatchError(`patch_instructions.json can't be read: ${e.message}`, e);
    throw e;
  }
}

/**
 * Works out what a patch changes, in conda-index's order (`_apply_instructions`): fields, then `revoke`, then `remove`.
 * Lists and texts replace what was there, objects are merged, null deletes, files that are not in the index are passed
 * over. In a changed record the other fields keep their bytes and order. What a patch may not change (name, version,
 * build, hashes, size, …) and values that clients would choke on are ignored with a warning.
 * @param find the record of a file, before patches.
 */
export function applyPatch(
  patch: Patch,
  find: (fileName: string) => Uint8Array | undefined,
  warn: Warn = () => {},
): Patched {
  const changed = new Map<string, Uint8Array>();
  const runExports = new Map<string, Uint8Array>();
  const change = (fileName: string, edits: (say: (why: string) => void) => Edit[]) => {
    const record = changed.get(fileName) ?? find(fileName);
    if (!record) return;
    const say = (why: string) => warn(fileName, why);
    try {
      const made = edit(record, edits(say));
      if (made !== record) changed.set(fileName, made);
    } catch (e) {
      if (!(e instanceof JsonBytesError || e instanceof SyntaxError)) throw e;
      say(`it can't be patched: ${e.message}`);
    }
  };
  const patchFields = (fileName: string, fields: Uint8Array) => {
    change(fileName, (say) => {
      const { edits, exported } = readFields(fields, patch.version, say);
      if (exported) runExports.set(fileName, exported);
      return edits;
    });
  };

  for (const [fileName, fields] of patch.packages) for (const file of withTwin(fileName)) patchFields(file, fields);
  for (const [fileName, fields] of patch.conda) if (formatOf(fileName) === "conda") patchFields(fileName, fields);
  for (const fileName of patch.revoke) {
    for (const file of withTwin(fileName)) {
      change(file, () => [
        { key: "depends", change: revokedDepends },
        { key: "revoked", change: () => Buffer.from("true") },
      ]);
    }
  }
  const removed = new Set<string>();
  for (const fileName of patch.remove) {
    for (const file of withTwin(fileName)) {
      if (!find(file)) continue;
      removed.add(file);
      changed.delete(file);
    }
  }
  return { changed, removed, runExports };
}

/**
 * An index with a patch applied, as the bytes of a `repodata.json`, and the run exports that the patch sets. The index it is made of is the
 * `repodata_from_packages.json`: patch that again whenever the patch is new, never the outcome of an older one.
 */
export function patchRepodata(
  index: Repodata,
  patch: Patch,
  warn: Warn = () => {},
): { readonly bytes: Uint8Array } & Pick<Patched, "runExports"> {
  const { changed, removed, runExports } = applyPatch(patch, (fileName) => findRecord(index, fileName), warn);
  const add = new Map([...changed].map(([fileName, record]) => [fileName, { record }]));
  return { bytes: mergeRepodata(index, { add, takenBack: removed }), runExports };
}

/** A `.tar.bz2` and its `.conda` are taken to hold the same, so what is said of the one holds for both. */
function withTwin(fileName: string): string[] {
  return formatOf(fileName) === "tar.bz2" ? [fileName, fileName.replace(/\.tar\.bz2$/, ".conda")] : [fileName];
}

function fieldsByFile(map: Uint8Array | undefined): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  if (map === undefined) return files;
  eachMember(map, 0, (keyStart, keyEnd, valueStart, valueEnd) => {
    const fileName = stringAt(map, keyStart, keyEnd);
    if (files.has(fileName)) throw new PatchError(`the patch has ${JSON.stringify(fileName)} twice`);
    files.set(fileName, map.subarray(valueStart, valueEnd));
  });
  return files;
}

function fileNames(list: Uint8Array | undefined, key: string): string[] {
  if (list === undefined) return [];
  const names = JSON.parse(Buffer.from(list).toString("utf8")) as unknown;
  if (!Array.isArray(names) || !names.every((name) => typeof name === "string"))
    throw new PatchError(`"${key}" of the patch is no list of file names`);
  return names;
}

function readFields(
  fields: Uint8Array,
  version: 1 | 2,
  say: (why: string) => void,
): { edits: Edit[]; exported: Uint8Array | undefined } {
  const edits: Edit[] = [];
  let exported: Uint8Array | undefined;
  const seen = new Set<string>();
  eachMember(fields, 0, (keyStart, keyEnd, valueStart, valueEnd) => {
    const key = stringAt(fields, keyStart, keyEnd);
    if (seen.has(key)) throw new JsonBytesError(`the patch has key ${JSON.stringify(key)} twice`, keyStart);
    seen.add(key);
    const raw = compact(fields.subarray(valueStart, valueEnd));
    const value = JSON.parse(Buffer.from(raw).toString("utf8")) as unknown;
    if (PROTECTED.has(key)) say(`a patch may not change its ${key}`);
    else if (key === "run_exports") {
      if (version === 1) say("a patch of version 1 may not change its run_exports");
      else {
        const { runExports, problems } = normaliseRunExports(value === null ? undefined : raw);
        if (problems.length === 0) exported = runExports;
        else for (const problem of problems) say(`the patch is not applied: ${problem}`);
      }
    } else if (value === null) edits.push({ key, change: () => undefined });
    else if (!isUsable(key, value)) say(`a patch gives it a ${key} that clients can't read`);
    else edits.push({ key, change: (was) => merged(was, raw) });
  });
  return { edits, exported };
}

/** Whether clients can read a value of a field they know; rattler drops the record over the others. */
function isUsable(key: string, value: unknown): boolean {
  switch (key) {
    case "constrains":
    case "depends":
    case "flags":
    case "purls":
      return Array.isArray(value) && value.every((item) => typeof item === "string");
    case "features":
    case "license":
    case "license_family":
      return typeof value === "string";
    case "track_features":
      return typeof value === "string" || (Array.isArray(value) && value.every((item) => typeof item === "string"));
    case "timestamp":
      return Number.isSafeInteger(value);
    case "extra_depends":
      return typeof value === "object" && !Array.isArray(value);
    default:
      return true;
  }
}

/** Objects are merged member by member, all else replaces. A null inside an object deletes, so none is ever added. */
function merged(was: Uint8Array | undefined, value: Uint8Array): Uint8Array {
  if (value[0] !== 123) return value;
  const edits: Edit[] = [];
  eachMember(value, 0, (keyStart, keyEnd, valueStart, valueEnd) => {
    const raw = value.subarray(valueStart, valueEnd);
    const isNull = raw[0] === 110;
    edits.push({
      key: stringAt(value, keyStart, keyEnd),
      change: (inner) => (isNull ? undefined : merged(inner, raw)),
    });
  });
  return edit(was?.[0] === 123 ? was : EMPTY, edits);
}

function revokedDepends(was: Uint8Array | undefined): Uint8Array {
  const depends = was === undefined ? undefined : (JSON.parse(Buffer.from(was).toString("utf8")) as unknown);
  if (!was || !Array.isArray(depends) || depends.length === 0) return Buffer.from(JSON.stringify([REVOKED]));
  if (depends.includes(REVOKED)) return was;
  return Buffer.concat([was.subarray(0, -1), Buffer.from(`,${JSON.stringify(REVOKED)}]`)]);
}
