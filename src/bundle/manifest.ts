import { hash } from "node:crypto";
import { isSubdir, parseFileName } from "../conda/file-name.ts";
import { badBundle } from "./bad-bundle.ts";

/** A package that the channel of a bundle has. */
export interface BundleEntry {
  readonly subdir: string;
  readonly fileName: string;
  /** Bytes. */
  readonly size: number;
  readonly sha256: string;
  readonly md5: string;
  /** SHA-256 of its record as it is published. */
  readonly record: string;
  /** Whether the bundle holds the package's bytes; if not, they came with an earlier one. */
  readonly here: boolean;
}

/** What a bundle holds, and what the channel is that it brings about. */
export interface Manifest {
  /** SHA-256 of the manifest that this bundle only tells the difference to; null for a full one. */
  readonly since: string | null;
  /** By subdir: the index of the records that the bundle carries. */
  readonly indexes: ReadonlyMap<string, { readonly size: number; readonly sha256: string }>;
  /** By path ("linux-64/a-1.0-0.conda"), in code point order. */
  readonly entries: ReadonlyMap<string, BundleEntry>;
}

const FORMAT = "meso-forge-mirror bundle";
const VERSION = 1;

export function pathOf({ subdir, fileName }: { readonly subdir: string; readonly fileName: string }): string {
  return `${subdir}/${fileName}`;
}

/** Paths in the order in which they are written: by code units, which for these names is that of bytes. */
export function sortedPaths(paths: Iterable<string>): string[] {
  return [...paths].sort();
}

/**
 * The bytes of a manifest: JSON, a line a package, and at its end the SHA-256 of all that stands before, so that damage
 * shows. The same manifest always gives the same bytes.
 */
export function writeManifest({ since, indexes, entries }: Manifest): Buffer {
  const table = (lines: readonly string[]) => (lines.length === 0 ? "{}" : `{\n${lines.join(",\n")}\n}`);
  const indexLines = sortedPaths(indexes.keys()).map((subdir) => {
    const { size, sha256 } = indexes.get(subdir) as { size: number; sha256: string };
    return `${JSON.stringify(subdir)}:${JSON.stringify({ size, sha256 })}`;
  });
  const packageLines = sortedPaths(entries.keys()).map((path) => {
    const { size, sha256, md5, record, here } = entries.get(path) as BundleEntry;
    return `${JSON.stringify(path)}:${JSON.stringify({ size, sha256, md5, record, here })}`;
  });
  const head = `"format":${JSON.stringify(FORMAT)},"version":${VERSION},"since":${JSON.stringify(since)}`;
  const text = `{${head},"indexes":${table(indexLines)},"packages":${table(packageLines)}`;
  return Buffer.from(`${text},"sha256":"${hash("sha256", text)}"}\n`);
}

/** What `since` names a manifest by. */
export function manifestHash(manifest: Manifest): string {
  return hash("sha256", writeManifest(manifest));
}

/**
 * Reads a manifest, and believes nothing of it: names have to be those of packages, in subdirs, each once.
 * @throws SourceError BAD_BUNDLE
 */
export function readManifest(bytes: Uint8Array, what: string): Manifest {
  const bad = (why: string) => badBundle(what, `its manifest ${why}`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (e) {
    throw badBundle(what, "its manifest is no JSON", e);
  }
  if (!isTable(value) || value["format"] !== FORMAT) throw bad("is none of a bundle");
  if (value["version"] !== VERSION)
    throw bad(`has version ${JSON.stringify(value["version"])}, and ${VERSION} is what is understood`);
  const since = value["since"] ?? null;
  if (since !== null && !isHex(since, 64)) throw bad("does not tell what it is the difference to");
  const [told, packages] = [value["indexes"], value["packages"]];
  if (!isTable(told) || !isTable(packages)) throw bad("has no tables of indexes and packages");
  const indexes = new Map<string, { size: number; sha256: string }>();
  for (const [subdir, index] of Object.entries(told)) {
    if (!isSubdir(subdir)) throw bad(`names an impossible subdir: ${shown(subdir)}`);
    if (!isTable(index) || !isSize(index["size"]) || !isHex(index["sha256"], 64))
      throw bad(`is malformed at the index of ${subdir}`);
    indexes.set(subdir, { size: index["size"], sha256: index["sha256"] });
  }
  const entries = new Map<string, BundleEntry>();
  for (const [path, one] of Object.entries(packages)) entries.set(path, entryOf(path, one, bad));
  const manifest = { since, indexes, entries };
  // Whatever is written otherwise than we write it, twice or in another order, is damaged or none of ours.
  if (Buffer.compare(writeManifest(manifest), bytes) !== 0)
    throw bad("is damaged, or not written as this tool writes it");
  return manifest;
}

function entryOf(path: string, one: unknown, bad: (why: string) => Error): BundleEntry {
  const [subdir = "", fileName = "", more] = path.split("/");
  try {
    parseFileName(fileName);
  } catch {
    throw bad(`names ${shown(path)}, which can't be a package's place`);
  }
  if (!isSubdir(subdir) || more !== undefined) throw bad(`names ${shown(path)}, which can't be a package's place`);
  if (!isTable(one)) throw bad(`is malformed at ${path}`);
  const { size, sha256, md5, record, here } = one;
  if (!isSize(size) || !isHex(sha256, 64) || !isHex(md5, 32) || !isHex(record, 64) || typeof here !== "boolean")
    throw bad(`is malformed at ${path}`);
  return { subdir, fileName, size, sha256, md5, record, here };
}

function shown(text: string): string {
  return JSON.stringify(text).slice(0, 80);
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isHex(value: unknown, digits: number): value is string {
  return typeof value === "string" && value.length === digits && /^[0-9a-f]+$/.test(value);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
