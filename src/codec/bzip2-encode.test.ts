import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { bzip2 } from "../../test/packages/builder.ts";
import { content, noise, python } from "../../test/support/bz2.ts";
import { SEED } from "../../test/support/draws.ts";
import { fixtures } from "../../test/support/needs.ts";
import { readAtBuffer } from "../package/read-at.ts";
import { decodeBzip2 } from "./bzip2.ts";
import { compressedBz2 } from "./bzip2-encode.ts";

async function encoded(pieces: Iterable<Uint8Array>, level?: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of compressedBz2(pieces, level)) parts.push(part);
  return Buffer.concat(parts);
}

async function decoded(bytes: Uint8Array): Promise<Buffer> {
  const portions: Buffer[] = [];
  for await (const portion of decodeBzip2(readAtBuffer(bytes), "test")) portions.push(Buffer.from(portion));
  return Buffer.concat(portions);
}

/** Both decoders make the content of it again. */
async function holdsAll(inputs: readonly { bytes: Uint8Array; level: number }[], where: string): Promise<void> {
  const files: Buffer[] = [];
  for (const { bytes, level } of inputs) files.push(await encoded([bytes], level));
  const byPython = python(
    "decode(b)",
    files.map((bytes) => ({ bytes, level: 0 })),
  );
  for (const [i, { bytes }] of inputs.entries()) {
    assert.ok(byPython[i]?.equals(bytes), `Python, ${where} ${i}`);
    assert.ok((await decoded(files[i] as Buffer)).equals(bytes), `ours, ${where} ${i}`);
  }
}

test("property: both decoders make the same bytes of it again, at every level", async () => {
  const samples = fc.sample(fc.record({ bytes: content, level: fc.integer({ min: 1, max: 9 }) }), {
    numRuns: 200,
    seed: SEED,
  });
  await holdsAll(samples, `seed ${SEED}, sample`);
});

test("runs of every length come back, alone and between others", async () => {
  const lengths = Array.from({ length: 601 }, (_, n) => n);
  const run = (n: number, byte: number) => Buffer.alloc(n, byte);
  await holdsAll(
    [
      ...lengths.map((n) => ({ bytes: run(n, n & 255), level: 1 })),
      { bytes: Buffer.concat(lengths.flatMap((n) => [run(n, 7), run(1, 8)])), level: 1 },
      { bytes: Buffer.concat(lengths.flatMap((n) => [run(n, 0), run(600 - n, 255)])), level: 9 },
    ],
    "run",
  );
});

test("whatever lies across the end of a block comes back", async () => {
  // A block of level 1 has room for 100,000 bytes; runs of 4 and more are 5 of them, up to 255.
  const inputs: { bytes: Buffer; level: number }[] = [];
  const ramp = Buffer.from(Array.from({ length: 1000 }, (_, i) => i & 255));
  for (const level of [1, 9]) {
    const room = level * 100_000;
    const before = level === 1 ? 12 : 6;
    for (let n = room - before; n <= room + 2; n++) {
      const start = Buffer.alloc(n, ramp);
      inputs.push({ bytes: start, level });
      for (const run of level === 1 ? [3, 4, 5, 254, 255, 256, 510, 511, 600] : [4, 256])
        inputs.push({ bytes: Buffer.concat([start, Buffer.alloc(run, 1), ramp]), level });
    }
  }
  await holdsAll(inputs, "block's end");
});

test("large inputs of every kind come back", async () => {
  await holdsAll(
    [
      Buffer.alloc(0),
      Buffer.alloc(46_000_000), // a little more than a block's worth
      randomBytes(2_100_000),
      Buffer.from("ab".repeat(1_400_000)),
      Buffer.from('{"depends":["python >=3.8"],"name":"x"},'.repeat(60_000)),
      noise([1, 3_000_000, 3]),
      // Skewed, so that code lengths reach their limit.
      Buffer.from(Array.from({ length: 900_000 }, (_, i) => Math.clz32(Math.imul(i, 2654435761)) * 8 + (i % 7))),
    ].map((bytes) => ({ bytes, level: 9 })),
    "large input",
  );
});

test("property: the same content gives the same file, whatever pieces it comes in", async () => {
  const cuts = fc.array(fc.nat(), { maxLength: 20 });
  for (const [bytes, at] of fc.sample(fc.tuple(content, cuts), { numRuns: 60, seed: SEED })) {
    const places = [0, ...at.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
    const pieces = places.slice(1).map((end, i) => bytes.subarray(places[i], end));
    assert.ok((await encoded(pieces, 1)).equals(await encoded([bytes], 1)), `seed ${SEED}`);
  }
  const bytes = noise([2, 250_000, 30]);
  const single = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
  assert.ok((await encoded(single, 1)).equals(await encoded([bytes], 1)));
});

test("pieces are asked for as they are needed, and others get their turn between blocks", async () => {
  let given = 0;
  let turns = 0;
  const pieces = function* () {
    for (; given < 20; given++) yield noise([given, 50_000, 200]);
  };
  let ended = false;
  const others = (async () => {
    for (; !ended; turns++) await setImmediate();
  })();
  let blocks = 0;
  for await (const part of compressedBz2(pieces(), 1)) {
    assert.ok(part.length > 0);
    blocks++;
    assert.ok(given <= 2 * blocks + 1, `${given} pieces for ${blocks} blocks`);
  }
  ended = true;
  await others;
  assert.ok(blocks >= 10 && turns >= 9, `${blocks} blocks, ${turns} turns`);
});

/** An index such as a channel has, made from a number. */
function indexLike(records: number): Buffer {
  const numbers = noise([5, 64 * records, 256]);
  const lines: string[] = [];
  for (let i = 0; i < records; i++) {
    const name = `package-${(numbers[i] as number) % 90}`;
    const version = `${(numbers[i + 1] as number) % 4}.${(numbers[i + 2] as number) % 30}.0`;
    const sha256 = numbers.subarray(64 * i, 64 * i + 32).toString("hex");
    const record = {
      build: "py311h0_0",
      build_number: 0,
      depends: [`${name} >=${version}`, "python >=3.11,<3.12.0a0"],
    };
    lines.push(
      `"${name}-${version}-${i}.conda":${JSON.stringify({ ...record, name, sha256, size: i * 977, version })}`,
    );
  }
  return Buffer.from(`{"packages.conda":{${lines}}}`);
}

test("an index is as small as bzip2 makes it, within one part in a hundred", async () => {
  const indexes: Record<string, Buffer> = { "10,000 records": indexLike(10_000), "20 records": indexLike(20) };
  const real = join(fixtures, "repodata/r_linux-64.json");
  if (existsSync(real)) indexes["the R packages of conda-forge"] = readFileSync(real);
  for (const [name, index] of Object.entries(indexes)) {
    const ours = (await encoded([index])).length;
    const theirs = bzip2(index).length;
    assert.ok(ours <= theirs * 1.01, `${name}: ${ours} instead of ${theirs} bytes`);
  }
});
