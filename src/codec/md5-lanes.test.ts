import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { type Md5Lanes, md5Lanes, OneByOne, ROOM } from "./md5-lanes.ts";

/** Hashes streams through the lanes, each taken up when a lane is free. */
function hashed(lanes: Md5Lanes, streams: readonly Uint8Array[]): string[] {
  const digests: string[] = [];
  const active = new Map<number, { stream: number; at: number }>();
  let next = 0;
  const feed = (lane: number) => {
    const one = active.get(lane) as { stream: number; at: number };
    const bytes = streams[one.stream] as Uint8Array;
    const part = bytes.subarray(one.at, one.at + ROOM);
    lanes.rooms[lane]?.set(part);
    one.at += part.length;
    lanes.feed(lane, part.length, one.at === bytes.length);
  };
  for (;;) {
    for (const lane of lanes.rooms.keys()) {
      if (active.has(lane) || next === streams.length) continue;
      active.set(lane, { stream: next++, at: 0 });
      lanes.begin(lane);
      feed(lane);
    }
    const through = lanes.run();
    if (through.length === 0) return digests;
    for (const lane of through) {
      const { stream, at } = active.get(lane) as { stream: number; at: number };
      if (at < (streams[stream] as Uint8Array).length) feed(lane);
      else {
        digests[stream] = lanes.digest(lane);
        active.delete(lane);
      }
    }
  }
}

for (const lanes of [md5Lanes(), new OneByOne()])
  test(`${lanes.constructor.name}: streams of any length, side by side, hash as each does alone`, () => {
    const length = fc.oneof(
      fc.nat(300),
      fc.nat(3 * ROOM),
      fc.constantFrom(0, 55, 56, 63, 64, 119, 120, ROOM - 9, ROOM - 8, ROOM, ROOM + 1),
    );
    fc.assert(
      fc.property(fc.array(length, { maxLength: 20 }), fc.nat(255), (lengths, seed) => {
        const streams = lengths.map((n, i) =>
          Uint8Array.from({ length: n }, (_, at) => Math.imul(at + seed, 2654435761 + i) >>> 13),
        );
        assert.deepEqual(
          hashed(lanes, streams),
          streams.map((bytes) => createHash("md5").update(bytes).digest("hex")),
        );
      }),
      { numRuns: 40 },
    );
  });
