import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { JsonOut } from "./json-out.ts";
import { MsgpackReader } from "./msgpack-reader.ts";
import { countRecords, eachRecord, findRecord, readRepodata } from "./repodata.ts";
import { ShardJoiner } from "./shard-joiner.ts";
import { fileNameIn, readShardJson, recordIn } from "./shard-json.ts";

/** A shard as another's writer makes it, cut into frames where asked. */
async function shard(content: unknown, out?: JsonOut, frames = 1) {
  const plain = encode(content, { useBigInt64: true });
  const size = Math.ceil(plain.length / frames);
  const parts = Array.from({ length: frames }, (_, i) => zstdCompressSync(plain.subarray(i * size, (i + 1) * size)));
  const bytes = Buffer.concat(parts);
  return readShardJson(bytes, hash("sha256", bytes, "hex"), out);
}

test("property: what another's writer made comes out as the JSON that it stands for, in room that is used again", () => {
  const out = new JsonOut(1);
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5, noNullPrototype: true, stringUnit: "binary" } as object), (value) => {
      out.at = 0;
      const reader = new MsgpackReader(encode(value));
      reader.jsonInto(out);
      assert.ok(reader.done);
      assert.deepEqual(JSON.parse(out.written().toString("utf8")), JSON.parse(JSON.stringify(value)));
    }),
  );
});

test("whole numbers of 64 bits come out to the last digit, raw bytes as hex, and text that is no UTF-8 as text that is", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), (n) => {
      assert.equal(new MsgpackReader(encode(n, { useBigInt64: true })).json(), String(n));
    }),
  );
  assert.equal(new MsgpackReader(encode(Buffer.from("00ff10", "hex"))).json(), '"00ff10"');
  assert.equal(new MsgpackReader(Buffer.from("a3ff61fe", "hex")).json(), '"\ufffda\ufffd"');
  assert.equal(
    new MsgpackReader(encode('quote " back \\ line \n é \u2028 🐍 \x7f')).json(),
    '"quote \\" back \\\\ line \\n é \u2028 🐍 \x7f"',
  );
});

test("records of a shard keep their members' order, know their name, and have run exports beside them", async () => {
  const md5 = Buffer.alloc(16, 7);
  const content = await shard({
    packages: {
      "a-1-0.tar.bz2": { version: "1", name: "a", md5, run_exports: { weak: ["a >=1"] }, timestamp: 2 ** 40 },
    },
    "packages.conda": { "a-1-0.conda": { run_exports: {}, name: "A" } },
    v3: { conda: { "a-2-0": { name: "a" } }, whl: { x: { name: "x" } } },
    removed: ["a-0-0.conda"],
    later: [1],
  });
  const told = content.records.map((r) => [fileNameIn(content, r), String(recordIn(content, r)), r.name, r.runExports]);
  const hex = md5.toString("hex");
  assert.deepEqual(told, [
    ["a-1-0.tar.bz2", `{"version":"1","name":"a","md5":"${hex}","timestamp":1099511627776}`, "a", '{"weak":["a >=1"]}'],
    ["a-1-0.conda", '{"name":"A"}', "A", "{}"],
    ["a-2-0.conda", '{"name":"a"}', "a", undefined],
  ]);
  assert.deepEqual(content.removed, ["a-0-0.conda"]);
});

test("a shard of several frames, or one that is large, is read whole", async () => {
  const records = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`a-${i}-0.conda`, { name: "a", i }]));
  const noise = Array.from({ length: 6000 }, (_, i) => hash("sha256", String(i)));
  for (const [extra, frames] of [
    [[], 3],
    [noise, 1],
    [noise, 2],
  ] as const) {
    const { records: found } = await shard({ packages: {}, "packages.conda": records, extra }, undefined, frames);
    assert.equal(found.length, 5000);
  }
});

test("shards are joined to one index in the order of file names, whatever order their writer had, over any size", async () => {
  const joiner = new ShardJoiner();
  const room = new JsonOut();
  const text = "x".repeat(40_000);
  const expected: string[] = [];
  for (let n = 100; n < 160; n++) {
    const names = Array.from({ length: 17 }, (_, i) => `p${n}-${(i * 7) % 17}-0`);
    const of = (extension: string) => Object.fromEntries(names.map((f) => [f + extension, { name: `p${n}`, text, f }]));
    joiner.add(
      await shard(
        { packages: {}, "packages.conda": of(".conda"), v3: { "tar.bz2": of("") }, removed: [`p${n}-x-0.conda`] },
        room,
      ),
    );
    expected.push(...names);
  }
  const index = readRepodata(joiner.finish("linux-64"));
  assert.equal(countRecords(index), 2 * expected.length);
  for (const map of ["packages.conda", "v3.tar.bz2"] as const) {
    const found = [...eachRecord(index, [map])].map((r) => r.fileName.replace(/\.(conda|tar\.bz2)$/, ""));
    assert.deepEqual(found, [...expected].sort());
    assert.equal(index.maps[map].order, undefined, "the scan found them in order");
  }
  for (const f of expected) {
    const record = JSON.parse(String(findRecord(index, `${f}.conda`))) as { f: string; text: string };
    assert.equal(record.f, f);
    assert.equal(record.text, text);
  }
  assert.equal(index.removed.length, 60);
});

test("a shard whose bytes are not those of its name, or that is cut, is refused", async () => {
  const bytes = zstdCompressSync(encode({ packages: { "a-1-0.tar.bz2": { name: "a" } } }));
  await assert.rejects(readShardJson(bytes, "0".repeat(64)), /differ from its name/);
  const cut = zstdCompressSync(encode({ packages: { "a-1-0.tar.bz2": { name: "a" } } }).subarray(0, -1));
  await assert.rejects(readShardJson(cut, hash("sha256", cut, "hex")), /ends early/);
  const none = zstdCompressSync(encode({ packages: [1] }));
  await assert.rejects(readShardJson(none, hash("sha256", none, "hex")), /a map was expected/);
});
