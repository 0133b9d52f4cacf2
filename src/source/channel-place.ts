import { readdir, stat } from "node:fs/promises";
import { join, resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";
import type { CredentialStore } from "../auth/credential-store.ts";
import { isSubdir } from "../conda/file-name.ts";
import { knownSubdirs } from "../conda/subdirs.ts";
import { isInterruption, SourceError, TransferError } from "../errors.ts";
import type { S3Wishes } from "../s3/address.ts";
import type { ApiClient } from "../transfer/api.ts";
import type { HttpClient, HttpSettings } from "../transfer/http.ts";
import { openFile } from "../transfer/open-file.ts";
import type { Place } from "../transfer/place.ts";
import { pool } from "../transfer/pool.ts";
import { readAll } from "../transfer/read-all.ts";
import { redactUrl } from "../transfer/redact.ts";
import { type RetryOptions, withRetries } from "../transfer/retry.ts";
import { type ChannelAddress, isChannelFolder } from "./channel-address.ts";
import { ociPlace } from "./channel-oci.ts";
import { s3Place } from "./channel-s3.ts";

/** A file of a channel, and what names this state of it. */
export interface ChannelFile {
  readonly bytes: Uint8Array;
  readonly version: string | undefined;
}

/** A package's place, and what its origin is remembered by. */
export type PackagePlace = Place & { readonly key: string };

/** The files of a channel, wherever it is. */
export interface ChannelPlace {
  readonly address: ChannelAddress;
  /** What the channel is remembered by; differs for differing secrets. */
  readonly key: string;
  /**
   * Reads a file of an index; undefined when there is none.
   * @param path inside the channel, as it stands there (not percent-encoded)
   * @param limit bytes; a larger one is refused
   * @param unlessVersion gives "unchanged" when the file still has this version
   * @throws TransferError
   */
  read(
    path: string,
    limit: number,
    signal: AbortSignal,
    unlessVersion?: string,
  ): Promise<ChannelFile | "unchanged" | undefined>;
  /** Whether a file still has a version, without reading it where it hasn't. */
  isUnchanged(path: string, version: string, signal: AbortSignal): Promise<boolean>;
  /** The subdirs that it has an index of, among those given; all that it has where none are. */
  subdirs(among: readonly string[] | undefined, signal: AbortSignal): Promise<string[]>;
  /** A file at an address that an index names, relative to the file that names it or absolute. As `read`. */
  readAt(address: string, limit: number, signal: AbortSignal): Promise<ChannelFile | undefined>;
  /** The absolute address of something that a file in the channel names. @throws SourceError BAD_INDEX where it may not point */
  resolve(from: string, relative: string): string;
  /** Where a package can be had, by its absolute address. */
  package(address: string): PackagePlace;
}

export interface PlaceContext {
  readonly http: HttpClient;
  readonly retry: Omit<RetryOptions, "signal">;
  /** Needed for channels in buckets. */
  readonly requests?: HttpSettings;
  readonly s3?: S3Wishes;
  /** Told of connections that a place opens for itself: they end with the run. */
  readonly closing?: (one: { close(): Promise<void> }) => void;
  /** Needed for channels in registries. */
  readonly api?: ApiClient;
  readonly credentials?: CredentialStore;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Opens a channel's files.
 * @throws SourceError UNREADABLE for schemes that no room reads
 */
export function openChannelPlace(address: ChannelAddress, context: PlaceContext): ChannelPlace {
  const { base } = address;
  if ("folder" in base) return folderPlace(address, resolve(base.folder), context);
  if (/^https?:/i.test(base.url)) return urlPlace(address, base.url, context);
  const { http, retry, api, credentials, env, requests, s3, closing } = context;
  if (/^s3:/i.test(base.url) && requests && s3 && credentials && env)
    return s3Place(address, base.url, { http, requests, retry, credentials, env, s3, closing }, knownSubdirs());
  if (/^oci:/i.test(base.url) && api && credentials && env)
    return ociPlace(address, base.url, { http, retry, api, credentials, env }, knownSubdirs());
  throw new SourceError("UNREADABLE", {
    what: `${address.name}: not a channel that can be read`,
    why: `this version reads channels from http(s) addresses and folders, not from ${new URL(base.url).protocol}//`,
    next: "name an address or a folder that it is served from",
  });
}

function urlPlace(address: ChannelAddress, base: string, { http, retry }: PlaceContext): ChannelPlace {
  const placeOf = (url: string): PackagePlace => ({
    origin: redactUrl(url),
    key: url,
    address: { url },
    open: (request, s) => http.get(url, request, s),
  });
  const channel = new URL(base);
  return {
    address,
    key: base,
    read: (path, limit, signal, unlessVersion) =>
      fetched(placeOf(new URL(encoded(path), base).toString()), limit, { ...retry, signal }, unlessVersion),
    isUnchanged: (path, version, signal) =>
      unchanged(placeOf(new URL(encoded(path), base).toString()), version, { ...retry, signal }),
    async subdirs(among, signal) {
      const there: string[] = [];
      const look = async (subdir: string) => {
        if (await anyOf(subdir)) there.push(subdir);
      };
      const anyOf = async (subdir: string) => {
        for (const file of ["repodata.json", "repodata.json.zst"])
          if (await exists(placeOf(new URL(`${subdir}/${file}`, base).toString()), { ...retry, signal })) return true;
        return false;
      };
      for await (const _ of pool(among ?? knownSubdirs(), PROBES, look, signal));
      return there.sort();
    },
    readAt: async (url, limit, signal) => {
      const file = await fetched(placeOf(url), limit, { ...retry, signal });
      return file === "unchanged" ? undefined : file;
    },
    resolve(from, relative) {
      const to = new URL(relative, new URL(encoded(from), base));
      if (to.protocol !== "http:" && to.protocol !== "https:") throw astray(address, relative, to.protocol);
      // The same rule as for redirects: what is asked for over https must not come from where anybody can change it.
      if (channel.protocol === "https:" && to.protocol === "http:") throw astray(address, relative, "plain http:");
      // The channel's user and password are for its own origin. An index that names others names them to us alone.
      const own = to.origin === channel.origin;
      to.username = own ? channel.username : "";
      to.password = own ? channel.password : "";
      return to.toString();
    },
    package: placeOf,
  };
}

function folderPlace(address: ChannelAddress, root: string, context: PlaceContext): ChannelPlace {
  const remote = (url: string): PackagePlace => ({
    origin: redactUrl(url),
    key: url,
    address: { url },
    open: (request, s) => context.http.get(url, request, s),
  });
  const local = (path: string): PackagePlace => ({
    origin: path,
    key: `file:${path}`,
    address: { path },
    open: openFile(path),
  });
  const inside = (path: string): boolean => path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);
  const read = async (path: string, limit: number, signal: AbortSignal, unlessVersion?: string) => {
    const s = await stat(path).catch((e: NodeJS.ErrnoException) => {
      if (e.code === "ENOENT" || e.code === "ENOTDIR") return undefined;
      throw new SourceError("UNREADABLE", { what: path, why: e.message, next: "check its permissions", cause: e });
    });
    if (!s?.isFile()) return undefined;
    return fetched(local(path), limit, { ...context.retry, signal }, unlessVersion);
  };
  return {
    address,
    key: pathToFileURL(root).href,
    read: (path, limit, signal, unlessVersion) => read(join(root, ...path.split("/")), limit, signal, unlessVersion),
    isUnchanged: (path, version, signal) =>
      unchanged(local(join(root, ...path.split("/"))), version, { ...context.retry, signal }),
    async subdirs(among) {
      const names = await readdir(root).catch((e: NodeJS.ErrnoException) => {
        if (e.code === "ENOENT" || e.code === "ENOTDIR") return [];
        throw new SourceError("UNREADABLE", { what: root, why: e.message, next: "check its permissions", cause: e });
      });
      return names.filter((n) => isSubdir(n) && (among?.includes(n) ?? true) && isChannelFolder(root, [n])).sort();
    },
    async readAt(url, limit, signal) {
      const file = /^https?:/i.test(url)
        ? await fetched(remote(url), limit, { ...context.retry, signal })
        : await read(url, limit, signal);
      return file === "unchanged" ? undefined : file;
    },
    resolve(from, relative) {
      if (/^https?:\/\//i.test(relative)) return new URL(relative).toString();
      if (/^[a-z][a-z0-9+.-]*:/i.test(relative)) throw astray(address, relative, relative.split(":")[0] as string);
      const path = resolve(join(root, ...from.split("/").slice(0, -1)), decodeURIComponent(relative));
      if (!inside(path)) throw astray(address, relative, "a place outside its folder");
      return relative.endsWith("/") || relative === "" ? `${path}${sep}` : path;
    },
    package: (at) => (/^https?:/i.test(at) ? remote(at) : local(at)),
  };
}

async function fetched(
  place: Place,
  limit: number,
  retry: RetryOptions,
  unlessVersion?: string,
): Promise<ChannelFile | "unchanged" | undefined> {
  let version: string | undefined;
  const noting: Place = {
    ...place,
    open: async (request, signal) => {
      const unless = unlessVersion === undefined ? {} : { unlessVersion };
      const stream = await place.open({ ...request, ...unless }, signal);
      if (stream === "unchanged") throw new Unchanged();
      version = stream.version;
      return stream;
    },
  };
  try {
    return { bytes: await withRetries(() => readAll(noting, limit, retry.signal), retry), version };
  } catch (e) {
    if (e instanceof Unchanged) return "unchanged";
    if (e instanceof TransferError && e.code === "NOT_FOUND") return undefined;
    throw e;
  }
}

/** Where it can't be told, the file is read like any other. */
async function unchanged(place: Place, version: string, retry: RetryOptions): Promise<boolean> {
  try {
    const stream = await withRetries(() => place.open({ unlessVersion: version }, retry.signal), retry);
    if (stream === "unchanged") return true;
    stream.cancel();
  } catch (e) {
    if (isInterruption(e, retry.signal)) throw e;
  }
  return false;
}

/** Subdirs that are asked for at the same time. */
const PROBES = 8;

/** Whether a file can be had, without fetching it. */
async function exists(place: Place, retry: RetryOptions): Promise<boolean> {
  try {
    const stream = await withRetries(() => place.open({}, retry.signal), retry);
    if (stream !== "unchanged") stream.cancel();
    return true;
  } catch (e) {
    if (e instanceof TransferError && e.code === "NOT_FOUND") return false;
    // S3 answers 403 for a missing key where listing is not allowed; what can't be read at all shows when it is read.
    if (e instanceof TransferError && e.code === "REFUSED" && !place.origin.includes("/noarch/")) return false;
    throw e;
  }
}

class Unchanged extends Error {}

/** Each part of a path as it stands in a URL. */
function encoded(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

function astray(address: ChannelAddress, relative: string, where: string): SourceError {
  return new SourceError("BAD_INDEX", {
    what: `${address.name}: its index points elsewhere`,
    why: `it names ${redactUrl(relative)}, and ${where} is not followed from there`,
    next: "tell the channel's owner",
  });
}
