import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { bzip2 } from "../../test/packages/builder.ts";
import { compressedBz2 } from "../codec/bzip2-encode.ts";
import { compressedPieces, decompressBz2, decompressIndex } from "./compress.ts";

const index = Buffer.from(`{"packages":{${"x".repeat(5_000_000)}}}`);

test("a .bz2 index is decoded from all its streams, and others get their turn meanwhile", async () => {
  const parts: Uint8Array[] = [];
  for await (const part of compressedBz2([index.subarray(3_000_000)])) parts.push(part);
  const two = Buffer.concat([bzip2(index.subarray(0, 3_000_000)), ...parts]);
  let turns = 0;
  let ended = false;
  const others = (async () => {
    for (; !ended; turns++) await setImmediate();
  })();
  assert.ok(index.equals(await decompressBz2(two)));
  ended = true;
  await others;
  assert.ok(turns >= 4, `${turns} turns`);
  assert.equal((await decompressBz2(bzip2(Buffer.alloc(0)))).length, 0);
});

test("a .bz2 index that is damaged, cut, or larger than any is refused in plain words", async () => {
  const bytes = bzip2(index);
  assert.equal((await decompressBz2(bytes, index.length)).length, index.length);
  await assert.rejects(decompressBz2(bytes, index.length - 1), { message: /^it holds more than \d+ bytes$/ });
  await assert.rejects(decompressBz2(bytes.subarray(0, 40)), { message: /it was cut/ });
  await assert.rejects(decompressBz2(new Uint8Array()), { message: /it was cut/ });
  await assert.rejects(decompressBz2(Buffer.from("<html>Not found</html>")), { message: "it is no bzip2 file" });
  bytes[bytes.length - 3] = (bytes[bytes.length - 3] as number) ^ 1;
  await assert.rejects(decompressBz2(bytes), { message: "a bzip2 stream fails its CRC" });
});

const MiB = 1024 * 1024;

/** Text that compresses somewhat, the same each time. */
function content(size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  let seed = 5;
  for (let i = 0; i < size; i++) {
    if (i % 16 === 0) seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    bytes[i] = 97 + ((seed >>> (i % 16)) & 7);
  }
  return bytes;
}

function* cut(bytes: Buffer, sizes: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const n = sizes[i % sizes.length] as number;
    // The memory of one piece is used again for the next, as the merge does.
    yield bytes.subarray(at, at + n);
    at += n;
  }
}

async function compressed(bytes: Buffer, sizes: readonly number[], level: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of compressedPieces(cut(bytes, sizes), bytes.length, level)) parts.push(Uint8Array.from(part));
  return Buffer.concat(parts);
}

test("a .zst index is one frame that states its size, the same bytes however it came in, around every size where the way changes", async () => {
  for (const size of [
    0,
    1,
    100_000,
    8 * MiB - 1,
    8 * MiB,
    8 * MiB + 1,
    32 * MiB - 1,
    32 * MiB,
    32 * MiB + 1,
    65 * MiB,
  ]) {
    const bytes = content(size);
    const whole = await compressed(bytes, [size + 1], 1);
    for (const sizes of size <= 100_000 ? [[1], [7, 0, 90_000]] : [[256 * 1024, 17, 0, 3 * MiB], [33 * MiB]])
      assert.ok((await compressed(bytes, sizes, 1)).equals(whole), `${size} bytes in ${sizes}`);
    const one = zstdDecompressSync(whole, { info: true } as object) as unknown as {
      buffer: Buffer;
      engine: { bytesWritten: number };
    };
    assert.ok(one.buffer.equals(bytes), `${size}`);
    assert.equal(one.engine.bytesWritten, whole.length, "nothing follows the first frame");
    assert.ok((await decompressIndex(whole)).length === size);
    // RFC 8878 §3.1.1.1: a descriptor that says the size is there, or that the frame is a single segment.
    assert.ok(((whole[4] as number) & 0xe0) !== 0, `${size}: the size is stated`);
  }
});

test("pieces that fail end the compression with their error", async () => {
  function* failing(): Generator<Uint8Array> {
    yield content(40 * MiB);
    throw new Error("the disk is gone");
  }
  await assert.rejects(async () => {
    for await (const _ of compressedPieces(failing(), 80 * MiB, 1));
  }, /the disk is gone/);
});

test("a large .zst index is decoded into one buffer: of one frame or several, whether or not they state their size, and never beyond the limit", async () => {
  const noise = randomBytes(5 * MiB);
  const frame = (bytes: Uint8Array, stated: boolean) =>
    zstdCompressSync(bytes, { params: { [constants.ZSTD_c_contentSizeFlag]: stated ? 1 : 0 } });
  for (const stated of [true, false]) {
    const [one, two] = [frame(noise, stated), frame(noise.subarray(7), stated)];
    assert.ok(noise.equals(await decompressIndex(one)));
    assert.ok(Buffer.concat([noise, noise.subarray(7)]).equals(await decompressIndex(Buffer.concat([one, two]))));
    assert.equal((await decompressIndex(one, noise.length)).length, noise.length);
    await assert.rejects(decompressIndex(one, noise.length - 1), /it holds more than/);
    await assert.rejects(decompressIndex(Buffer.concat([one, two]), noise.length + 1), /it holds more than/);
    await assert.rejects(decompressIndex(one.subarray(0, 4 * MiB)));
  }
});
