import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { TargetError } from "../errors.ts";

const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/** Whether `withFileLock` has the lock in hand, in this process or another. Writes nothing, also where there is no lock yet. */
export async function isHeld(lockPath: string): Promise<boolean> {
  if (!existsSync(lockPath)) return false;
  const { DatabaseSync } = await import("node:sqlite");
  const db = new DatabaseSync(lockPath, { timeout: 0, readOnly: true });
  try {
    db.prepare("SELECT count(*) FROM sqlite_master").get();
    return false;
  } catch (e) {
    // A file that is no database of ours is nobody's lock: whoever wants to publish is told.
    return ((e as { errcode?: number }).errcode ?? 0) % 256 === SQLITE_BUSY;
  } finally {
    db.close();
  }
}

function damaged(lockPath: string, cause: unknown): TargetError {
  return new TargetError("UNWRITABLE", {
    what: `${lockPath}: the lock that keeps two runs apart can't be used`,
    why: `another program wrote to the file (${(cause as Error).message})`,
    next: "delete the file while no run is on, and run again",
    cause,
  });
}

/**
 * Holds an exclusive lock on a file while `work` runs, waiting for other holders, in this process or another.
 * The lock is the operating system's own (through SQLite's, which Node brings): it is gone the moment its holder dies,
 * so there is nothing to expire, break or clean up, and no clock to trust. See docs/decisions/002-folder-lock.md.
 * @param waiting called once when the lock is held by another, before the first wait.
 */
export async function withFileLock<T>(
  lockPath: string,
  work: () => Promise<T>,
  signal?: AbortSignal,
  waiting?: () => void,
): Promise<T> {
  const { DatabaseSync } = await import("node:sqlite");
  const db = new DatabaseSync(lockPath, { timeout: 0 });
  try {
    let told = false;
    for (let pause = 5; ; pause = Math.min(pause * 2, 250)) {
      signal?.throwIfAborted();
      try {
        db.exec("BEGIN EXCLUSIVE");
        break;
      } catch (e) {
        // Its extended codes share the low byte.
        const code = ((e as { errcode?: number }).errcode ?? 0) % 256;
        if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) throw damaged(lockPath, e);
        if (code !== SQLITE_BUSY) throw e;
        if (!told) waiting?.();
        told = true;
        await sleep(pause * (0.5 + Math.random()), undefined, signal ? { signal } : {});
      }
    }
    return await work();
  } finally {
    db.close();
  }
}
