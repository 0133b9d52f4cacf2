import { createHash } from "node:crypto";
import { decode } from "@msgpack/msgpack";
import { isSubdir, parseFileName } from "../conda/file-name.ts";
import { SourceError, TransferError } from "../errors.ts";
import { decompressBz2, decompressIndex } from "../index/compress.ts";
import { findRecord, readRepodata } from "../index/repodata.ts";
import type { HttpClient } from "../transfer/http.ts";
import type { Place } from "../transfer/place.ts";
import { readAll } from "../transfer/read-all.ts";
import { redactUrl } from "../transfer/redact.ts";
import { type RetryOptions, withRetries } from "../transfer/retry.ts";

/** Looks single packages up in the indexes of the channels that their URLs lie in. */
export interface ChannelLookup {
  /**
   * The channel's record of a package, as JSON bytes; undefined when the URL lies in no channel or it lists no such file.
   * @throws SourceError BAD_INDEX or TransferError when there is an index that can't be read.
   */
  recordOf(url: string, fileName: string, signal: AbortSignal): Promise<Uint8Array | undefined>;
}

type Lookup = (fileName: string, signal: AbortSignal) => Promise<Uint8Array | undefined>;

const MiB = 1024 * 1024;

/** Whole indexes above this are not read for the sake of a hash; channels of that size serve shards. */
const MAX_INDEX = 512 * MiB;

/** The whole index in the order in which it is asked for; old channels have no more than the last. */
const WHOLE = [
  [".zst", decompressIndex],
  ["", async (bytes: Uint8Array) => bytes],
  [".bz2", decompressBz2],
] as const;

export function channelLookup(http: HttpClient, retry: Omit<RetryOptions, "signal">): ChannelLookup {
  const folders = new Map<string, Promise<Lookup>>();
  const get = async (url: string, limit: number, signal: AbortSignal): Promise<Uint8Array | undefined> => {
    try {
      const place: Place = { origin: redactUrl(url), open: (request, s) => http.get(url, request, s) };
      return await withRetries(() => readAll(place, limit, signal), { ...retry, signal });
    } catch (e) {
      // 403 is what S3 answers for a missing key when listing is not allowed.
      if (e instanceof TransferError && (e.code === "NOT_FOUND" || e.code === "REFUSED")) return undefined;
      throw e;
    }
  };

  const openFolder = async (folder: string, signal: AbortSignal): Promise<Lookup> => {
    const shards = await get(`${folder}repodata_shards.msgpack.zst`, 64 * MiB, signal);
    if (shards) return shardedLookup(folder, shards, get);
    for (const [suffix, decompressed] of WHOLE) {
      const url = `${folder}repodata.json${suffix}`;
      const bytes = await get(url, MAX_INDEX, signal);
      if (!bytes) continue;
      try {
        const index = readRepodata(await decompressed(bytes));
        return async (fileName) => {
          const record = findRecord(index, fileName);
          return record && Uint8Array.from(record);
        };
      } catch (e) {
        throw badIndex(url, e);
      }
    }
    return async () => undefined;
  };

  return {
    async recordOf(url, fileName, signal) {
      const address = new URL(url);
      if (address.search) return undefined;
      const path = address.pathname.slice(0, address.pathname.lastIndexOf("/") + 1);
      if (!isSubdir(path.split("/").at(-2) ?? "")) return undefined;
      address.pathname = path;
      const folder = address.toString();
      let lookup = folders.get(folder);
      if (!lookup) {
        lookup = openFolder(folder, signal);
        folders.set(folder, lookup);
      }
      return (await lookup)(fileName, signal);
    },
  };
}

/** Sharded repodata (CEP 16): a small index of hashes, and one shard per package name. */
function shardedLookup(
  folder: string,
  indexBytes: Uint8Array,
  get: (url: string, limit: number, signal: AbortSignal) => Promise<Uint8Array | undefined>,
): Lookup {
  const shards = new Map<string, Promise<Record<string, unknown> | undefined>>();
  const index = decompressIndex(indexBytes).then(
    (bytes) =>
      decode(bytes, { useBigInt64: true }) as { info?: { shards_base_url?: string }; shards?: Record<string, unknown> },
  );
  const load = async (name: string, signal: AbortSignal): Promise<Record<string, unknown> | undefined> => {
    const { info, shards: hashes } = await index.catch((e) => {
      throw badIndex(`${folder}repodata_shards.msgpack.zst`, e);
    });
    const hash = hashes && Object.hasOwn(hashes, name) ? hashes[name] : undefined;
    if (hash === undefined) return undefined;
    const hex = hash instanceof Uint8Array ? Buffer.from(hash).toString("hex") : String(hash);
    if (!/^[0-9a-f]{64}$/.test(hex))
      throw badIndex(`${folder}repodata_shards.msgpack.zst`, new Error(`the hash of ${name} is malformed`));
    const base = new URL(info?.shards_base_url ?? "", folder).toString().replace(/\/?$/, "/");
    const url = `${base}${hex}.msgpack.zst`;
    const bytes = await get(url, 16 * MiB, signal);
    if (!bytes) throw badIndex(url, new Error("the shard index names it, but it is not there"));
    if (createHash("sha256").update(bytes).digest("hex") !== hex)
      throw badIndex(url, new Error("its bytes differ from its name"));
    try {
      return decode(await decompressIndex(bytes), { useBigInt64: true }) as Record<string, unknown>;
    } catch (e) {
      throw badIndex(url, e);
    }
  };
  return async (fileName, signal) => {
    const name = parseFileName(fileName).name.toLowerCase();
    let shard = shards.get(name);
    if (!shard) {
      shard = load(name, signal);
      shards.set(name, shard);
    }
    const map = (await shard)?.[fileName.endsWith(".conda") ? "packages.conda" : "packages"] as
      | Record<string, unknown>
      | undefined;
    const record = map && Object.hasOwn(map, fileName) ? map[fileName] : undefined;
    return record === undefined ? undefined : Buffer.from(toJson(record));
  };
}

/** A msgpack value as the JSON it stands for: hashes are raw bytes there and hex here, large integers stay exact. */
function toJson(value: unknown): string {
  if (value instanceof Uint8Array) return JSON.stringify(Buffer.from(value).toString("hex"));
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return `[${value.map(toJson).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    return `{${Object.entries(value)
      .map(([key, v]) => `${JSON.stringify(key)}:${toJson(v)}`)
      .join(",")}}`;
  }
  return JSON.stringify(value ?? null);
}

function badIndex(url: string, e: unknown): SourceError {
  return new SourceError("BAD_INDEX", {
    what: `${redactUrl(url)}: the channel's index can't be read`,
    why: (e as Error).message,
    next: "its promises can't be checked; give the package's hash in the URL (#sha256:…), or run again later",
    cause: e,
  });
}
