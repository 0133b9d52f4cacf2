import { createHash, randomBytes } from "node:crypto";
import { createReadStream, type Stats } from "node:fs";
import { copyFile, link, mkdir, open, readdir, rename, rm, rmdir, stat, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MirrorError, TargetError } from "../errors.ts";
import { openFile } from "../transfer/open-file.ts";
import { withFileLock } from "./folder-lock.ts";
import { type Precondition, PreconditionFailed, type StagedFile, type Store } from "./store.ts";

/** Our own corner of a channel: the lock, packages on their way in, and caches that may be deleted. No client looks there. */
export const OWN_FOLDER = ".meso-forge-mirror";

/** This machine, as a part of a file name. */
const HOST = hostname()
  .replace(/[^A-Za-z0-9-]/g, "_")
  .slice(0, 40);

/** Staging folders of other machines are left alone until they have not been touched for this long. */
const ABANDONED_MS = 24 * 60 * 60 * 1000;

/** A channel in a folder of this machine. */
export async function openFolder(path: string): Promise<Store> {
  const root = resolve(path);
  const refuse = (e: unknown): TargetError | MirrorError => {
    if (e instanceof MirrorError) return e;
    const code = (e as NodeJS.ErrnoException).code;
    const full = code === "ENOSPC" || code === "EDQUOT";
    return new TargetError(full ? "FULL" : "UNWRITABLE", {
      what: `${root}: the target folder can't be ${full ? "written any further" : "used"}`,
      why: (e as Error).message,
      next: full
        ? "free some space and run again; what was finished is kept"
        : "choose another --target-path, or change its permissions",
      cause: e,
    });
  };
  const existing = await stat(root).catch(() => undefined);
  if (existing && !existing.isDirectory()) {
    throw new TargetError("UNWRITABLE", {
      what: `${root}: the target is no folder`,
      why: "a file has that name",
      next: "choose another --target-path",
    });
  }
  const own = join(root, OWN_FOLDER);
  const made = new Set<string>();
  let staging: Promise<string> | undefined;

  const prepare = async (folder: string): Promise<void> => {
    if (made.has(folder)) return;
    try {
      await mkdir(folder, { recursive: true });
    } catch (e) {
      throw refuse(e);
    }
    made.add(folder);
  };
  const makeStaging = async (): Promise<string> => {
    const incoming = join(own, "incoming");
    await prepare(incoming);
    await removeAbandoned(incoming);
    const mine = join(incoming, `${HOST}.${process.pid}.${randomBytes(4).toString("hex")}`);
    await prepare(mine);
    return mine;
  };
  const at = (path: string): string => join(root, ...path.split("/"));

  return {
    where: root,
    folder: root,
    async folders() {
      const entries = await readdir(root, { withFileTypes: true }).catch((e: NodeJS.ErrnoException) => {
        if (e.code === "ENOENT") return [];
        throw refuse(e);
      });
      return entries
        .filter((e) => e.isDirectory() || e.isSymbolicLink())
        .map((e) => e.name)
        .sort();
    },
    async stat(path) {
      const s = await stat(at(path)).catch(absent);
      return s?.isFile() ? { path, size: s.size, version: versionOf(s) } : undefined;
    },
    async get(path) {
      const file = await open(at(path), "r").catch((e: NodeJS.ErrnoException) => {
        if (e.code === "ENOENT") return undefined;
        throw refuse(e);
      });
      if (!file) return undefined;
      try {
        return { version: versionOf(await file.stat()), bytes: await file.readFile() };
      } finally {
        await file.close();
      }
    },
    async digest(path, signal) {
      const md5 = createHash("md5");
      const sha256 = createHash("sha256");
      let size = 0;
      try {
        for await (const chunk of createReadStream(at(path), {
          highWaterMark: 1024 * 1024,
          ...(signal ? { signal } : {}),
        })) {
          md5.update(chunk as Buffer);
          sha256.update(chunk as Buffer);
          size += (chunk as Buffer).length;
        }
      } catch (e) {
        if ((e as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw refuse(e);
      }
      return { sha256: sha256.digest("hex"), md5: md5.digest("hex"), size };
    },
    async put(path: string, body: Uint8Array | StagedFile, expect: Precondition) {
      const final = at(path);
      await prepare(dirname(final));
      try {
        if (typeof expect === "object") {
          const now = await stat(final).catch(absent);
          if (!now || versionOf(now) !== expect.version) throw new PreconditionFailed(path);
        }
        if (!(body instanceof Uint8Array)) {
          if (expect === "absent") await moveNew(body.stagedPath, final, path);
          else await renameOver(body.stagedPath, final);
          return;
        }
        const temporary = join(dirname(final), `.${randomBytes(6).toString("hex")}.tmp`);
        try {
          const file = await open(temporary, "wx");
          try {
            await file.writeFile(body);
            await file.sync();
          } finally {
            await file.close();
          }
          if (expect === "absent") await moveNew(temporary, final, path);
          else await renameOver(temporary, final);
        } catch (e) {
          await rm(temporary, { force: true });
          throw e;
        }
        await syncFolder(dirname(final));
      } catch (e) {
        throw e instanceof PreconditionFailed ? e : refuse(e);
      }
    },
    async remove(path) {
      await rm(at(path), { force: true }).catch((e) => {
        throw refuse(e);
      });
    },
    staging() {
      staging ??= makeStaging();
      return staging;
    },
    placeOf: (path) => ({ origin: at(path), address: { path: at(path) }, open: openFile(at(path)) }),
    async exclusive(work, signal) {
      await prepare(own);
      return withFileLock(join(own, "lock"), work, signal);
    },
    async close() {
      if (!staging) return;
      const mine = await staging;
      staging = undefined;
      await rm(mine, { recursive: true, force: true });
      await rmdir(dirname(mine)).catch(() => undefined);
    },
  };
}

function absent(e: NodeJS.ErrnoException): undefined {
  if (e.code === "ENOENT" || e.code === "ENOTDIR") return undefined;
  throw e;
}

function versionOf(s: Stats): string {
  return `${s.size}-${s.mtimeMs}-${s.ino}`;
}

/** Moves a file to a name that must be free: a link fails where a rename would silently win. */
async function moveNew(from: string, to: string, path: string): Promise<void> {
  try {
    await link(from, to);
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    if (code === "EEXIST") throw new PreconditionFailed(path);
    if (code === "EXDEV") {
      const near = join(dirname(to), `.${randomBytes(6).toString("hex")}.tmp`);
      try {
        await copyFile(from, near);
        await moveNew(near, to, path);
      } finally {
        await rm(near, { force: true });
      }
    } else if (code === "EPERM" || code === "ENOTSUP" || code === "EOPNOTSUPP" || code === "ENOSYS") {
      // exFAT and some network shares have no hard links. Between the look and the rename another writer could come in.
      if (await stat(to).catch(absent)) throw new PreconditionFailed(path);
      await renameOver(from, to);
      return;
    } else throw e;
  }
  await unlink(from);
}

/** Renames over what is there. Windows refuses while another program has the file open: that passes, so wait a little. */
async function renameOver(from: string, to: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await rename(from, to);
      return;
    } catch (e) {
      const code = (e as NodeJS.ErrnoException).code;
      if (process.platform !== "win32" || tries === 20 || (code !== "EPERM" && code !== "EACCES" && code !== "EBUSY"))
        throw e;
      await sleep(10 * (tries + 1));
    }
  }
}

async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes what runs that were killed left behind: dead ones of this machine at once, others after a day. */
async function removeAbandoned(incoming: string): Promise<void> {
  for (const name of await readdir(incoming)) {
    const [host, pid] = name.split(".");
    const folder = join(incoming, name);
    const touched = (await stat(folder).catch(() => undefined))?.mtimeMs ?? Date.now();
    if (host === HOST ? !isAlive(Number(pid)) : Date.now() - touched > ABANDONED_MS)
      await rm(folder, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === "EPERM";
  }
}
