import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JsonBytesError } from "../conda/json-bytes.ts";
import { mergeRepodata, type NewRecord } from "./merge.ts";
import { countRecords, eachRecord, emptyRepodata, findRecord, readRepodata } from "./repodata.ts";

const bytes = (text: string) => Buffer.from(text);
const nothing = { add: new Map<string, NewRecord>() };

const stem = fc.stringMatching(/^[a-z_][a-z0-9._-]{0,12}-[0-9][0-9a-z.!+]{0,6}-[a-z0-9_]{1,8}$/);
const json = fc.jsonValue({ maxDepth: 4, noNullPrototype: true } as Parameters<typeof fc.jsonValue>[0]);
const record = fc.dictionary(fc.string(), json, { maxKeys: 5, noNullPrototype: true });
const index = fc
  .record({
    info: fc.constant({ subdir: "noarch" }),
    packages: fc.dictionary(
      stem.map((s) => `${s}.tar.bz2`),
      record,
      { noNullPrototype: true },
    ),
    "packages.conda": fc.dictionary(
      stem.map((s) => `${s}.conda`),
      record,
      { noNullPrototype: true },
    ),
    removed: fc.uniqueArray(
      stem.map((s) => `${s}.conda`),
      { maxLength: 3 },
    ),
    "unknown é": json,
  })
  // What JSON can say: fast-check also makes -0.
  .map((value) => JSON.parse(JSON.stringify(value)) as typeof value);

test("property: any index through scan and merge parses to the same value, whatever its white space and order", () => {
  fc.assert(
    fc.property(index, fc.constantFrom(undefined, 1, "\t"), (value, space) => {
      const read = readRepodata(bytes(JSON.stringify(value, null, space)));
      const back = JSON.parse(Buffer.from(mergeRepodata(read, nothing)).toString()) as typeof value & {
        repodata_version?: number;
      };
      assert.equal(back.repodata_version, 1);
      delete back.repodata_version;
      assert.deepEqual(
        { ...back, removed: [...back.removed].sort() },
        { ...value, removed: [...value.removed].sort() },
      );
      for (const [fileName, r] of Object.entries({ ...value.packages, ...value["packages.conda"] })) {
        assert.deepEqual(JSON.parse(Buffer.from(findRecord(read, fileName) as Uint8Array).toString()), r);
      }
      const each = [...eachRecord(read)].map(({ fileName, record }) => [
        fileName,
        JSON.parse(Buffer.from(record).toString()),
      ]);
      assert.deepEqual(Object.fromEntries(each), { ...value.packages, ...value["packages.conda"] });
      assert.equal(
        countRecords(read),
        Object.keys(value.packages).length + Object.keys(value["packages.conda"]).length,
      );
    }),
  );
});

test("property: merging adds, replaces and removes exactly what was asked for, in order; twice gives the same bytes", () => {
  fc.assert(
    fc.property(index, index, (value, more) => {
      const add = new Map(
        Object.entries({ ...more.packages, ...more["packages.conda"] }).map(([k, v]) => [
          k,
          { record: bytes(JSON.stringify(v)) },
        ]),
      );
      const remove = new Set(Object.keys(value.packages).slice(0, 2));
      const out = mergeRepodata(readRepodata(bytes(JSON.stringify(value))), { add, remove });
      const back = JSON.parse(Buffer.from(out).toString()) as typeof value;
      for (const map of ["packages", "packages.conda"] as const) {
        const kept = Object.fromEntries(Object.entries(value[map]).filter(([k]) => !remove.has(k)));
        assert.deepEqual(back[map], { ...kept, ...more[map] });
        assert.deepEqual(Object.keys(back[map]), Object.keys(back[map]).sort());
      }
      assert.ok(back.removed.every((f) => !add.has(f)));
      assert.deepEqual(mergeRepodata(readRepodata(out), { add, remove: new Set() }), out);
    }),
  );
});

test("property: damage never hangs and throws nothing but our error", () => {
  fc.assert(
    fc.property(index, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.boolean(), (value, where, byte, cut) => {
      const text = bytes(JSON.stringify(value));
      const at = where % text.length;
      const damaged = Buffer.from(cut ? text.subarray(0, at) : text);
      if (!cut) damaged[at] = byte;
      try {
        mergeRepodata(readRepodata(damaged), nothing);
        assert.ok(!cut, "a cut index must not pass");
      } catch (e) {
        assert.ok(e instanceof JsonBytesError, String(e));
      }
    }),
  );
});

test("keys with escapes are found and ordered by what they mean", () => {
  const read = readRepodata(bytes('{"packages.conda":{"b-1-0.conda":{"n":1},"\\u0061-1-0.conda":{"n":2}}}'));
  assert.equal(Buffer.from(findRecord(read, "a-1-0.conda") as Uint8Array).toString(), '{"n":2}');
  assert.match(Buffer.from(mergeRepodata(read, nothing)).toString(), /"\\u0061-1-0.conda":\{"n":2\},"b-1-0.conda"/);
});

test("a file name or a section that stands twice, and nesting without end, are refused", () => {
  const deep = `{"packages":{"a-1-0.tar.bz2":{"d":${"[".repeat(200)}${"]".repeat(200)}}}}`;
  const twins = [
    '{"packages":{"a-1-0.tar.bz2":{},"a-1-0.tar.bz2":{}}}',
    '{"packages":{"b":{},"\\u0062":{}}}',
    '{"packages":{},"packages":{}}',
    deep,
  ];
  for (const text of [...twins, '{"packages":[]}', "[]", "", '{"removed":{}}', "{} {}"])
    assert.throws(() => readRepodata(bytes(text)), JsonBytesError, text);
});

test("the index of an empty subdir is what every client can read", () => {
  assert.equal(
    Buffer.from(mergeRepodata(emptyRepodata("noarch"), nothing)).toString(),
    '{"info":{"subdir":"noarch"},"packages":{},"packages.conda":{},"removed":[],"repodata_version":1}',
  );
});

test("it is noted of every record of a large index whether its name is that of the one before", () => {
  const name = (i: number) => (i % 5000 < 4999 ? "a" : "b");
  const records = Array.from({ length: 10_000 }, (_, i) => `"a-1-${10_000 + i}.conda":{"name":"${name(i)}"}`);
  const padding = " ".repeat(4_000_000);
  const { sameName } = readRepodata(bytes(`{"packages.conda":{${records.join(",")}}${padding}}`)).maps[
    "packages.conda"
  ];
  for (let i = 1; i < records.length; i++) assert.equal(sameName[i], Number(name(i) === name(i - 1)), `${i}`);
});
