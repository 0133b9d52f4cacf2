import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { MsgpackWriter } from "./msgpack.ts";
import { MsgpackError, MsgpackReader } from "./msgpack-reader.ts";

const writer = new MsgpackWriter();

function written(json: string): Buffer {
  writer.value(Buffer.from(json), 0);
  return writer.take();
}

test("property: JSON as msgpack says the same, read by another's reader", () => {
  const json = fc.jsonValue({ maxDepth: 5, noNullPrototype: true } as Parameters<typeof fc.jsonValue>[0]);
  fc.assert(
    fc.property(json, fc.constantFrom(undefined, 2), (value, space) => {
      const text = JSON.stringify(value, null, space);
      fc.pre(!text.includes("__proto__")); // the other reader refuses it
      assert.deepEqual(decode(written(text)), JSON.parse(text));
    }),
  );
});

test("whole numbers stay whole, to the last digit, up to 64 bits", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), (n) => {
      const bytes = written(String(n));
      assert.notEqual(bytes[0], 0xcb, "no float");
      assert.equal(BigInt(decode(bytes, { useBigInt64: true }) as bigint), n);
    }),
  );
  // Above 2^32, where many writers choose a double: a timestamp.
  assert.deepEqual([...written("1700000000000")], [0xcf, 0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0]);
});

test("long maps, lists and texts have the heads they need", () => {
  for (const n of [15, 16, 65_535, 65_536]) {
    const list = JSON.stringify(Array.from({ length: n }, (_, i) => i % 7));
    assert.deepEqual(decode(written(list)), JSON.parse(list));
  }
  const map = JSON.stringify(Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`k${i}`, [i]])));
  assert.deepEqual(decode(written(map)), JSON.parse(map));
  for (const n of [31, 32, 255, 256, 65_535, 65_536])
    assert.equal(decode(written(`"${"x".repeat(n)}"`)), "x".repeat(n));
});

test("a record's hashes become bytes, what is no hex stays text, and run exports are added once", () => {
  const record = '{ "md5" : "00ff", "sha256": "", "legacy_bz2_md5": null, "name":"é\\u00e9", "size": 3 }';
  const extra = { key: "run_exports", json: Buffer.from('{"weak":["a"]}') };
  writer.record(Buffer.from(record), ["md5", "sha256", "legacy_bz2_md5"], extra);
  assert.deepEqual(decode(writer.take()), {
    md5: Buffer.from([0, 255]),
    sha256: "",
    legacy_bz2_md5: null,
    name: "éé",
    size: 3,
    run_exports: { weak: ["a"] },
  });
  writer.record(Buffer.from('{"run_exports":{"strong":["own"]}}'), [], extra);
  assert.deepEqual(decode(writer.take()), { run_exports: { strong: ["own"] } });
  writer.record(Buffer.from('{"m\\u00645":"00ff","run\\u005fexports":{}}'), ["md5"], extra);
  assert.deepEqual(decode(writer.take()), { md5: Buffer.from([0, 255]), run_exports: {} });
});

test("property: the reader passes over whatever another's writer made, and stops where bytes are missing", () => {
  const value = fc.anything({ withBigInt: false, withDate: true, withTypedArray: false, maxDepth: 4 }).filter((v) => {
    try {
      encode(v, { ignoreUndefined: true });
      return true;
    } catch {
      return false;
    }
  });
  fc.assert(
    fc.property(value, fc.nat(), (v, cut) => {
      const bytes = encode(v, { ignoreUndefined: true });
      const reader = new MsgpackReader(bytes);
      reader.skip();
      assert.ok(reader.done);
      const part = new MsgpackReader(bytes.subarray(0, cut % bytes.length));
      assert.throws(() => part.skip(), MsgpackError);
    }),
  );
});
