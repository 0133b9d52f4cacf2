import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { bzip2 } from "../../test/packages/builder.ts";
import { content, noise, python } from "../../test/support/bz2.ts";
import { SEED } from "../../test/support/draws.ts";
import { PackageError } from "../errors.ts";
import { readAtBuffer } from "../package/read-at.ts";
import { decodeBzip2 } from "./bzip2.ts";
import { BlockDecoder } from "./bzip2-block.ts";
import { type Kernel, plainKernel } from "./bzip2-kernel.ts";
import { wasmKernel } from "./bzip2-wasm.ts";

const wasm = wasmKernel();
const decoders: [string, BlockDecoder][] = [
  ["WebAssembly", new BlockDecoder(wasm as Kernel)],
  ["JavaScript", new BlockDecoder(plainKernel())],
];

async function decoded(bytes: Uint8Array, decoder: BlockDecoder): Promise<Buffer> {
  const portions: Buffer[] = [];
  for await (const portion of decodeBzip2(readAtBuffer(bytes), "test", undefined, decoder)) {
    assert.ok(portion.length > 0 && portion.length < 64 * 1024 + 256);
    portions.push(Buffer.from(portion));
  }
  return Buffer.concat(portions);
}

test("both ways to decode are there", () => {
  assert.ok(wasm, "this machine runs WebAssembly with vectors");
});

test("large inputs, several blocks and all levels decode to the same bytes", async () => {
  const inputs = [
    Buffer.alloc(0),
    Buffer.alloc(3_000_000),
    randomBytes(2_100_000),
    Buffer.from("ab".repeat(700_000)),
    Buffer.alloc(260, 7),
    noise([1, 1_000_000, 3]),
    Buffer.concat([randomBytes(899_990), Buffer.alloc(600, 1), randomBytes(20)]),
    // Skewed, so that codes of more than ten bits occur.
    Buffer.from(Array.from({ length: 400_000 }, (_, i) => Math.clz32(Math.imul(i, 2654435761)) * 8 + (i % 7))),
  ];
  for (const [i, input] of inputs.entries()) {
    const bytes = bzip2(input, 1 + (i % 9));
    for (const [name, decoder] of decoders)
      assert.ok((await decoded(bytes, decoder)).equals(input), `${name}: input ${i}`);
  }
});

test("property: what Python's encoder made of any bytes, as one stream or two, decodes to them", async () => {
  const samples = fc.sample(fc.record({ bytes: content, level: fc.integer({ min: 1, max: 9 }), cut: fc.nat() }), {
    numRuns: 250,
    seed: SEED,
  });
  const streams = python("bz2.compress(b, level)", samples) as Buffer[];
  const halves = samples.flatMap(({ bytes, level, cut }) => {
    const at = cut % (bytes.length + 1);
    return [bytes.subarray(0, at), bytes.subarray(at)].map((half) => ({ bytes: half, level }));
  });
  const halfStreams = python("bz2.compress(b, level)", halves) as Buffer[];
  for (const [i, { bytes }] of samples.entries()) {
    const two = Buffer.concat([...halfStreams.slice(2 * i, 2 * i + 2), Buffer.from("xyz1".slice(0, i % 5))]);
    for (const [name, decoder] of decoders) {
      assert.ok((await decoded(streams[i] as Buffer, decoder)).equals(bytes), `${name}: sample ${i} of seed ${SEED}`);
      assert.ok((await decoded(two, decoder)).equals(bytes), `${name}: sample ${i} of seed ${SEED} as two streams`);
    }
  }
});

test("property: of damaged or cut streams each way makes what Python makes of them, or an error of ours", async () => {
  const damage = fc.record({
    bytes: content,
    level: fc.integer({ min: 1, max: 9 }),
    at: fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(255)), { minLength: 1, maxLength: 4 }),
    kind: fc.constantFrom("change", "change", "cut", "head"),
  });
  const samples = fc.sample(damage, { numRuns: 600, seed: SEED });
  const streams = python("bz2.compress(b, level)", samples) as Buffer[];
  const damaged = samples.map(({ at, kind }, i) => {
    const stream = Buffer.from(streams[i] as Buffer);
    if (kind === "cut") return stream.subarray(0, Math.floor((at[0]?.[0] ?? 0) * stream.length));
    // The tables stand at the begin of a block, and changes there reach farthest.
    const reach = kind === "head" ? Math.min(stream.length, 80) : stream.length;
    for (const [where, bits] of at) {
      const byte = Math.min(reach - 1, Math.floor(where * reach));
      stream[byte] = (stream[byte] as number) ^ bits;
    }
    return stream;
  });
  const expected = python(
    "decode(b)",
    damaged.map((bytes) => ({ bytes, level: 0 })),
  );
  let refused = 0;
  for (const [i, bytes] of damaged.entries()) {
    for (const [name, decoder] of decoders) {
      const got = await decoded(bytes, decoder).catch((e: unknown) => {
        assert.ok(e instanceof PackageError && e.code === "DAMAGED", `${name}: sample ${i} of seed ${SEED}: ${e}`);
        return undefined;
      });
      if (got === undefined) refused++;
      assert.equal(got?.toString("latin1"), expected[i]?.toString("latin1"), `${name}: sample ${i} of seed ${SEED}`);
    }
  }
  assert.ok(refused > 500, `${refused} refused`);
});

test("a block's CRC is checked when all of it was taken, and the decoder goes on with the next package", async () => {
  const bytes = bzip2(randomBytes(300_000));
  bytes[10] = (bytes[10] as number) ^ 1; // the block's CRC
  for (const [name, decoder] of decoders) {
    for await (const portion of decodeBzip2(readAtBuffer(bytes), "test", undefined, decoder)) {
      assert.equal(portion.length >> 12, 1, `${name}: a small portion comes first`);
      break;
    }
    await assert.rejects(decoded(bytes, decoder), { code: "DAMAGED", why: "a bzip2 block fails its CRC" }, name);
    const next = bzip2(Buffer.from("next"));
    assert.equal(String(await decoded(next, decoder)), "next", name);
    next[next.length - 2] = (next[next.length - 2] as number) ^ 8;
    await assert.rejects(decoded(next, decoder), { code: "DAMAGED", why: "a bzip2 stream fails its CRC" }, name);
  }
});

test("a block of more than the file's window is read with a larger one; one that goes on for ever is refused", async () => {
  // Code lengths may go up and down as long as a writer likes: that makes a block as long as one wants.
  const bits = new BitWriter();
  bits.put(0x425a68, 24).put(0x39, 8).put(0x314159, 24).put(0x265359, 24).put(0, 24).put(0, 8); // CRC of no matter
  bits.put(0, 1).put(0, 24).put(0x8000, 16).put(0x8000, 16).put(2, 3).put(1, 15).put(0, 1).put(2, 5);
  for (const { wobbles, why } of [
    { wobbles: 3_000_000, why: "a bzip2 block fails its CRC" },
    { wobbles: 12_000_000, why: "a block takes more room than any can" },
  ]) {
    const block = new BitWriter(bits);
    for (let i = 0; i < wobbles; i += 4)
      block
        .put(0b1011_1011_1011_1011 & 0, 0)
        .put(0b10111011, 8)
        .put(0b10111011, 8);
    // Lengths 2 2 2 for the three symbols of each table, then: RUNA, end.
    block.put(0, 3).put(2, 5).put(0, 3).put(0b00, 2).put(0b10, 2).put(0, 24).put(0, 24);
    for (const [name, decoder] of decoders)
      await assert.rejects(decoded(block.bytes(), decoder), { code: "DAMAGED", why }, `${name}: ${wobbles}`);
  }
});

class BitWriter {
  #bytes: number[];
  #held: number;
  #have: number;
  constructor(from?: BitWriter) {
    this.#bytes = from ? [...from.#bytes] : [];
    this.#held = from ? from.#held : 0;
    this.#have = from ? from.#have : 0;
  }
  put(value: number, count: number): this {
    for (let i = count - 1; i >= 0; i--) {
      this.#held = (this.#held << 1) | ((value >>> i) & 1);
      if (++this.#have < 8) continue;
      this.#bytes.push(this.#held);
      this.#held = this.#have = 0;
    }
    return this;
  }
  bytes(): Uint8Array {
    return Uint8Array.from([...this.#bytes, this.#held << (8 - this.#have)]);
  }
}
