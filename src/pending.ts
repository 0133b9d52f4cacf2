import { open } from "node:fs/promises";
import type { RecordMap } from "./index/repodata.ts";
import type { PackageRef } from "./source/source.ts";

/** Offers of one channel's subdir that wait in a file for their round. */
export interface Pending {
  readonly subdir: string;
  /** For people. */
  readonly origin: string;
  readonly path: string;
  readonly count: number;
  /** @throws PackageError when the record can't be followed */
  offer(entry: PendingEntry): PackageRef;
}

/** One record of an index, on its own. */
export interface PendingEntry {
  readonly map: RecordMap;
  readonly fileName: string;
  readonly record: Uint8Array;
}

/** Bytes that are gathered before they are written, and read at once. */
const PART = 1024 * 1024;

/** Lengths of map, name and record, as 32-bit numbers. */
const HEAD = 12;

/** Writes entries to a file that only `readPending` reads, and gives how many there were. */
export async function writePending(path: string, entries: Iterable<PendingEntry>): Promise<number> {
  const file = await open(path, "wx");
  try {
    let parts: Uint8Array[] = [];
    let size = 0;
    let count = 0;
    const flush = async () => {
      const bytes = Buffer.concat(parts);
      parts = [];
      size = 0;
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
    };
    for (const { map, fileName, record } of entries) {
      const [mapBytes, name] = [Buffer.from(map), Buffer.from(fileName)];
      const head = Buffer.alloc(HEAD);
      head.writeUInt32LE(mapBytes.length, 0);
      head.writeUInt32LE(name.length, 4);
      head.writeUInt32LE(record.length, 8);
      parts.push(head, mapBytes, name, record);
      size += HEAD + mapBytes.length + name.length + record.length;
      count++;
      if (size >= PART) await flush();
    }
    await flush();
    return count;
  } finally {
    await file.close();
  }
}

/** The entries of a file in their order, little of it in memory at a time. */
export async function* readPending(path: string): AsyncGenerator<PendingEntry> {
  const file = await open(path, "r");
  try {
    let bytes = Buffer.alloc(0);
    let at = 0;
    const have = async (needed: number): Promise<boolean> => {
      while (bytes.length - at < needed) {
        const more = Buffer.allocUnsafe(Math.max(PART, needed));
        const { bytesRead } = await file.read(more, 0, more.length);
        if (bytesRead === 0) return false;
        bytes = Buffer.concat([bytes.subarray(at), more.subarray(0, bytesRead)]);
        at = 0;
      }
      return true;
    };
    while (await have(HEAD)) {
      const lengths = [0, 4, 8].map((i) => bytes.readUInt32LE(at + i)) as [number, number, number];
      const whole = HEAD + lengths[0] + lengths[1] + lengths[2];
      if (!(await have(whole))) throw new Error(`${path} was cut while it was used`);
      const name = at + HEAD + lengths[0];
      const record = name + lengths[1];
      yield {
        map: bytes.toString("latin1", at + HEAD, name) as RecordMap,
        fileName: bytes.toString("utf8", name, record),
        record: bytes.subarray(record, at + whole),
      };
      at += whole;
    }
  } finally {
    await file.close();
  }
}
