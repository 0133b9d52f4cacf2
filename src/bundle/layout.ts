import { hash } from "node:crypto";
import { END, paddingOf, tarHeader } from "../codec/tar-header.ts";
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

/** The size in the header of a bundle's first member; undefined where that is not a manifest. */
export function manifestSize(header: Buffer): number | undefined {
  const size = Number.parseInt(header.toString("latin1", 124, 135), 8);
  if (!Number.isSafeInteger(size) || size < 0) return undefined;
  return Buffer.compare(tarHeader(MANIFEST, size), header) === 0 ? size : undefined;
}
