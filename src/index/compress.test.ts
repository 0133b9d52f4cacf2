import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { bzip2 } from "../../test/packages/builder.ts";
import { compressedBz2 } from "../codec/bzip2-encode.ts";
import { decompressBz2 } from "./compress.ts";

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
