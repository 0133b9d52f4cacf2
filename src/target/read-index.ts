import { MirrorError, TargetError } from "../errors.ts";
import { decompressBz2, decompressIndex } from "../index/compress.ts";
import { emptyRepodata, type Repodata, readRepodata } from "../index/repodata.ts";
import { type Shape, shapedAs, shapeOf } from "../index/shape.ts";
import type { Store } from "./store.ts";

export interface FoundIndex {
  readonly index: Repodata;
  /** The version of `repodata.json` that it was read from; undefined when there is none. */
  readonly jsonVersion: string | undefined;
}

const COMPRESSED = [
  [".zst", decompressIndex],
  [".bz2", decompressBz2],
] as const;

/**
 * A subdir's index as it is now: `repodata.json`, else its `.zst` or `.bz2`, else an empty one.
 * @throws TargetError BAD_INDEX when there is one that can't be read: writing over it would lose what it lists.
 */
export async function readIndex(store: Store, subdir: string, signal?: AbortSignal): Promise<FoundIndex> {
  const json = `${subdir}/repodata.json`;
  let path = json;
  let empty = false;
  try {
    const stored = await store.get(json, signal);
    empty = stored?.bytes.length === 0;
    if (stored) return { index: known(store, json, scanned(store, json, stored)), jsonVersion: stored.version };
    for (const [suffix, decompressed] of COMPRESSED) {
      path = `${json}${suffix}`;
      const compressed = await store.get(path, signal);
      empty = compressed?.bytes.length === 0;
      if (compressed) return { index: readRepodata(await decompressed(compressed.bytes)), jsonVersion: undefined };
    }
    path = `${subdir}/repodata_shards.msgpack.zst`;
    if (await store.stat(path, signal))
      throw new Error("it is the only index of this subdir, and repodata.json can't be made from it");
    return { index: emptyRepodata(subdir), jsonVersion: undefined };
  } catch (e) {
    throw badIndex(store, path, e, empty);
  }
}

/** @throws TargetError BAD_INDEX for records of a revision that nobody knows yet (CEP 48): what is said of them could be made wrong. */
function known(store: Store, path: string, index: Repodata): Repodata {
  const revision = index.others.find(([key]) => /^v\d+$/i.test(key))?.[0];
  if (revision === undefined) return index;
  throw new TargetError("BAD_INDEX", {
    what: `${store.where}: ${path} can't be written`,
    why: `it has a section ${revision}, whose meaning this version does not know`,
    next: "nothing was changed; write to this channel with a version that knows it, or to another channel",
  });
}

/** The large index of a store that was scanned last. Following reads one twice, and holds others in between. */
const lastScanned = new WeakMap<Store, { readonly path: string; readonly version: string; readonly shape: Shape }>();

const LARGE = 32 * 1024 * 1024;

function scanned(store: Store, path: string, { bytes, version }: { bytes: Uint8Array; version: string }): Repodata {
  const last = lastScanned.get(store);
  const again = last?.path === path && last.version === version ? shapedAs(last.shape, bytes) : undefined;
  if (last?.path === path) lastScanned.delete(store);
  if (again) return again;
  const index = readRepodata(bytes);
  if (bytes.length >= LARGE) lastScanned.set(store, { path, version, shape: shapeOf(index) });
  return index;
}

export interface FoundFile {
  readonly index: Repodata;
  readonly version: string;
}

/** A file of the index that is merged into when it is there: undefined when there is none. */
export async function readIndexFile(store: Store, path: string, signal?: AbortSignal): Promise<FoundFile | undefined> {
  const stored = await store.get(path, signal);
  try {
    return stored && { index: readRepodata(stored.bytes), version: stored.version };
  } catch (e) {
    throw badIndex(store, path, e, stored?.bytes.length === 0);
  }
}

function badIndex(store: Store, path: string, e: unknown, empty: boolean): unknown {
  if (e instanceof MirrorError || (e as Error).name === "AbortError") return e;
  return new TargetError("BAD_INDEX", {
    what: `${store.where}: ${path} can't be read`,
    why: empty ? "it is an empty file" : (e as Error).message,
    next: "nothing was changed; restore it, or move it away and run index: it is made from its compressed form where there is one, else from the packages",
    cause: e,
  });
}
