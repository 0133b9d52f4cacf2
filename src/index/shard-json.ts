import { hash } from "node:crypto";
import { decompressIndex } from "./compress.ts";
import { MsgpackReader } from "./msgpack-reader.ts";
import type { RecordMap } from "./repodata.ts";

/** A record of a shard as the JSON that it stands for. */
export interface ShardJson {
  readonly map: RecordMap;
  /** As it stands in the map: a file name, in v3 without its extension. */
  readonly key: string;
  /** Compact JSON, members in the shard's order, without `run_exports`. */
  readonly record: string;
  /** The package's own `name`; undefined when it has none that is text. */
  readonly name: string | undefined;
  /** `run_exports` as JSON where they are known (CEP 21). */
  readonly runExports: string | undefined;
}

export interface ShardContent {
  readonly records: readonly ShardJson[];
  readonly removed: readonly string[];
}

/** conda refuses shards of more than 16 MiB; mamba reads up to 100. */
const MAX_SHARD = 128 * 1024 * 1024;

/**
 * What a shard of another program holds, as JSON (CEP 16 §Shard format).
 * @throws Error when its bytes are not those of `sha256`, or of another form
 */
export async function readShardJson(bytes: Uint8Array, sha256: string): Promise<ShardContent> {
  if (hash("sha256", bytes, "hex") !== sha256) throw new Error("its bytes differ from its name");
  const reader = new MsgpackReader(await decompressIndex(bytes, MAX_SHARD));
  const records: ShardJson[] = [];
  let removed: string[] = [];
  const section = (map: RecordMap) => {
    for (let n = reader.map(); n > 0; n--) records.push(readRecord(reader, map));
  };
  for (let members = reader.map(); members > 0; members--) {
    const member = reader.text();
    if (member === "packages" || member === "packages.conda") section(member);
    else if (member === "removed") removed = textsOf(reader.json());
    else if (member === "v3") {
      for (let n = reader.map(); n > 0; n--) {
        const bucket = reader.text();
        if (bucket === "conda" || bucket === "tar.bz2") section(`v3.${bucket}`);
        else reader.skip();
      }
    } else reader.skip();
  }
  return { records, removed };
}

function readRecord(reader: MsgpackReader, map: RecordMap): ShardJson {
  const key = reader.text();
  const members: string[] = [];
  let name: string | undefined;
  let runExports: string | undefined;
  for (let n = reader.map(); n > 0; n--) {
    const member = reader.text();
    const value = reader.json();
    if (member === "run_exports") {
      if (value.startsWith("{")) runExports = value;
      continue;
    }
    if (member === "name" && value.startsWith('"')) name = JSON.parse(value) as string;
    members.push(`${JSON.stringify(member)}:${value}`);
  }
  return { map, key, record: `{${members.join(",")}}`, name, runExports };
}

function textsOf(json: string): string[] {
  const list = JSON.parse(json) as unknown;
  return Array.isArray(list) ? list.filter((one) => typeof one === "string") : [];
}

/** Puts records of shards together to the `repodata.json` that they are of. */
export function repodataOfShards(subdir: string, contents: Iterable<ShardContent>): Buffer {
  const maps: Record<RecordMap, ShardJson[]> = { packages: [], "packages.conda": [], "v3.tar.bz2": [], "v3.conda": [] };
  const removed: string[] = [];
  for (const content of contents) {
    for (const record of content.records) maps[record.map].push(record);
    removed.push(...content.removed);
  }
  const pieces: string[] = [];
  const section = (map: RecordMap) => {
    maps[map].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    for (const [i, { key, record }] of maps[map].entries())
      pieces.push(`${i === 0 ? "" : ","}${JSON.stringify(key)}:${record}`);
  };
  pieces.push(`{"info":${JSON.stringify({ subdir })},"packages":{`);
  section("packages");
  pieces.push('},"packages.conda":{');
  section("packages.conda");
  pieces.push(`},"removed":${JSON.stringify([...new Set(removed)].sort())},"v3":{"tar.bz2":{`);
  section("v3.tar.bz2");
  pieces.push('},"conda":{');
  section("v3.conda");
  pieces.push("}}}");
  return joined(pieces);
}

/** The UTF-8 of many texts, without ever making one string of them: strings end at 512 MB. */
function joined(texts: readonly string[]): Buffer {
  const sizes = texts.map((text) => Buffer.byteLength(text));
  const all = Buffer.allocUnsafeSlow(sizes.reduce((sum, size) => sum + size, 0));
  let at = 0;
  for (const [i, text] of texts.entries()) {
    all.write(text, at);
    at += sizes[i] as number;
  }
  return all;
}
