import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  type Dir,
  type Dirent,
  fsyncSync,
  openSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import { copyFile, type FileHandle, link, open, opendir, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { asMirrorError, MirrorError, TargetError, unwritable } from "../errors.ts";
import { makeFolder } from "../make-folder.ts";
import { digestOfFile } from "../transfer/digest.ts";
import { openFile } from "../transfer/open-file.ts";
import { folderLeftovers } from "./folder-leftovers.ts";
import { withFileLock } from "./folder-lock.ts";
import { makeIncoming, removeIncoming } from "./incoming.ts";
import { type Pieces, type Precondition, PreconditionFailed, type StagedFile, type Store } from "./store.ts";

/** Our own corner of a channel: the lock, packages on their way in, and caches that may be deleted. No client looks there. */
export const OWN_FOLDER = ".meso-forge-mirror";

/** A channel in a folder of this machine. */
export async function openFolder(path: string): Promise<Store> {
  const root = resolve(path);
  const refuse = (e: unknown): TargetError | MirrorError => {
    if (e instanceof MirrorError) return e;
    return unwritable(`${root}: the target folder can't be used`, e, "choose another folder");
  };
  const refused = (e: unknown): never => {
    throw refuse(e);
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
  let temporaries = 0;
  const made = new Map<string, Promise<void>>();
  let staging: Promise<string> | undefined;

  const prepare = (folder: string): Promise<void> => {
    const known = made.get(folder);
    if (known) return known;
    const making = makeFolder(folder).catch((e) => {
      made.delete(folder);
      throw refuse(e);
    });
    made.set(folder, making);
    return making;
  };
  const makeStaging = async (): Promise<string> => {
    await prepare(own);
    return makeIncoming(own).catch((e) => {
      throw refuse(e);
    });
  };
  const at = (path: string): string => join(root, ...path.split("/"));
  /** A new name beside the packages on their way in: what a run that was killed leaves there goes with the next one. */
  const temporaryPath = async (): Promise<string> => {
    staging ??= makeStaging();
    return join(await staging, `index-${temporaries++}`);
  };

  return {
    where: root,
    folder: root,
    anyFile: true,
    async folders() {
      const entries = await readdir(root, { withFileTypes: true }).catch((e: NodeJS.ErrnoException) => {
        if (e.code === "ENOENT") return [];
        throw refuse(e);
      });
      return entries
        .filter(
          (e) =>
            e.isDirectory() || (e.isSymbolicLink() && statNow(join(root, e.name), refused)?.isDirectory() === true),
        )
        .map((e) => e.name)
        .sort();
    },
    async stat(path) {
      const s = await stat(at(path)).catch(absent).catch(refused);
      return s?.isFile() ? { path, size: s.size, version: versionOf(s), modified: s.mtimeMs } : undefined;
    },
    async *list(folder, signal, only) {
      const where = at(folder);
      // Some at a time: half a million names at once leave much memory behind that the system does not get back.
      const entries = await opendir(where, { bufferSize: STATS_IN_A_ROW }).catch((e: NodeJS.ErrnoException) => {
        if (e.code === "ENOENT") return undefined;
        throw refuse(e);
      });
      if (!entries) return;
      try {
        for (let i = 0; ; i++) {
          if (i % STATS_IN_A_ROW === 0) {
            signal?.throwIfAborted();
            if (i > 0) await setImmediate();
          }
          // Synchronous: a trip through the thread pool a file costs ten times what asking the file system costs.
          const entry = readNow(entries, refused);
          if (!entry) break;
          if ((!entry.isFile() && !entry.isSymbolicLink()) || only?.(entry.name) === false) continue;
          const s = statNow(`${where}/${entry.name}`, refused);
          if (s?.isFile())
            yield { path: `${folder}/${entry.name}`, size: s.size, version: versionOf(s), modified: s.mtimeMs };
        }
      } finally {
        await entries.close();
      }
    },
    async get(path) {
      const file = await open(at(path), "r").catch((e: NodeJS.ErrnoException) => {
        if (e.code === "ENOENT") return undefined;
        throw refuse(e);
      });
      if (!file) return undefined;
      try {
        const s = await file.stat();
        return { version: versionOf(s), bytes: await readAll(file, s.size) };
      } catch (e) {
        // A folder is no file of ours: whoever asked tells what is in the way.
        if ((e as NodeJS.ErrnoException).code === "EISDIR") throw e;
        return refused(e);
      } finally {
        await file.close();
      }
    },
    async digest(path, signal) {
      try {
        return await digestOfFile(at(path), signal);
      } catch (e) {
        if ((e as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw refuse(e);
      }
    },
    async put(path: string, body: Uint8Array | StagedFile | Pieces, expect: Precondition, _signal, after) {
      const final = at(path);
      await prepare(dirname(final));
      const into = async (from: string) => {
        if (expect === "absent") return moveNew(from, final, path);
        if (typeof expect === "object") {
          const now = await stat(final).catch(absent);
          if (!now || versionOf(now) !== expect.version) throw new PreconditionFailed(path);
        }
        return renameOver(from, final);
      };
      try {
        if ("stagedPath" in body) {
          const near = expect === "absent" ? body.stagedPath : await twin(body.stagedPath, final);
          const version = versionOf(await stat(near));
          await into(near);
          return version;
        }
        const temporary = await temporaryPath();
        let version: string;
        try {
          const file = await open(temporary, "wx");
          try {
            if (body instanceof Uint8Array) await writeAll(file, body);
            else for await (const piece of body) await writeAll(file, piece);
            await file.sync();
            version = versionOf(await file.stat());
          } finally {
            await file.close();
          }
          await after;
          await into(temporary);
        } finally {
          await rm(temporary, { force: true });
        }
        await syncFolder(dirname(final));
        return version;
      } catch (e) {
        throw e instanceof PreconditionFailed ? e : refuse(e);
      }
    },
    async putNew(prefix, files, signal) {
      /** The folders that are written to, and what they hold already: one listing costs less than asking for each name. */
      const there = new Map<string, { readonly folder: string; readonly names: ReadonlySet<string> }>();
      let written = 0;
      try {
        const { first, rest } = takeFirst(files, SYNCED_ONE_BY_ONE);
        const few = first.length < SYNCED_ONE_BY_ONE;
        for (const { path, bytes } of rest) {
          const end = path.lastIndexOf("/") + 1;
          const [inside, name] = [path.slice(0, end), path.slice(end)];
          let place = there.get(inside);
          if (!place) {
            const folder = at(prefix + inside);
            await prepare(folder);
            place = { folder, names: new Set(await readdir(folder)) };
            there.set(inside, place);
          }
          const final = `${place.folder}/${name}`;
          // No index names it yet: nobody looks at it before it is whole.
          if (!place.names.has(name)) writeNow(final, bytes, few);
          else if (statSync(final, { throwIfNoEntry: false })?.size === bytes.length) continue;
          else {
            // Cut by a power failure, or by the end of the process that wrote it.
            const temporary = await temporaryPath();
            writeNow(temporary, bytes, few);
            await renameOver(temporary, final);
          }
          if (++written % 64 === 0) {
            signal?.throwIfAborted();
            await setImmediate();
          }
        }
        if (written > 0) for (const { folder } of there.values()) await syncFolder(folder);
      } catch (e) {
        throw (e as Error).name === "AbortError" ? e : refuse(e);
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
    async corner() {
      await prepare(own);
      return own;
    },
    placeOf: (path) => ({ origin: at(path), address: { path: at(path) }, open: openFile(at(path)) }),
    async exclusive(work, signal) {
      await prepare(own);
      const path = join(own, "lock");
      return withFileLock(path, work, signal).catch((e) => {
        throw e?.code === "ERR_SQLITE_ERROR" ? asMirrorError(e, path) : e;
      });
    },
    leftovers: (remove, now, signal) => folderLeftovers(root, own, remove, now, signal),
    async close() {
      if (!staging) return;
      await removeIncoming(staging);
      staging = undefined;
    },
  };
}

/** How many files are asked for before other work gets a turn. */
const STATS_IN_A_ROW = 1000;

/**
 * Fewer files than this that are written at once are synced each; syncing thousands takes minutes. One that a power
 * failure cuts has another size than it must have, and is written again by the next run that makes it.
 */
const SYNCED_ONE_BY_ONE = 64;

/** The first items, and all of them: so that one can know whether there are many before any is used. */
function takeFirst<T>(items: Iterable<T>, count: number): { first: readonly T[]; rest: Iterable<T> } {
  const iterator = items[Symbol.iterator]();
  const first: T[] = [];
  while (first.length < count) {
    const next = iterator.next();
    if (next.done) break;
    first.push(next.value);
  }
  function* all(): Generator<T> {
    yield* first;
    for (let next = iterator.next(); !next.done; next = iterator.next()) yield next.value;
  }
  return { first, rest: all() };
}

/** Writes a file that is not there; synchronous, since thousands of them come in a row. */
function writeNow(path: string, bytes: Uint8Array, synced: boolean): void {
  const fd = openSync(path, "wx");
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    if (synced) fsyncSync(fd);
  } catch (e) {
    rmSync(path, { force: true });
    throw e;
  } finally {
    closeSync(fd);
  }
}

/** Node reads and writes at most 2 GiB at once. */
const AT_ONCE = 1024 ** 3;

async function readAll(file: FileHandle, size: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(size);
  let at = 0;
  while (at < size) {
    const { bytesRead } = await file.read(bytes, at, Math.min(AT_ONCE, size - at), at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return at === size ? bytes : bytes.subarray(0, at);
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; )
    at += (await file.write(bytes, at, Math.min(AT_ONCE, bytes.length - at))).bytesWritten;
}

function absent(e: NodeJS.ErrnoException): undefined {
  // A link that leads in a circle leads to nothing.
  if (e.code === "ENOENT" || e.code === "ENOTDIR" || e.code === "ELOOP") return undefined;
  throw e;
}

function readNow(entries: Dir, refused: (e: unknown) => never): Dirent | null {
  try {
    return entries.readSync();
  } catch (e) {
    return refused(e);
  }
}

function statNow(path: string, refused: (e: unknown) => never): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === "ELOOP" ? undefined : refused(e);
  }
}

function versionOf(s: Stats): string {
  return `${s.size}-${s.mtimeMs}-${s.ino}`;
}

/** A temporary name in the same folder (`folder-leftovers.ts` finds it). */
function nearby(path: string): string {
  return join(dirname(path), `.${randomBytes(6).toString("hex")}.tmp`);
}

/** Gives a file a name that must be free: a link fails where a rename would silently win. */
async function moveNew(from: string, to: string, path: string): Promise<void> {
  try {
    await link(from, to);
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    if (code === "EEXIST") throw new PreconditionFailed(path);
    if (code === "EXDEV") {
      const near = nearby(to);
      try {
        await copyFile(from, near);
        await moveNew(near, to, path);
      } finally {
        await rm(near, { force: true });
      }
    } else if (code === "EPERM" || code === "ENOTSUP" || code === "EOPNOTSUPP" || code === "ENOSYS") {
      // exFAT and some network shares have no hard links. Between the look and the rename another writer could come in.
      if (await stat(to).catch(absent)) throw new PreconditionFailed(path);
      const near = nearby(to);
      await copyFile(from, near);
      await renameOver(near, to);
    } else throw e;
  }
}

/** The same file under a temporary name beside its place: linked, or copied where links don't reach. */
async function twin(path: string, to: string): Promise<string> {
  const near = nearby(to);
  await link(path, near).catch(() => copyFile(path, near, constants.COPYFILE_EXCL));
  return near;
}

/**
 * Renames over what is there. Windows refuses while another program has the file open: that passes, so wait a little. A
 * subdir that is a link into another file system takes a copy.
 */
async function renameOver(from: string, to: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await rename(from, to);
      return;
    } catch (e) {
      const code = (e as NodeJS.ErrnoException).code;
      if (code === "EXDEV") {
        const near = nearby(to);
        try {
          await copyFile(from, near);
          await rename(near, to);
          await rm(from, { force: true });
        } finally {
          await rm(near, { force: true });
        }
        return;
      }
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
