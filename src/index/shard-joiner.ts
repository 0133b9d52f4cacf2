import { letGo } from "./let-go.ts";
import { RECORD_MAPS, type RecordMap } from "./repodata.ts";
import type { ShardContent, ShardJson } from "./shard-json.ts";

/** Puts records of shards together to the `repodata.json` that they are of, shard by shard, without a second copy of it. */
export class ShardJoiner {
  readonly #maps: Record<RecordMap, Pieces> = {
    packages: new Pieces(),
    "packages.conda": new Pieces(),
    "v3.tar.bz2": new Pieces(),
    "v3.conda": new Pieces(),
  };
  readonly #removed = new Set<string>();

  add({ json, records, removed }: ShardContent): void {
    for (const map of RECORD_MAPS) {
      const its = records.filter((r) => r.map === map);
      const [first, last] = [its[0], its.at(-1)];
      if (!first || !last) continue;
      const pieces = this.#maps[map];
      // Some writers have another order than that of file names; the index is quicker to read in that one.
      if (inOrder(json, its)) pieces.add(json.subarray(first.start, last.end));
      else for (const { start, end } of its.sort(byKey(json))) pieces.add(json.subarray(start, end));
    }
    for (const fileName of removed) this.#removed.add(fileName);
  }

  /** The bytes of the index. Afterwards the joiner is empty. */
  finish(subdir: string): Uint8Array {
    const text = (t: string) => Buffer.from(t);
    const parts: (Buffer | Pieces)[] = [
      text(`{"info":${JSON.stringify({ subdir })},"packages":{`),
      this.#maps.packages,
      text('},"packages.conda":{'),
      this.#maps["packages.conda"],
      text(`},"removed":${JSON.stringify([...this.#removed].sort())},"v3":{"tar.bz2":{`),
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

/** Whether records stand in the order of their keys, each right behind the one before. */
function inOrder(json: Uint8Array, records: readonly ShardJson[]): boolean {
  const order = byKey(json);
  return records.every((r, i) => {
    const before = records[i - 1];
    return !before || (before.end + 1 === r.start && order(before, r) <= 0);
  });
}

function byKey(json: Uint8Array): (a: ShardJson, b: ShardJson) => number {
  const bytes = Buffer.from(json.buffer, json.byteOffset, json.length);
  return (a, b) => bytes.compare(bytes, b.start + 1, b.value - 2, a.start + 1, a.value - 2);
}

const MiB = 1024 * 1024;

/**
 * The first portion is small, since most are never filled. The others are larger than the 32 MiB up to which glibc keeps what
 * was given back to it: with portions of 4 MiB a whole index stayed in memory twice.
 */
const FIRST = MiB;
const FURTHER = 33 * MiB;

/** Bytes with commas between them, in portions that are given back one by one when they are put together. */
class Pieces {
  size = 0;
  #chunks: Buffer[] = [];
  /** The last one, as far as it is written to. */
  #fill = 0;

  add(bytes: Uint8Array): void {
    if (this.size > 0) this.#append(SEPARATOR);
    this.#append(bytes);
  }

  #append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      let chunk = this.#chunks.at(-1);
      if (!chunk || this.#fill === chunk.length) {
        chunk = Buffer.allocUnsafeSlow(chunk ? FURTHER : FIRST);
        this.#chunks.push(chunk);
        this.#fill = 0;
      }
      const n = Math.min(chunk.length - this.#fill, bytes.length - at);
      chunk.set(bytes.subarray(at, at + n), this.#fill);
      this.#fill += n;
      at += n;
    }
    this.size += bytes.length;
  }

  moveInto(all: Uint8Array, from: number): number {
    let at = from;
    const last = this.#chunks.length - 1;
    for (const [i, chunk] of this.#chunks.entries()) {
      all.set(i === last ? chunk.subarray(0, this.#fill) : chunk, at);
      at += i === last ? this.#fill : chunk.length;
      letGo(chunk);
    }
    this.#chunks = [];
    return at;
  }
}

const SEPARATOR = Buffer.from(",");
