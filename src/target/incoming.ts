import { randomBytes } from "node:crypto";
import { readdir, rm, rmdir, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { makeFolder } from "../make-folder.ts";
import type { Leftovers } from "./store.ts";

/** This machine, as a part of a file name. */
const HOST = hostname()
  .replace(/[^A-Za-z0-9-]/g, "_")
  .slice(0, 40);

/** Folders of other machines are left alone until they have not been touched for this long. */
const ABANDONED_MS = 24 * 60 * 60 * 1000;

/** A new folder below `own`, this run's alone, for what is on its way in. What runs that were killed left there goes. */
export async function makeIncoming(own: string): Promise<string> {
  const incoming = join(own, "incoming");
  await makeFolder(incoming);
  await removeAbandoned(incoming);
  const mine = join(incoming, `${HOST}.${process.pid}.${randomBytes(4).toString("hex")}`);
  // Another run that ends may remove the empty folder above at any moment.
  await makeFolder(mine);
  return mine;
}

/** Removes what `makeIncoming` made; nothing where it could not. */
export async function removeIncoming(made: Promise<string>): Promise<void> {
  const mine = await made.catch(() => undefined);
  if (mine === undefined) return;
  await rm(mine, { recursive: true, force: true });
  await rmdir(dirname(mine)).catch(() => undefined);
}

/** Removes what runs that were killed left behind. */
async function removeAbandoned(incoming: string): Promise<void> {
  for (const folder of await abandoned(incoming, Date.now())) await rm(folder, { recursive: true, force: true });
}

/** The folders of runs that were killed: dead ones of this machine at once, others after a day. */
async function abandoned(incoming: string, now: number): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(incoming).catch(() => [] as string[])) {
    const [host, pid] = name.split(".");
    const folder = join(incoming, name);
    const touched = (await stat(folder).catch(() => undefined))?.mtimeMs ?? now;
    if (host === HOST ? !isAlive(Number(pid)) : now - touched > ABANDONED_MS) found.push(folder);
  }
  return found;
}

/** What runs that were killed left below `own`; removes it where that is asked. */
export async function incomingLeftovers(own: string, remove: boolean, now: number): Promise<Leftovers> {
  let [files, bytes] = [0, 0];
  for (const folder of await abandoned(join(own, "incoming"), now)) {
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])) {
      if (!entry.isFile()) continue;
      const there = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
      if (!there) continue;
      files++;
      // What has another name too stays.
      if (there.nlink === 1) bytes += there.size;
    }
    if (remove) await rm(folder, { recursive: true, force: true });
  }
  return { files, bytes };
}

/**
 * Since when (ms since 1970) a run has been at work that has packages on their way in; undefined when none is. Of other machines
 * it is not known whether their runs live: one counts until its folder was not touched for a day.
 */
export async function atWorkSince(own: string): Promise<number | undefined> {
  const incoming = join(own, "incoming");
  let since: number | undefined;
  for (const name of await readdir(incoming).catch(() => [] as string[])) {
    const [host, pid] = name.split(".");
    const found = await stat(join(incoming, name)).catch(() => undefined);
    if (!found || (host === HOST ? !isAlive(Number(pid)) : Date.now() - found.mtimeMs > ABANDONED_MS)) continue;
    // Some file systems don't tell when a folder was made.
    since = Math.min(since ?? Number.POSITIVE_INFINITY, found.birthtimeMs);
  }
  return since;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === "EPERM";
  }
}
