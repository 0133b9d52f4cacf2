import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, realpathSync } from "node:fs";
import { join, sep } from "node:path";
import type { Store } from "../target/store.ts";

/** A link that leads out of the channel. */
export class Outside extends Error {}

const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** The folders that links of a subdir may lead into: the channel's, and the subdir's own, which may lie on another disk. */
export function rootsOf({ folder = "" }: Store, subdir: string): string[] {
  return [folder, join(folder, subdir)].map((path) => {
    try {
      return realpathSync(path);
    } catch {
      return path;
    }
  });
}

/** Whether a path, once links are followed, lies in one of the folders. @throws ErrnoException where nothing is there */
export function isInside(path: string, roots: readonly string[]): boolean {
  const real = realpathSync(path);
  return roots.some((root) => real === root || real.startsWith(`${root}${sep}`));
}

/**
 * Opens a file that lies in one of the folders, or is a link to one that does: what an index names must lead nowhere else.
 * @throws Outside where it is another link; ErrnoException
 */
export function openInside(path: string, roots: readonly string[]): number {
  const isLink = constants.O_NOFOLLOW === undefined && lstatSync(path).isSymbolicLink();
  try {
    if (!isLink) return openSync(path, FLAGS);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== "ELOOP") throw e;
  }
  const real = realpathSync(path);
  if (!isInside(real, roots)) throw new Outside(`it is a link that leads to ${real}, out of the channel`);
  return openSync(real, FLAGS);
}

/**
 * Reads a small file so; undefined when there is none. Synchronous: thousands come in a row, and trips through the thread pool
 * would cost ten times what reading does.
 * @throws Outside; Error for what is no file
 */
export function readInside(path: string, roots: readonly string[]): Uint8Array | undefined {
  let fd: number;
  try {
    fd = openInside(path, roots);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw e;
  }
  try {
    if (!fstatSync(fd).isFile()) throw new Error("it is no regular file");
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}
