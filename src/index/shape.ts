import { crc32 } from "node:zlib";
import type { Repodata } from "./repodata.ts";

/**
 * Where things lie in an index, without its bytes: a run that has to know a large index twice, and can't keep its bytes
 * meanwhile, scans it once (500,000 records: 0.33 s, and 10 MB to keep).
 */
export interface Shape {
  readonly size: number;
  readonly crc32: number;
  readonly like: Omit<Repodata, "bytes" | "others" | "otherV3">;
  readonly others: readonly Member[];
  readonly otherV3: readonly Member[];
}

type Member = readonly [key: string, offset: number, length: number];

/** To be asked for while the index still has its bytes. */
export function shapeOf({ bytes, others, otherV3, ...like }: Repodata): Shape {
  const places = (members: Repodata["others"]): Member[] =>
    members.map(([key, value]) => [key, value.byteOffset - bytes.byteOffset, value.length]);
  return { size: bytes.length, crc32: crc32(bytes), like, others: places(others), otherV3: places(otherV3) };
}

/** The index again, from bytes that are the same; undefined when they are others. */
export function shapedAs(shape: Shape, bytes: Uint8Array): Repodata | undefined {
  if (bytes.length !== shape.size || crc32(bytes) !== shape.crc32) return undefined;
  const members = (places: readonly Member[]) =>
    places.map(([key, offset, length]) => [key, bytes.subarray(offset, offset + length)] as const);
  return { ...shape.like, bytes, others: members(shape.others), otherV3: members(shape.otherV3) };
}
