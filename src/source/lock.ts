import { closeSync, openSync, readSync, statSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { formatOf, isSubdir } from "../conda/file-name.ts";
import { asMirrorError, SourceError } from "../errors.ts";
import { badLock } from "../lock/bad-lock.ts";
import { choosePackages, type LockChoice } from "../lock/choose.ts";
import { readCondaMeta } from "../lock/conda-meta.ts";
import { baseName } from "../lock/fields.ts";
import type { LockedPackage, LockFile, Skipped } from "../lock/lock-file.ts";
import { readLock } from "../lock/read-lock.ts";
import type { HttpClient } from "../transfer/http.ts";
import { openFile } from "../transfer/open-file.ts";
import { pool } from "../transfer/pool.ts";
import { readAll } from "../transfer/read-all.ts";
import { redactUrl } from "../transfer/redact.ts";
import { type RetryOptions, withRetries } from "../transfer/retry.ts";
import type { ChannelLookup } from "./channel-lookup.ts";
import type { PackageRef, Source } from "./source.ts";
import { knownFrom, type MirrorOf, type PackageUrl, urlRef } from "./url.ts";

interface LockContext {
  readonly http: HttpClient;
  readonly retry: Omit<RetryOptions, "signal">;
  readonly env: NodeJS.ProcessEnv;
  readonly channels: ChannelLookup;
  readonly mirrors: readonly MirrorOf[];
  readonly lock: LockChoice;
  readonly warn: (message: string) => void;
}

/** The largest lock file that is read; the largest of robostack has 2 MB. */
const MAX_LOCK = 256 * 1024 * 1024;

/** Channels are asked for so many records at once. */
const LOOK_UPS = 16;

/** Whether a path or URL, as typed, is of a lock file: by its name, or by what a file begins with. */
export function isLock(text: string): boolean {
  const name = baseName(text);
  if (/^(?:.*\.lock|.*-lock\.ya?ml)$/i.test(name)) return true;
  if (/^[a-z][a-z0-9+.-]+:/i.test(text)) return false;
  if (name === "conda-meta") return isFolder(text);
  return /\.(?:ya?ml|txt|lock)$/i.test(name) && looksLikeLock(text);
}

/**
 * The packages that a lock file names: pixi.lock, conda-lock.yml, an `@EXPLICIT` list, or the `conda-meta` folder of an
 * environment. Its hashes bind. The record that is published is the one that the package's channel has today, where that
 * agrees with the lock file's hashes; else it is made from the package.
 */
export function lockSource(text: string, context: LockContext): Source {
  const what = redactUrl(text);
  return {
    what,
    async *packages(signal) {
      const { lock, base } = await load(text, what, context, signal);
      const { packages, skipped } = choosePackages(lock, context.lock, what);
      tellSkipped(skipped, what, context.warn);
      const failed = new Set<string>();
      const refs: PackageRef[] = [];
      const refOf = async ([i, one]: readonly [number, LockedPackage]): Promise<void> => {
        const at = place(one, base, what, context.env);
        refs[i] = "path" in at ? fromPath(at.path, one) : await fromUrl(at, one, failed, context, signal);
      };
      for await (const _ of pool(packages.entries(), LOOK_UPS, refOf, signal));
      if (!signal.aborted) yield* refs;
    },
  };
}

/** Where a lock file lies: relative locations start there. */
type Base = { readonly folder: string } | { readonly url: string };

async function load(
  text: string,
  what: string,
  { http, retry }: LockContext,
  signal: AbortSignal,
): Promise<{ lock: LockFile; base: Base }> {
  if (/^https?:\/\//i.test(text)) {
    const url = text.replace(/#.*$/s, "");
    const file = { origin: what, open: (request: object, s: AbortSignal) => http.get(url, request, s) };
    const bytes = await withRetries(() => readAll(file, MAX_LOCK, signal), { ...retry, signal });
    return { lock: await readLock(textOf(bytes, what), what), base: { url } };
  }
  const path = /^file:/i.test(text) ? fileURLToPath(text) : text;
  try {
    const s = await stat(path);
    if (s.isDirectory()) return { lock: await readPrefix(path, what), base: { folder: path } };
    if (s.size > MAX_LOCK) throw badLock(what, `it has ${s.size} bytes`);
    return { lock: await readLock(textOf(await readFile(path), what), what), base: { folder: dirname(path) } };
  } catch (e) {
    if (e instanceof SourceError) throw e;
    const gone = (e as NodeJS.ErrnoException).code === "ENOENT";
    throw new SourceError(gone ? "NOT_FOUND" : "UNREADABLE", {
      what: `${what}: the lock file can't be read`,
      why: gone ? `${resolve(path)} does not exist` : (e as Error).message,
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

/**
 * A location as a URL or a path of this machine.
 * @throws SourceError BAD_LOCK for other addresses, and for a path in a lock file from elsewhere: it may not make us read our own files
 */
function place(
  { location, relativeTo }: LockedPackage,
  base: Base,
  what: string,
  env: NodeJS.ProcessEnv,
): PackageUrl | { readonly path: string } {
  const bad = (why: string) => badLock(what, `${redactUrl(location)} ${why}`);
  const isWindowsPath = /^[A-Za-z]:[\\/]/.test(location);
  let url: string | undefined;
  if (/^https?:\/\//i.test(location)) url = location;
  else if (/^[a-z][a-z0-9+.-]+:/i.test(location) && !/^file:/i.test(location) && !isWindowsPath)
    throw bad("is at an address that can't be fetched");
  else if ("url" in base) {
    if (isWindowsPath || /^(?:file:|[/\\~$])/i.test(location))
      throw bad("is a path, which a lock file from another machine may not name");
    url = new URL(location.replaceAll("\\", "/"), base.url).toString();
  }
  if (url !== undefined) {
    try {
      return { url: new URL(url).toString(), fileName: baseName(url) };
    } catch {
      throw bad("is no URL");
    }
  }
  if (/^file:/i.test(location)) return { path: fileURLToPath(location) };
  if (relativeTo === "working-directory") return { path: resolve(expanded(location, env)) };
  return { path: resolve("folder" in base ? base.folder : ".", location) };
}

/** `~` and variables in a path (CEP 23). Never in a URL: a list from elsewhere could send secrets of the environment anywhere. */
function expanded(path: string, env: NodeJS.ProcessEnv): string {
  return path
    .replace(/^~(?=[/\\]|$)/, homedir())
    .replace(/\$(?:\{(\w+)\}|(\w+))/g, (all, braced: string | undefined, plain: string | undefined) => {
      return env[braced ?? plain ?? ""] ?? all;
    });
}

function promises({ sha256, md5, size }: LockedPackage): Pick<PackageRef, "sha256" | "md5" | "size"> {
  return {
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(md5 === undefined ? {} : { md5 }),
    ...(size === undefined ? {} : { size }),
  };
}

function fromPath(path: string, one: LockedPackage): PackageRef {
  const subdir = one.subdir === undefined ? {} : { subdir: one.subdir };
  const file = { origin: path, key: `file:${path}`, address: { path }, open: openFile(path) };
  return { ...file, fileName: basename(path), ...promises(one), ...subdir };
}

async function fromUrl(
  at: PackageUrl,
  one: LockedPackage,
  failed: Set<string>,
  context: LockContext,
  signal: AbortSignal,
): Promise<PackageRef> {
  const { url, fileName } = at;
  const folder = new URL(".", url).toString();
  const last = folder.split("/").at(-2) ?? "";
  const subdir = one.subdir ?? (isSubdir(last) ? last : undefined);
  const own = { ...promises(one), ...(subdir === undefined ? {} : { subdir }) };
  let record: Uint8Array | undefined;
  try {
    if (!failed.has(folder)) record = await context.channels.recordOf(url, fileName, signal);
  } catch (e) {
    signal.throwIfAborted();
    if (!failed.has(folder)) {
      const { why } = asMirrorError(e, folder);
      context.warn(
        `${redactUrl(folder)}: records are made from the packages, since the channel's index can't be read (${why})`,
      );
    }
    failed.add(folder);
  }
  if (!record) return urlRef(at, own, context);
  const known = knownFrom(record);
  if (differ(own, known)) {
    context.warn(`${fileName}: its channel has other bytes today than the lock file promises; the lock file binds`);
    return urlRef(at, own, context);
  }
  const both = { ...known, ...own };
  return urlRef(at, both.subdir === undefined ? both : { ...both, current: true }, context);
}

function differ(
  a: Pick<PackageRef, "sha256" | "md5" | "size">,
  b: Pick<PackageRef, "sha256" | "md5" | "size">,
): boolean {
  return (["sha256", "md5", "size"] as const).some((k) => a[k] !== undefined && b[k] !== undefined && a[k] !== b[k]);
}

const KINDS = {
  pypi: "PyPI packages are no conda packages",
  source: "source packages have to be built first",
  "no-url": "packages have no URL",
} satisfies Record<Skipped["kind"], string>;

function tellSkipped(skipped: readonly Skipped[], what: string, warn: (message: string) => void): void {
  for (const [kind, why] of Object.entries(KINDS)) {
    const names = skipped.filter((s) => s.kind === kind).map((s) => redactUrl(s.location));
    if (names.length === 0) continue;
    const some = names.slice(0, 3).join(", ");
    warn(`${what}: ${names.length} left out, since ${why}: ${some}${names.length > 3 ? ", …" : ""}`);
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Whether a file begins as lock files do. */
function looksLikeLock(path: string): boolean {
  if (formatOf(path) || statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return false;
  const head = Buffer.alloc(64 * 1024);
  try {
    const fd = openSync(path, "r");
    try {
      const text = head.toString("utf8", 0, readSync(fd, head));
      return /^[ \t]*@EXPLICIT[ \t]*\r?$/m.test(text) || /^(?:version: *\d+|package:|packages:)[ \t]*\r?$/m.test(text);
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}
