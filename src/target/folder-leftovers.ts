import { statSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isSubdir } from "../conda/file-name.ts";
import { SHARD_FOLDER } from "../index/shards.ts";
import { incomingLeftovers } from "./incoming.ts";
import type { Leftovers } from "./store.ts";

/** Files that wait beside their place for the moment in which they get their names. */
const NEARBY = /^\.[0-9a-f]{12}\.tmp$/;

/** Whoever is at work on one is done within moments. */
const ABANDONED_MS = 24 * 60 * 60 * 1000;

/** What runs that were killed left in a channel's folder; removes it where that is asked. */
export async function folderLeftovers(
  root: string,
  own: string,
  remove: boolean,
  now: number,
  signal?: AbortSignal,
): Promise<Leftovers> {
  let { files, bytes } = await incomingLeftovers(own, remove, now);
  const names = async (folder: string) => readdir(join(root, folder)).catch(() => [] as string[]);
  const subdirs = (await names(".")).filter(isSubdir);
  for (const folder of [".", ...subdirs, ...subdirs.map((subdir) => join(subdir, SHARD_FOLDER))]) {
    signal?.throwIfAborted();
    for (const name of await names(folder)) {
      if (!NEARBY.test(name)) continue;
      const path = join(root, folder, name);
      const there = statSync(path, { throwIfNoEntry: false });
      if (!there?.isFile() || now - Math.max(there.mtimeMs, there.ctimeMs) < ABANDONED_MS) continue;
      files++;
      // What has another name too stays.
      if (there.nlink === 1) bytes += there.size;
      if (remove) await rm(path, { force: true });
    }
  }
  return { files, bytes };
}
