import { mkdirSync, statSync } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Makes a folder and those that it lies in. Node's own recursive way says ENOENT for whatever the system refuses, and does not
 * come to an end where folders can be looked at and not be made (/proc).
 * @throws what the system says of the first one that can't be made.
 */
export async function makeFolder(path: string, mode?: number): Promise<void> {
  const make = () => mkdir(path, mode === undefined ? {} : { mode });
  const isThere = async () => (await stat(path).catch(() => undefined))?.isDirectory() === true;
  try {
    await make();
  } catch (e) {
    if (await isThere()) return;
    if ((e as NodeJS.ErrnoException).code !== "ENOENT" || dirname(path) === path) throw e;
    await makeFolder(dirname(path), mode);
    await make().catch(async (again: unknown) => {
      if (!(await isThere())) throw again;
    });
  }
}

/** The same, at once: for worker threads. */
export function makeFolderSync(path: string): void {
  const isThere = () => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  try {
    mkdirSync(path);
  } catch (e) {
    if (isThere()) return;
    if ((e as NodeJS.ErrnoException).code !== "ENOENT" || dirname(path) === path) throw e;
    makeFolderSync(dirname(path));
    if (!isThere()) mkdirSync(path);
  }
}
