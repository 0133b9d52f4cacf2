import { mkdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { decompressBz2, decompressIndex } from "../index/compress.ts";
import { letGoIndex } from "../index/let-go.ts";
import { readRepodata } from "../index/repodata.ts";
import { OWN_FOLDER } from "../target/folder.ts";
import { PreconditionFailed } from "../target/store.ts";
import type { Audit } from "./audit.ts";
import { copy } from "./packages.ts";

/** Where a damaged file of a channel is kept: in our own corner of it, by the moment of the run. */
export function quarantinePath(path: string, now: number): string {
  return `${OWN_FOLDER}/quarantine/${new Date(now).toISOString().replace(/[:.]/g, "-")}/${path}`;
}

/** Puts a copy of a file of the channel into quarantine, or another name of it. Gives where it is; undefined when it is gone. */
export async function keepCopy(audit: Audit, path: string, now: number): Promise<string | undefined> {
  const { store, signal } = audit;
  const to = quarantinePath(path, now);
  if (!(await store.stat(path, signal))) return undefined;
  if (store.folder !== undefined) {
    await store.put(to, { stagedPath: join(store.folder, path) }, "absent", signal);
    return to;
  }
  const folder = join(await audit.scratch(), "quarantine");
  await mkdir(folder, { recursive: true });
  const copied = join(folder, basename(path));
  try {
    if (!(await copy(audit, path, copied))) return undefined;
    await store.put(to, { stagedPath: copied }, "any", signal);
    return to;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const COMPRESSED = [
  [".zst", (bytes: Uint8Array) => decompressIndex(bytes)],
  [".bz2", (bytes: Uint8Array) => decompressBz2(bytes)],
] as const;

/**
 * Takes a `repodata.json` that can't be read from a compressed form of it that can; what is there is kept.
 * @param dryRun only tells from what it would be.
 * @returns the form that it was taken from, and where the damaged file lies now; undefined where no form is whole
 * @throws PreconditionFailed when another writer was quicker
 */
export async function restoreIndex(
  audit: Audit,
  subdir: string,
  now: number,
  dryRun: boolean,
): Promise<{ readonly from: string; readonly quarantined?: string } | undefined> {
  const { store, signal } = audit;
  const path = `${subdir}/repodata.json`;
  const restore = async () => {
    const damaged = await store.stat(path, signal);
    for (const [suffix, unpacked] of COMPRESSED) {
      const stored = await store.get(`${path}${suffix}`, signal);
      let bytes: Uint8Array;
      try {
        if (!stored) continue;
        bytes = await unpacked(stored.bytes);
        readRepodata(bytes);
      } catch {
        continue;
      }
      const from = `repodata.json${suffix}`;
      if (dryRun) return { from };
      const there = await store.get(path, signal);
      if (there?.version !== damaged?.version || (there && isReadable(there.bytes))) throw new PreconditionFailed(path);
      const quarantined = there && (await keepCopy(audit, path, now));
      await store.put(path, bytes, there ? { version: there.version } : "absent", signal);
      return { from, ...(quarantined === undefined ? {} : { quarantined }) };
    }
    return undefined;
  };
  return dryRun ? restore() : store.exclusive(restore, signal);
}

function isReadable(bytes: Uint8Array): boolean {
  try {
    letGoIndex(readRepodata(bytes));
    return true;
  } catch {
    return false;
  }
}
