import { hash } from "node:crypto";
import { decompressIndex } from "./compress.ts";
import { letGo } from "./let-go.ts";
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

/** Puts records of shards together to the `repodata.json` that they are of, shard by shard, without a second copy of it. */
export class ShardJoiner {
  readonly #maps: Record<RecordMap, Pieces> = {
    packages: new Pieces(),
    "packages.conda": new Pieces(),
    "v3.tar.bz2": new Pieces(),
    "v3.conda": new Pieces(),
  };
  readonly #removed: string[] = [];

  add({ records, removed }: ShardContent): void {
    for (const { map, key, record } of [...records].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))) {
      const pieces = this.#maps[map];
      pieces.text(`${pieces.size === 0 ? "" : ","}${JSON.stringify(key)}:${record}`);
    }
    this.#removed.push(...removed);
  }

  /** The bytes of the index. Afterwards the joiner is empty. */
  finish(subdir: string): Uint8Array {
    const text = (t: string) => Buffer.from(t);
    const parts: (Buffer | Pieces)[] = [
      text(`{"info":${JSON.stringify({ subdir })},"packages":{`),
      this.#maps.packages,
      text('},"packages.conda":{'),
      this.#maps["packages.conda"],
      text(`},"removed":${JSON.stringify([...new Set(this.#removed)].sort())},"v3":{"tar.bz2":{`),
      this.#maps["v3.tar.bz2"],
      text('},"conda":{'),
      this.#maps["v3.conda"],
      text("}}}"),
    ];
    const size = parts.reduce((sum, part) => sum + (part instanceof Pieces ? part.size : part.length), 0);
    // Memory that is not written to yet is not taken yet.
    const all = Buffer.allocUnsafeSlow(size);
    let at = 0;
    for (const part of parts) {
      if (part instanceof Pieces) at = part.moveInto(all, at);
      else {
        all.set(part, at);
        at += part.length;
      }
    }
    return all;
  }
}

const CHUNK = 4 * 1024 * 1024;

/** Text as UTF-8, in portions that are given back one by one when they are put together. */
class Pieces {
  size = 0;
  #chunks: Buffer[] = [];
  #fill = CHUNK;

  text(text: string): void {
    const most = text.length * 3;
    if (this.#fill + most > (this.#chunks.at(-1)?.length ?? 0)) {
      this.#cut();
      this.#chunks.push(Buffer.allocUnsafeSlow(Math.max(CHUNK, most)));
      this.#fill = 0;
    }
    const written = (this.#chunks.at(-1) as Buffer).write(text, this.#fill);
    this.#fill += written;
    this.size += written;
  }

  moveInto(all: Uint8Array, from: number): number {
    let at = from;
    this.#cut();
    for (const chunk of this.#chunks) {
      all.set(chunk, at);
      at += chunk.length;
      letGo(new Uint8Array(chunk.buffer));
    }
    this.#chunks = [];
    return at;
  }

  /** The last portion ends where it was written to. */
  #cut(): void {
    const last = this.#chunks.pop();
    if (last) this.#chunks.push(last.subarray(0, this.#fill));
  }
}
