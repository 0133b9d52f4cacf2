import { parseFileName } from "./conda/file-name.ts";
import { normaliseRunExports } from "./conda/run-exports.ts";
import { asMirrorError, type MirrorError, TransferError } from "./errors.ts";
import { type InfoMember, readPackage } from "./package/read.ts";
import { makeRecord } from "./package/record.ts";
import type { PackageRef } from "./source/source.ts";
import { digestOf } from "./transfer/digest.ts";
import { readAtPlace } from "./transfer/read-at-place.ts";
import { type RetryOptions, withRetries } from "./transfer/retry.ts";

/** What is known of a package without having fetched it. */
export interface PackageFacts {
  readonly fileName: string;
  /** Where it lies, for people. */
  readonly origin: string;
  /** Its path inside the archive or artifact that it lies in. */
  readonly member?: string;
  /** Bytes. */
  readonly size?: number;
  /** 64 lower hex digits: promised by the source, or of a file of this machine. */
  readonly sha256?: string;
  /** 32 lower hex digits; likewise. */
  readonly md5?: string;
  readonly subdir?: string;
  readonly name?: string;
  readonly version?: string;
  readonly build?: string;
  readonly buildNumber?: number;
  readonly depends?: readonly string[];
  readonly license?: string;
  /** When it was built, in ISO 8601. */
  readonly created?: string;
  /** Why no more is known, though nothing is wrong with it. */
  readonly note?: string;
  /** Why `mirror` would refuse it. */
  readonly error?: MirrorError;
  /** All that it says of itself, where that was asked for. */
  readonly details?: PackageDetails;
}

/** Everything that a package says of itself. */
export interface PackageDetails {
  /** `info/index.json` as it stands there. */
  readonly index: Readonly<Record<string, unknown>>;
  /** `info/about.json`, where it has one that is an object. */
  readonly about?: Readonly<Record<string, unknown>>;
  /** `info/run_exports.json` by kind (CEP 12); empty for none. */
  readonly runExports: Readonly<Record<string, unknown>>;
  readonly files: readonly PackagedFile[];
  readonly warnings: readonly string[];
}

export interface PackagedFile {
  readonly path: string;
  /** "hardlink", "softlink" or "directory"; undefined in packages from before `paths.json`. */
  readonly type?: string;
  /** Bytes. */
  readonly size?: number;
  readonly sha256?: string;
}

const ALL: InfoMember[] = [
  "info/index.json",
  "info/about.json",
  "info/run_exports.json",
  "info/paths.json",
  "info/files",
];

/** Milliseconds; what is less is seconds (rattler_conda_types and conda-index agree). */
const LAST_SECOND = 253_402_300_799;

/**
 * What a package is: by its source's record where there is one, else by its own metadata, which is read where it lies: by
 * range requests where it is remote. What is wrong with it is told, not thrown.
 * @param detailed all that it says of itself too, and the hashes of a file of this machine.
 */
export async function packageFacts(
  ref: PackageRef,
  detailed: boolean,
  retry: Omit<RetryOptions, "signal">,
  signal: AbortSignal,
): Promise<PackageFacts> {
  const { fileName, origin, member, size, sha256, md5, subdir } = ref;
  const known: PackageFacts = defined({ fileName, origin, member, size, sha256, md5, subdir });
  try {
    if (ref.record && !detailed) return { ...known, ...factsIn(ref.record) };
    const name = parseFileName(fileName);
    const read = async () => {
      const file = await readAtPlace(ref, signal);
      return { size: file.size, ...(await readPackage(fileName, file, detailed ? ALL : ["info/index.json"])) };
    };
    const info = await withRetries(read, { ...retry, signal });
    const indexJson = info.members.get("info/index.json") as Uint8Array;
    const hashes = detailed ? await hashesOf(ref, signal) : {};
    const made = makeRecord(fileName, indexJson, name, { md5: "", sha256: "", size: info.size }, ref.subdir);
    const facts = { ...known, size: info.size, ...hashes, ...factsIn(made.record), subdir: made.subdir };
    if (!detailed) return facts;
    return { ...facts, details: detailsIn(info.members, [...info.warnings, ...made.warnings]) };
  } catch (e) {
    if (signal.aborted) throw e;
    // A server without ranges, or a member that is compressed: it is not wrong, it only can't be seen from here.
    if (e instanceof TransferError && e.code === "SERVER_ERROR" && !e.mayPass) return { ...known, note: e.why };
    return { ...known, error: asMirrorError(e, fileName) };
  }
}

function factsIn(record: Uint8Array): Partial<PackageFacts> {
  const said = JSON.parse(Buffer.from(record.buffer, record.byteOffset, record.length).toString()) as Record<
    string,
    unknown
  >;
  const text = (key: string) => (typeof said[key] === "string" ? (said[key] as string) : undefined);
  const number = (key: string) => (typeof said[key] === "number" ? (said[key] as number) : undefined);
  const { depends } = said;
  const timestamp = number("timestamp");
  return defined({
    name: text("name"),
    version: text("version"),
    build: text("build"),
    buildNumber: number("build_number"),
    subdir: text("subdir"),
    depends: Array.isArray(depends) ? depends.filter((d): d is string => typeof d === "string") : undefined,
    license: text("license"),
    created: timestamp === undefined ? undefined : dateOf(timestamp),
  });
}

function dateOf(timestamp: number): string | undefined {
  const date = new Date(timestamp <= LAST_SECOND ? timestamp * 1000 : timestamp);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

function detailsIn(members: ReadonlyMap<InfoMember, Uint8Array>, warnings: readonly string[]): PackageDetails {
  const about = objectIn(members.get("info/about.json"));
  const exported = normaliseRunExports(members.get("info/run_exports.json"));
  return {
    index: objectIn(members.get("info/index.json")) ?? {},
    ...(about ? { about } : {}),
    runExports: objectIn(exported.runExports) ?? {},
    files: filesIn(members),
    warnings: [...warnings, ...exported.problems],
  };
}

/** By `paths.json`; by the plain list in packages from before it. */
function filesIn(members: ReadonlyMap<InfoMember, Uint8Array>): PackagedFile[] {
  const paths = objectIn(members.get("info/paths.json"))?.["paths"];
  if (Array.isArray(paths)) {
    return paths.flatMap((one: unknown) => {
      const { _path: path, path_type: type, size_in_bytes: size, sha256 } = (one ?? {}) as Record<string, unknown>;
      if (typeof path !== "string") return [];
      return defined({
        path,
        type: typeof type === "string" ? type : undefined,
        size: typeof size === "number" ? size : undefined,
        sha256: typeof sha256 === "string" ? sha256 : undefined,
      }) as PackagedFile;
    });
  }
  const list = members.get("info/files");
  const lines = list ? Buffer.from(list).toString().split("\n") : [];
  return lines.filter((path) => path !== "").map((path) => ({ path }));
}

function objectIn(json: Uint8Array | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = json && JSON.parse(Buffer.from(json).toString());
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Of a file of this machine: those of a remote one are known when it has been fetched. */
async function hashesOf({ address, open }: PackageRef, signal: AbortSignal): Promise<Partial<PackageFacts>> {
  if (!address || !("path" in address) || address.part) return {};
  const stream = await open({}, signal);
  if (stream === "unchanged") return {};
  const { sha256, md5 } = await digestOf(stream.chunks);
  return { sha256, md5 };
}

/** The same without what is undefined. */
function defined<T extends object>(from: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(from).filter(([, value]) => value !== undefined)) as never;
}
