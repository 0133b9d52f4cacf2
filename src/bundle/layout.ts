import { hash } from "node:crypto";
import { type BundleEntry, type Manifest, pathOf, sortedPaths, writeManifest } from "./manifest.ts";

/** The first member of every bundle. */
export const MANIFEST = "bundle.json";

/** A file in a bundle. */
export interface Member {
  readonly path: string;
  /** What stands before its content. */
  readonly header: Buffer;
  /** Offset of its content. */
  readonly start: number;
  /** Bytes of its content. */
  readonly size: number;
  readonly sha256: string;
}

export interface Layout {
  /** In the order in which they lie: the manifest, the indexes, the packages. */
  readonly members: readonly Member[];
  /** Bytes of the whole bundle. */
  readonly size: number;
}

const BLOCK = 512;

/** Two empty blocks end a tar. */
export const END = Buffer.alloc(2 * BLOCK);

/** Where a bundle has everything: the manifest decides it to the last byte, so that a reader can compare all of them. */
export function layoutOf(manifest: Manifest): Layout {
  const members: Member[] = [];
  let at = 0;
  const add = (path: string, size: number, sha256: string) => {
    const header = tarHeader(path, size);
    const start = at + header.length;
    members.push({ path, header, start, size, sha256 });
    at = start + size + paddingOf(size);
  };
  const bytes = writeManifest(manifest);
  add(MANIFEST, bytes.length, hash("sha256", bytes));
  for (const subdir of sortedPaths(manifest.indexes.keys())) {
    const { size, sha256 } = manifest.indexes.get(subdir) as { size: number; sha256: string };
    add(indexPath(subdir), size, sha256);
  }
  for (const path of sortedPaths(manifest.entries.keys())) {
    const entry = manifest.entries.get(path) as BundleEntry;
    if (entry.here) add(pathOf(entry), entry.size, entry.sha256);
  }
  return { members, size: at + END.length };
}

export function indexPath(subdir: string): string {
  return `${subdir}/repodata.json`;
}

/** Bytes that fill up the last block. */
export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** A larger size doesn't fit into a ustar header's eleven octal digits. */
const LARGE = 8 ** 11;

/**
 * The header of a member (POSIX ustar), with a pax header before it where the name or the size doesn't fit. Nothing in it
 * tells of when, where or by whom it was made: the same content gives the same bundle.
 */
export function tarHeader(path: string, size: number): Buffer {
  const slash = path.lastIndexOf("/");
  const [prefix, name] = slash < 0 ? ["", path] : [path.slice(0, slash), path.slice(slash + 1)];
  const fits = name.length <= 100 && prefix.length <= 155;
  const fields = { ...(fits ? {} : { path }), ...(size < LARGE ? {} : { size: String(size) }) };
  const header = block(fits ? name : name.slice(0, 100), fits ? prefix : "", size < LARGE ? size : 0, "0");
  if (Object.keys(fields).length === 0) return header;
  const text = Object.entries(fields).map(([key, value]) => paxLine(key, value));
  const body = Buffer.from(text.join(""));
  return Buffer.concat([block("PaxHeader", "", body.length, "x"), body, Buffer.alloc(paddingOf(body.length)), header]);
}

function block(name: string, prefix: string, size: number, type: string): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, "latin1");
  header.write("0000644\0", 100);
  header.write("0000000\0", 108);
  header.write("0000000\0", 116);
  header.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  header.write("00000000000\0", 136);
  header.fill(32, 148, 156);
  header.write(type, 156);
  header.write("ustar\0", 257);
  header.write("00", 263);
  header.write(prefix, 345, "latin1");
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

/** A line of a pax header begins with its own length. */
function paxLine(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length;
  return `${length}${rest}`;
}

/** The size in the header of a bundle's first member; undefined where that is not a manifest. */
export function manifestSize(header: Buffer): number | undefined {
  const size = Number.parseInt(header.toString("latin1", 124, 135), 8);
  if (!Number.isSafeInteger(size) || size < 0) return undefined;
  return Buffer.compare(tarHeader(MANIFEST, size), header) === 0 ? size : undefined;
}
