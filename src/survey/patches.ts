import { closeSync, openSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { isSubdir } from "../conda/file-name.ts";
import { MirrorError, UsageError } from "../errors.ts";
import { type Patch, parsePatch } from "../index/patch.ts";
import { readPatchPackage } from "../package/patch-package.ts";
import { readAtFile } from "../package/read-at.ts";

/**
 * Reads patch instructions by subdir: from a package that carries them, or from a folder that holds
 * `<subdir>/patch_instructions.json`.
 * @throws UsageError BAD_FLAG when there are none, or they can't be used.
 */
export async function readPatches(path: string, warn: (message: string) => void): Promise<Map<string, Patch>> {
  const refuse = (why: string, cause?: unknown) =>
    new UsageError("BAD_FLAG", {
      what: `--patch ${path}`,
      why,
      next: "give a folder or a package that holds <subdir>/patch_instructions.json; nothing was changed",
      cause,
    });
  const patches = new Map<string, Patch>();
  try {
    const found = await stat(path);
    const raw = found.isDirectory() ? await inFolder(path) : await inPackage(path, found.size);
    for (const [subdir, bytes] of raw)
      patches.set(
        subdir,
        parsePatch(bytes, (fileName, why) => warn(`${subdir}/${fileName}: ${why}`)),
      );
  } catch (e) {
    throw refuse(e instanceof MirrorError ? `${e.what}: ${e.why}` : (e as Error).message, e);
  }
  if (patches.size === 0) throw refuse("it holds no patch instructions");
  return patches;
}

async function inFolder(folder: string): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  for (const entry of await readdir(folder)) {
    if (!isSubdir(entry)) continue;
    const bytes = await readFile(join(folder, entry, "patch_instructions.json")).catch((e: NodeJS.ErrnoException) => {
      if (e.code === "ENOENT" || e.code === "ENOTDIR") return undefined;
      throw e;
    });
    if (bytes) found.set(entry, bytes);
  }
  return found;
}

async function inPackage(path: string, size: number): Promise<ReadonlyMap<string, Uint8Array>> {
  const fd = openSync(path, "r");
  try {
    return await readPatchPackage(basename(path), readAtFile(fd, size, path));
  } finally {
    closeSync(fd);
  }
}
