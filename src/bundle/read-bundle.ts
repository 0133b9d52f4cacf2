import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { END, paddingOf } from "../codec/tar-header.ts";
import { MirrorError } from "../errors.ts";
import { badBundle } from "./bad-bundle.ts";
import { indexPath, type Layout, layoutOf, type Member, manifestSize } from "./layout.ts";
import { type Manifest, readManifest } from "./manifest.ts";

/** A bundle whose manifest has been read. Whether the rest is what the manifest says, `verifyBundle` finds out. */
export interface Bundle {
  /** Path of the file. */
  readonly file: string;
  readonly manifest: Manifest;
  readonly layout: Layout;
  /** Where a member's content lies, by its path. */
  readonly members: ReadonlyMap<string, Member>;
}

const BLOCK = 512;
/** A manifest of two million packages has half of this. */
const MAX_MANIFEST = 1024 * 1024 * 1024;
const PORTION = 1024 * 1024;

/**
 * Opens a bundle: its manifest, and that it has the size it must have.
 * @throws SourceError BAD_BUNDLE, UNREADABLE or NOT_FOUND
 */
export async function openBundle(file: string): Promise<Bundle> {
  return withFile(file, async (handle) => {
    const { size } = await handle.stat();
    const first = await readExactly(handle, 0, BLOCK);
    const length = first && manifestSize(first);
    if (length === undefined) throw badBundle(file, "it does not begin with a bundle's manifest");
    if (length > MAX_MANIFEST) throw badBundle(file, `its manifest has ${length} bytes`);
    const bytes = await readExactly(handle, BLOCK, length);
    if (!bytes) throw badBundle(file, "it ends within its manifest");
    const manifest = readManifest(bytes, file);
    const layout = layoutOf(manifest);
    if (size !== layout.size)
      throw badBundle(file, `it has ${size} bytes, and with all that its manifest names it has ${layout.size}`);
    return { file, manifest, layout, members: new Map(layout.members.map((m) => [m.path, m])) };
  });
}

/**
 * Reads a bundle from its first byte to its last, and compares each: headers and padding with what they must be, every
 * member with its hash. Memory does not grow with its size.
 * @throws SourceError BAD_BUNDLE naming the first member that differs
 */
export async function verifyBundle(bundle: Bundle, signal: AbortSignal): Promise<void> {
  const { file, layout } = bundle;
  await withFile(file, async (handle) => {
    const portion = Buffer.allocUnsafe(PORTION);
    const same = async (at: number, expected: Buffer) => {
      const bytes = await readExactly(handle, at, expected.length);
      return bytes !== undefined && Buffer.compare(bytes, expected) === 0;
    };
    for (const { path, header, start, size, sha256 } of layout.members) {
      signal.throwIfAborted();
      if (!(await same(start - header.length, header))) throw badBundle(file, `the header of ${path} is damaged`);
      const digest = createHash("sha256");
      for (let at = 0; at < size; ) {
        const { bytesRead } = await handle.read(portion, 0, Math.min(PORTION, size - at), start + at);
        if (bytesRead === 0) throw badBundle(file, `it ends within ${path}`);
        digest.update(portion.subarray(0, bytesRead));
        at += bytesRead;
        signal.throwIfAborted();
      }
      const got = digest.digest("hex");
      if (got !== sha256) throw badBundle(file, `${path} is damaged: its sha256 is ${got}, and must be ${sha256}`);
      if (!(await same(start + size, Buffer.alloc(paddingOf(size)))))
        throw badBundle(file, `${path} is followed by more than it has`);
    }
    if (!(await same(layout.size - END.length, END))) throw badBundle(file, "its end is damaged");
  });
}

/** The index of the records that a bundle carries for a subdir. @throws SourceError BAD_BUNDLE */
export async function readBundleIndex({ file, members }: Bundle, subdir: string): Promise<Buffer | undefined> {
  const member = members.get(indexPath(subdir));
  if (!member) return undefined;
  return withFile(file, async (handle) => {
    const bytes = await readExactly(handle, member.start, member.size);
    if (!bytes || createHash("sha256").update(bytes).digest("hex") !== member.sha256)
      throw badBundle(file, `${member.path} is damaged`);
    return bytes;
  });
}

/** A manifest, as a file of its own or in its bundle. @throws SourceError */
export async function readManifestFrom(file: string): Promise<Manifest> {
  const first = await withFile(file, (handle) => readExactly(handle, 0, BLOCK));
  if (first && manifestSize(first) !== undefined) return (await openBundle(file)).manifest;
  return withFile(file, async (handle) => {
    const { size } = await handle.stat();
    if (size > MAX_MANIFEST) throw badBundle(file, `it has ${size} bytes, which is no manifest`);
    return readManifest((await readExactly(handle, 0, size)) ?? Buffer.alloc(0), file);
  });
}

async function withFile<T>(file: string, work: (handle: FileHandle) => Promise<T>): Promise<T> {
  let handle: FileHandle;
  try {
    handle = await open(file, "r");
  } catch (e) {
    throw unreadable(file, e);
  }
  try {
    return await work(handle);
  } catch (e) {
    if (e instanceof MirrorError || (e as Error).name === "AbortError") throw e;
    throw unreadable(file, e);
  } finally {
    await handle.close();
  }
}

function unreadable(file: string, e: unknown): MirrorError {
  return badBundle(file, (e as Error).message, e);
}

/** So many bytes from a place; undefined when the file ends before. */
async function readExactly(handle: FileHandle, at: number, length: number): Promise<Buffer | undefined> {
  const bytes = Buffer.allocUnsafe(length);
  for (let got = 0; got < length; ) {
    const { bytesRead } = await handle.read(bytes, got, Math.min(length - got, 256 * PORTION), at + got);
    if (bytesRead === 0) return undefined;
    got += bytesRead;
  }
  return bytes;
}
