import { type FileNameParts, isSubdir } from "../conda/file-name.ts";
import { compact, eachMember, JsonBytesError, MAX_JSON_DEPTH, skipSpace, stringAt } from "../conda/json-bytes.ts";
import { PackageError } from "../errors.ts";

/** What identifies the bytes of a package file. */
export interface FileFacts {
  /** 32 lower hex digits. */
  readonly md5: string;
  /** 64 lower hex digits. */
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
}

/** A package's own record, as it goes into an index. */
export interface MadeRecord {
  /** The platform folder the package belongs to. */
  readonly subdir: string;
  /** Compact JSON, keys in alphabetical order. */
  readonly record: Uint8Array;
  /** Whether only the v3 maps of an index may hold it (CEP 48). */
  readonly v3: boolean;
  readonly warnings: readonly string[];
}

// Facts about the machine that built the package. conda-index leaves them out of records and so do we; unlike it we
// keep `arch` and `platform`, which rattler_index keeps and old clients filter by.
const LEFT_OUT = new Set([
  "binstar",
  "has_prefix",
  "machine",
  "mtime",
  "operatingsystem",
  "requires_features",
  "target-triplet",
  "ucs",
]);

/** Nearly all keys need no escapes. */
const PLAIN_KEY = /^[\w-]+$/;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Makes the record of a package: every key of its `info/index.json` as it stands there, byte for byte, plus `md5`,
 * `sha256` and `size` of the file (CEP 36). Specs, numbers and timestamps are never rewritten.
 * @param indexJson the content of `info/index.json`.
 * @param name the parts of the file's name; they must agree with index.json.
 * @param knownSubdir where the source says the package belongs; used only when index.json names no subdir.
 * @throws PackageError BAD_METADATA or NAME_MISMATCH.
 */
export function makeRecord(
  fileName: string,
  indexJson: Uint8Array,
  name: FileNameParts,
  file: FileFacts,
  knownSubdir: string | undefined,
): MadeRecord {
  const bad = (why: string, cause?: unknown) =>
    new PackageError("BAD_METADATA", {
      what: fileName,
      why: `its info/index.json ${why}`,
      next: "the package can't be indexed; leave it out, or have it built again",
      cause,
    });
  let fields: Record<string, unknown>;
  let raw: Map<string, string>;
  try {
    fields = JSON.parse(utf8.decode(indexJson)) as Record<string, unknown>;
    if (typeof fields !== "object" || fields === null || Array.isArray(fields)) throw bad("holds no object");
    // The byte scanner also refuses what JSON.parse lets pass: a key that stands twice, nesting without end.
    raw = rawMembers(indexJson);
  } catch (e) {
    if (e instanceof PackageError) throw e;
    const why =
      e instanceof JsonBytesError || e instanceof SyntaxError ? `is no usable JSON: ${e.message}` : "is not UTF-8";
    throw bad(why.includes("nested") ? `is nested deeper than ${MAX_JSON_DEPTH}` : why, e);
  }
  for (const key of ["name", "version", "build"] as const) {
    if (typeof fields[key] !== "string" || fields[key] === "") throw bad(`has no ${key}`);
  }
  if (!Number.isSafeInteger(fields["build_number"])) throw bad("has no whole number as build_number");
  for (const key of ["depends", "constrains"] as const) {
    const list = fields[key];
    if (list !== undefined && !(Array.isArray(list) && list.every((s) => typeof s === "string")))
      throw bad(`has a ${key} that is no list of text`);
  }
  for (const key of ["name", "version", "build"] as const) {
    if (fields[key] !== name[key]) {
      throw new PackageError("NAME_MISMATCH", {
        what: `${fileName}: the file's name and its content don't agree`,
        why: `the name says ${key} ${name[key]}, its info/index.json says ${String(fields[key])}`,
        next: `rename it to ${String(fields["name"])}-${String(fields["version"])}-${String(fields["build"])}.${name.format}, if that is what it is`,
      });
    }
  }
  if (name.name.startsWith("__")) throw bad(`names the virtual package ${name.name}, which no file can be`);
  if (!isVersion(name.version)) throw bad(`has a version that no client can read: ${name.version}`);
  const warnings: string[] = [];
  const subdir = subdirOf(fields, knownSubdir, warnings, bad);
  const members = new Map<string, string>();
  for (const [key, value] of raw) {
    // `"arch": null` is what conda-build writes for noarch; no indexer passes it on.
    const says = !LEFT_OUT.has(key) && !((key === "arch" || key === "platform") && fields[key] === null);
    if (says) members.set(key, value);
  }
  members.set("subdir", JSON.stringify(subdir));
  members.set("md5", JSON.stringify(file.md5));
  members.set("sha256", JSON.stringify(file.sha256));
  members.set("size", String(file.size));
  const keys = [...members.keys()].sort(byCodePoint);
  const text = keys
    .map((key) => `${PLAIN_KEY.test(key) ? `"${key}"` : latin1(Buffer.from(JSON.stringify(key)))}:${members.get(key)}`)
    .join(",");
  // A buffer of its own: one from Node's pool would drag 8 KiB along through every thread and list.
  const record = Buffer.allocUnsafeSlow(text.length + 2);
  record.write(`{${text}}`, "latin1");
  return { subdir, record, v3: needsV3(fields), warnings };
}

/**
 * The values of an object as they stand there, without white space between their tokens. Latin-1 keeps each byte as it is,
 * so that the text can be cut and joined without harm to UTF-8.
 * @throws JsonBytesError also for a key that stands twice: it hides one reading from another.
 */
function rawMembers(json: Uint8Array): Map<string, string> {
  const members = new Map<string, string>();
  const text = latin1(json);
  const end = eachMember(json, 0, (keyStart, keyEnd, valueStart, valueEnd) => {
    let key = text.slice(keyStart + 1, keyEnd - 1);
    if (!PLAIN_KEY.test(key)) key = stringAt(json, keyStart, keyEnd);
    if (members.has(key)) throw new JsonBytesError(`key ${JSON.stringify(key)} stands twice`, keyStart);
    let value = text.slice(valueStart, valueEnd);
    const isContainer = json[valueStart] === OPEN_LIST || json[valueStart] === OPEN_MAP;
    if (isContainer && SPACE.test(value)) value = latin1(compact(json.subarray(valueStart, valueEnd)));
    members.set(key, value);
  });
  if (skipSpace(json, end) !== json.length) throw new JsonBytesError("something follows the object", end);
  return members;
}

const OPEN_LIST = 91;
const OPEN_MAP = 123;
const SPACE = /[ \t\r\n]/;

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

/** The order that every index file is written in: by code point, so that all machines write the same bytes. */
export function byCodePoint(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * `subdir` of index.json. Packages from before it existed: what the source knows, else `platform` and `arch` as conda
 * reads them (conda/models/records.py, SubdirField), else noarch. Never guessed from a name.
 */
function subdirOf(
  fields: Record<string, unknown>,
  known: string | undefined,
  warnings: string[],
  bad: (why: string) => PackageError,
): string {
  const stated = fields["subdir"];
  if (stated !== undefined && stated !== null) {
    if (typeof stated !== "string" || !isSubdir(stated))
      throw bad(`has an impossible subdir: ${JSON.stringify(stated)}`);
    return stated;
  }
  let subdir = known;
  if (subdir === undefined) {
    const platform = typeof fields["platform"] === "string" ? fields["platform"] : undefined;
    const arch = typeof fields["arch"] === "string" ? fields["arch"] : undefined;
    subdir =
      platform === undefined || arch === undefined
        ? "noarch"
        : `${platform}-${arch.includes("x86") ? (arch.includes("64") ? "64" : "32") : arch}`;
  }
  if (!isSubdir(subdir)) throw bad(`has no subdir, and ${subdir} can't be one`);
  warnings.push(`its info/index.json names no subdir; taken as ${subdir}`);
  return subdir;
}

/** Whether clients that know only `packages` and `packages.conda` would misread a record (CEP 43 to 45, 48). */
function needsV3(fields: Record<string, unknown>): boolean {
  if (typeof fields["schema_version"] === "number" && fields["schema_version"] >= 3) return true;
  const extra = fields["extra_depends"];
  if (typeof extra === "object" && extra !== null && Object.keys(extra).length > 0) return true;
  return ["depends", "constrains"].some((key) =>
    ((fields[key] as string[] | undefined) ?? []).some((spec) => {
      // Not one expression with the bracket in it: that would begin anew at each of a million brackets.
      const bracket = spec.indexOf("[");
      return bracket >= 0 && /\b(?:when|extras|flags)\s*=/.test(spec.slice(bracket));
    }),
  );
}

/** The largest number in a version that rattler reads. */
const LARGEST = 2n ** 64n - 1n;

/**
 * Whether clients can parse a version: an epoch of digits, parts that are not empty, one local part (CEP 33; conda's
 * VersionOrder); numbers of 64 bits and at most two underscores at the end (rattler). One that they can't makes them
 * fail on the whole package name.
 */
function isVersion(version: string): boolean {
  const match = /^(?:\d+!)?([0-9A-Za-z._]+)(?:\+([0-9A-Za-z._]+))?$/.exec(version);
  if (!match || version.match(/\d{20,}/g)?.some((digits) => BigInt(digits) > LARGEST)) return false;
  const parts = (text: string) => text.replace(/_{1,2}$/, "").split(/[._]/);
  return [match[1], match[2]].every((text) => text === undefined || parts(text).every((p) => p !== ""));
}
