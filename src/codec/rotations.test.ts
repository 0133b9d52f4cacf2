import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RotationSorter } from "./rotations.ts";

const CAPACITY = 200_000;
const sorter = new RotationSorter(CAPACITY);

/** Rotations sorted by comparing them. */
function compared(block: Buffer): { column: string; rows: Buffer[] } {
  const twice = Buffer.concat([block, block]);
  const rows = Array.from(block, (_, i) => twice.subarray(i, i + block.length)).sort(Buffer.compare);
  return { column: Buffer.from(rows.map((row) => row.at(-1) as number)).toString("hex"), rows };
}

const bytes = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 60, size: "max" }),
  fc.uint8Array({ minLength: 1, maxLength: 300, max: 1, size: "max" }),
  fc.uint8Array({ minLength: 1, maxLength: 200, max: 3, size: "max" }),
);

test("property: the last column and the block's row are those of rotations that were compared", () => {
  const block = fc.tuple(bytes, fc.integer({ min: 1, max: 4 }), bytes, fc.boolean());
  fc.assert(
    fc.property(block, ([part, times, more, append]) => {
      const block = Buffer.concat([...Array(times).fill(part), ...(append ? [more, part] : [])]);
      sorter.block.set(block);
      const origin = sorter.sort(block.length);
      const { column, rows } = compared(block);
      assert.equal(Buffer.from(sorter.column.subarray(0, block.length)).toString("hex"), column);
      assert.ok(rows[origin]?.equals(block), `row ${origin}`);
    }),
    { numRuns: 1000 },
  );
});

/** What a decoder makes of the column. */
function undone(column: Uint8Array, origin: number): Buffer {
  const next = [...column.keys()].sort((a, b) => (column[a] as number) - (column[b] as number) || a - b);
  const block = Buffer.alloc(column.length);
  for (let i = 0, row = origin; i < block.length; i++) {
    row = next[row] as number;
    block[i] = column[row] as number;
  }
  return block;
}

test("blocks that make sorting by comparison slow are sorted in the time of others", () => {
  const fibonacci = ["b", "a"];
  while ((fibonacci.at(-1) as string).length < CAPACITY) fibonacci.push(fibonacci.slice(-2).reverse().join(""));
  const record = JSON.stringify({ build: "py_0", depends: ["python >=3.8", "numpy"], name: "x", version: "1.0" });
  const blocks = {
    "one byte": Buffer.alloc(CAPACITY, 9),
    "one byte, then another": Buffer.concat([Buffer.alloc(CAPACITY - 1, 9), Buffer.of(10)]),
    "one byte, and a lesser one in the middle": Buffer.alloc(CAPACITY, 9).fill(8, 77_777, 77_778),
    "two bytes in turn": Buffer.alloc(CAPACITY, "ab"),
    "two bytes in turn, but for the last": Buffer.alloc(CAPACITY - 1, "ab"),
    "a record again and again": Buffer.alloc(CAPACITY, record),
    Fibonacci: Buffer.from((fibonacci.at(-1) as string).slice(0, CAPACITY)),
    "half twice": Buffer.concat(
      Array(2).fill(Buffer.from(Array.from({ length: CAPACITY / 2 }, (_, i) => Math.imul(i, i) >> 9))),
    ),
  };
  for (const [name, block] of Object.entries(blocks)) {
    sorter.block.set(block);
    const before = process.cpuUsage();
    const origin = sorter.sort(block.length);
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 1_000_000, `${name}: ${user + system} µs`);
    assert.ok(undone(sorter.column.subarray(0, block.length), origin).equals(block), name);
  }
});
