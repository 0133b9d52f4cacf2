import { hash } from "node:crypto";
import { constants, zstdCompressSync } from "node:zlib";
import { decode, encode } from "@msgpack/msgpack";
import { FramePacker } from "../codec/zstd-frames.ts";
import { decompressIndex } from "./compress.ts";
import { MsgpackWriter } from "./msgpack.ts";
import { MsgpackReader } from "./msgpack-reader.ts";
import { keyIn, type RecordMap } from "./repodata.ts";

/** A record for a shard. */
export interface ShardRecord {
  readonly map: RecordMap;
  readonly fileName: string;
  readonly record: Uint8Array;
  /** `{}` or the package's run exports as JSON where they are known; nothing where they are not (CEP 21). */
  readonly runExports?: Uint8Array | undefined;
}

/** A shard: the file `shards/<sha256>.msgpack.zst` of one package name. */
export interface Shard {
  /** 64 lower hex digits, of `bytes`. */
  readonly sha256: string;
  readonly bytes: Buffer;
  /** Bytes once unpacked. */
  readonly size: number;
}

/** Members of a record that shards hold as raw bytes. */
const HASHES = ["md5", "sha256", "legacy_bz2_md5", "attestations_sha256"];

// conda refuses windows above 2^24 and shards above 16 MiB; level 3 is what every writer uses.
const SHARD_PARAMS = {
  [constants.ZSTD_c_compressionLevel]: 3,
  [constants.ZSTD_c_windowLog]: 23,
  [constants.ZSTD_c_contentSizeFlag]: 1,
  [constants.ZSTD_c_checksumFlag]: 1,
};

const writer = new MsgpackWriter();
const packer = new FramePacker(SHARD_PARAMS);

/**
 * The shard of one package name (CEP 16 §Shard format): all its records, in the order of file names. Same records, same bytes.
 * @param removed names of this package's files that were taken back.
 */
export function makeShard(records: readonly ShardRecord[], removed: readonly string[]): Shard {
  const sorted = [...records].sort((a, b) => (a.fileName < b.fileName ? -1 : a.fileName > b.fileName ? 1 : 0));
  const section = (map: RecordMap) => {
    const chosen = sorted.filter((r) => r.map === map);
    writer.map(chosen.length);
    for (const { fileName, record, runExports } of chosen) {
      writer.text(keyIn(map, fileName));
      writer.record(record, HASHES, runExports && { key: "run_exports", json: runExports });
    }
  };
  const v3 = sorted.some((r) => r.map === "v3.conda" || r.map === "v3.tar.bz2");
  writer.take();
  // Both maps must be there even when they are empty: rattler and conda fail without them.
  writer.map(v3 ? 4 : 3);
  writer.text("packages");
  section("packages");
  writer.text("packages.conda");
  section("packages.conda");
  if (v3) {
    writer.text("v3");
    writer.map(2);
    writer.text("conda");
    section("v3.conda");
    writer.text("tar.bz2");
    section("v3.tar.bz2");
  }
  writer.text("removed");
  writer.array(removed.length);
  for (const fileName of [...removed].sort()) writer.text(fileName);
  const plain = writer.take();
  const bytes = packer.pack(plain);
  return { sha256: hash("sha256", bytes, "hex"), bytes, size: plain.length };
}

/** What `repodata_shards.msgpack.zst` says. */
export interface ShardIndex {
  readonly info: ShardInfo;
  /** Package name in lower case to the shard's SHA-256, 64 lower hex digits. */
  readonly shards: ReadonlyMap<string, string>;
}

export interface ShardInfo {
  readonly subdir: string;
  /** "" or a URL that ends in "/". */
  readonly baseUrl: string;
  /** Further members (`repodata_revisions`, `channel_relations`), as in `info` of repodata.json. */
  readonly more: Readonly<Record<string, unknown>>;
}

/** Where shards lie, relative to their index. */
export const SHARD_FOLDER = "shards";

/** The path of a shard inside its subdir. */
export function shardPath(sha256: string): string {
  return `${SHARD_FOLDER}/${sha256}.msgpack.zst`;
}

/**
 * The bytes of the shard index (CEP 16 §Shards index). No time of making is written into it: with one it would change
 * on every run.
 */
export function makeShardIndex({ info, shards }: ShardIndex): Buffer {
  const names = [...shards.keys()].sort();
  const plain = encode(
    {
      version: 1,
      info: { base_url: info.baseUrl, shards_base_url: `./${SHARD_FOLDER}/`, subdir: info.subdir, ...info.more },
      shards: Object.fromEntries(names.map((name) => [name, Buffer.from(shards.get(name) as string, "hex")])),
    },
    { ignoreUndefined: true },
  );
  return zstdCompressSync(plain, {
    pledgedSrcSize: plain.length,
    params: {
      [constants.ZSTD_c_compressionLevel]: 9,
      [constants.ZSTD_c_checksumFlag]: 1,
      [constants.ZSTD_c_windowLog]: 23,
    },
  });
}

/**
 * Reads a shard index: package name to the SHA-256 of its shard in hex.
 * @throws Error when it is damaged or of another form
 */
export async function readShardIndex(bytes: Uint8Array): Promise<Map<string, string>> {
  return (await readShardIndexWhole(bytes)).shards;
}

/** A shard index that another program may have made. */
export interface FoundShards {
  readonly shards: Map<string, string>;
  /** Where packages lie, relative to the index: "" is beside it. */
  readonly baseUrl: string;
  /** Where shards lie, relative to the index. */
  readonly shardsBaseUrl: string;
}

/** A shard index larger than this, unpacked, is no shard index. */
const MAX_SHARD_INDEX = 512 * 1024 * 1024;

/**
 * Reads a shard index with what it says of addresses.
 * @throws Error when it is damaged or of another form
 */
export async function readShardIndexWhole(bytes: Uint8Array): Promise<FoundShards> {
  const reader = new MsgpackReader(await decompressIndex(bytes, MAX_SHARD_INDEX));
  const shards = new Map<string, string>();
  let info: Record<string, unknown> = {};
  let found = false;
  for (let members = reader.map(); members > 0; members--) {
    const member = reader.text();
    if (member === "info") info = JSON.parse(reader.json()) as Record<string, unknown>;
    else if (member !== "shards") reader.skip();
    else {
      found = true;
      for (let names = reader.map(); names > 0; names--) {
        const name = reader.text();
        const raw = reader.bytesOrText();
        // Some writers have the hash as text.
        const hex = raw.length === 32 ? raw.toString("hex") : raw.toString("latin1");
        if (!/^[0-9a-f]{64}$/.test(hex)) throw new Error(`the hash of ${name} is malformed`);
        shards.set(name, hex);
      }
    }
  }
  if (!found || !reader.done) throw new Error(found ? "something follows it" : "it has no map of shards");
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  return { shards, baseUrl: text(info["base_url"]), shardsBaseUrl: text(info["shards_base_url"]) };
}

/**
 * The records of a shard by file name, hashes as the raw bytes they are there.
 * @throws Error when its bytes are not those of `sha256`, or of another form
 */
export async function readShard(bytes: Uint8Array, sha256: string): Promise<Map<string, Record<string, unknown>>> {
  if (hash("sha256", bytes, "hex") !== sha256) throw new Error("its bytes differ from its name");
  const shard = decode(await decompressIndex(bytes), { useBigInt64: true }) as Record<string, unknown>;
  const v3 = (shard["v3"] ?? {}) as Record<string, unknown>;
  const records = new Map<string, Record<string, unknown>>();
  for (const [map, extension] of [
    [shard["packages"], ""],
    [shard["packages.conda"], ""],
    [v3["tar.bz2"], ".tar.bz2"],
    [v3["conda"], ".conda"],
  ] as const) {
    for (const [key, record] of Object.entries(map ?? {}))
      if (typeof record === "object" && record !== null)
        records.set(key + extension, record as Record<string, unknown>);
  }
  return records;
}
