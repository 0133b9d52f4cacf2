import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { SourceError } from "../../errors.ts";
import { badLock } from "../../lock/bad-lock.ts";
import { readCondaMeta } from "../../lock/conda-meta.ts";
import type { LockFile } from "../../lock/lock-file.ts";
import { readLock } from "../../lock/read-lock.ts";
import type { HttpClient } from "../../transfer/http.ts";
import { readAll } from "../../transfer/read-all.ts";
import { type RetryOptions, withRetries } from "../../transfer/retry.ts";

/** The largest lock file that is read; the largest of robostack has 2 MB. */
const MAX_LOCK = 256 * 1024 * 1024;

/** Where a lock file lies: relative locations start there. */
export type Base = { readonly folder: string } | { readonly url: string };

/**
 * Reads a lock file from a path, a URL or an environment's folder.
 * @throws SourceError, TransferError
 */
export async function loadLock(
  text: string,
  what: string,
  { http, retry }: { readonly http: HttpClient; readonly retry: Omit<RetryOptions, "signal"> },
  signal: AbortSignal,
): Promise<{ lock: LockFile; base: Base }> {
  if (/^https?:\/\//i.test(text)) {
    const url = text.replace(/#.*$/s, "");
    const file = { origin: what, open: (request: object, s: AbortSignal) => http.get(url, request, s) };
    const bytes = await withRetries(() => readAll(file, MAX_LOCK, signal), { ...retry, signal });
    return { lock: await readLock(textOf(bytes, what), what), base: { url } };
  }
  try {
    const s = await stat(text);
    if (s.isDirectory()) return { lock: await readPrefix(text, what), base: { folder: text } };
    if (s.size > MAX_LOCK) throw badLock(what, `it has ${s.size} bytes`);
    return { lock: await readLock(textOf(await readFile(text), what), what), base: { folder: dirname(text) } };
  } catch (e) {
    if (e instanceof SourceError) throw e;
    const gone = (e as NodeJS.ErrnoException).code === "ENOENT";
    throw new SourceError(gone ? "NOT_FOUND" : "UNREADABLE", {
      what: `${what}: the lock file can't be read`,
      why: gone ? `${resolve(text)} does not exist` : (e as Error).message,
      next: "check the path and its permissions",
      cause: e,
    });
  }
}

async function readPrefix(folder: string, what: string): Promise<LockFile> {
  const meta = basename(resolve(folder)) === "conda-meta" ? folder : join(folder, "conda-meta");
  const names = (await readdir(meta)).filter((name) => name.endsWith(".json")).sort();
  if (names.length === 0) throw badLock(what, "its conda-meta folder names no packages");
  const files: [string, string][] = [];
  for (const name of names) files.push([name, textOf(await readFile(join(meta, name)), what)]);
  return readCondaMeta(files, what);
}

function textOf(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (e) {
    throw badLock(what, "it is no text", e);
  }
}
