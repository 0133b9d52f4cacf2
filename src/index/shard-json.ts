import { hash } from "node:crypto";
import { decodeFrames } from "../codec/zstd-frames.ts";
import { stringAt } from "../conda/json-bytes.ts";
import { decompressIndex } from "./compress.ts";
import { JsonOut } from "./json-out.ts";
import { MsgpackReader } from "./msgpack-reader.ts";
import { fileNameOf, type RecordMap } from "./repodata.ts";

/** A record of a shard: where the JSON that it stands for lies in its shard's. */
export interface ShardJson {
  readonly map: RecordMap;
  /** Where its key begins, at the opening quote: a file name, in v3 without its extension. */
  readonly start: number;
  /** Where the record begins, behind the colon: compact JSON, members in the shard's order, without `run_exports`. */
  readonly value: number;
  readonly end: number;
  /** The package's own `name`; undefined when it has none that is text. */
  readonly name: string | undefined;
  /** `run_exports` as JSON where they are known (CEP 21). */
  readonly runExports: string | undefined;
}

export interface ShardContent {
  /** Keys and records, those of one map one behind the other with a comma between them. */
  readonly json: Uint8Array;
  readonly records: readonly ShardJson[];
  readonly removed: readonly string[];
}

/** conda refuses shards of more than 16 MiB; mamba reads up to 100. */
const MAX_SHARD = 128 * 1024 * 1024;

/** Shards up to here are decoded in one go: a turn of the thread pool takes longer. */
const AT_ONCE = 128 * 1024;

/**
 * What a shard of another program holds, as JSON (CEP 16 §Shard format).
 * @param out room that is used again: what was read into it before is gone then.
 * @throws Error when its bytes are not those of `sha256`, or of another form
 */
export async function readShardJson(bytes: Uint8Array, sha256: string, out?: JsonOut): Promise<ShardContent> {
  if (hash("sha256", bytes, "hex") !== sha256) throw new Error("its bytes differ from its name");
  const plain = bytes.length <= AT_ONCE ? decodeFrames(bytes, MAX_SHARD) : await decompressIndex(bytes, MAX_SHARD);
  return readShardContent(new MsgpackReader(plain), out ?? new JsonOut(plain.length));
}

function readShardContent(reader: MsgpackReader, out: JsonOut): ShardContent {
  out.at = 0;
  const records: ShardJson[] = [];
  let removed: string[] = [];
  let name: string | undefined;
  const section = (map: RecordMap) => {
    for (let n = reader.map(); n > 0; n--) {
      if (out.at > 0) out.byte(COMMA);
      const one = readRecord(reader, out, map, name);
      records.push(one);
      name = one.name;
    }
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
  return { json: out.written(), records, removed };
}

const COMMA = 44;
const COLON = 58;
const QUOTE = 34;
const OPEN_MAP = 123;
const CLOSE_MAP = 125;

/** @param last the name of the record before, which nearly always is this one's too. */
function readRecord(reader: MsgpackReader, out: JsonOut, map: RecordMap, last: string | undefined): ShardJson {
  const start = out.at;
  reader.textInto(out);
  out.byte(COLON);
  const value = out.at;
  out.byte(OPEN_MAP);
  let name: string | undefined;
  let runExports: string | undefined;
  let first = true;
  for (let n = reader.map(); n > 0; n--) {
    const before = out.at;
    if (!first) out.byte(COMMA);
    const key = out.at;
    reader.textInto(out);
    const keyEnd = out.at;
    out.byte(COLON);
    const at = out.at;
    reader.jsonInto(out, 1);
    if (out.spells(key, keyEnd, '"run_exports"')) {
      const json = out.written(at);
      if (json[0] === OPEN_MAP) runExports = json.toString("utf8");
      out.at = before;
      continue;
    }
    if (out.spells(key, keyEnd, '"name"') && out.written(at)[0] === QUOTE) {
      const same = last !== undefined && !last.includes("\\") && out.spells(at + 1, out.at - 1, last);
      name = same ? last : stringAt(out.written(), at, out.at);
    }
    first = false;
  }
  out.byte(CLOSE_MAP);
  return { map, start, value, end: out.at, name, runExports };
}

function textsOf(json: string): string[] {
  const list = JSON.parse(json) as unknown;
  return Array.isArray(list) ? list.filter((one) => typeof one === "string") : [];
}

/** The file name of a shard's record. */
export function fileNameIn({ json }: ShardContent, { map, start, value }: ShardJson): string {
  return fileNameOf(map, stringAt(json, start, value - 1));
}

/** A shard's record as JSON, a copy. */
export function recordIn({ json }: ShardContent, { value, end }: ShardJson): Buffer {
  return Buffer.from(json.subarray(value, end));
}
