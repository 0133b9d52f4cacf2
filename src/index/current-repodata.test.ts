import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { loadVersions } from "../conda/version.ts";
import { currentRepodata, type RecordsByName, recordsByName } from "./current-repodata.ts";
import type { IndexRecord } from "./index-record.ts";
import { emptyRepodata } from "./repodata.ts";

const versions = await loadVersions();
type Fields = Record<string, unknown>;

function record(fileName: string, more: Fields = {}): IndexRecord {
  const [, name, version, build] = /^(.+)-([^-]+)-([^-]+)\.(?:conda|tar\.bz2)$/.exec(fileName) as string[];
  const fields = { build, build_number: 0, depends: [], name, subdir: "linux-64", version, ...more };
  return { fileName, record: Buffer.from(JSON.stringify(fields)) };
}

/** As where they are all new to a subdir. */
function grouped(records: readonly IndexRecord[]): RecordsByName {
  return recordsByName(emptyRepodata("linux-64"), {
    add: new Map(records.map(({ fileName, record }) => [fileName, { record }])),
  });
}

function current(records: readonly IndexRecord[] | RecordsByName, pins: Record<string, string[]> = {}) {
  const warnings: string[] = [];
  const warn = (fileName: string, why: string) => warnings.push(`${fileName}: ${why}`);
  const bytes = currentRepodata({
    records: "of" in records ? records : grouped(records),
    top: { others: [["info", Buffer.from('{"subdir":"linux-64"}')]], removed: ["old-1-0.conda"] },
    versions,
    pins: new Map(Object.entries(pins)),
    warn,
  });
  const text = Buffer.from(bytes).toString();
  const index = JSON.parse(text) as { packages: Record<string, Fields>; "packages.conda": Record<string, Fields> };
  const kept = [...Object.keys(index.packages), ...Object.keys(index["packages.conda"])].sort();
  return { text, index, kept, warnings };
}

test("of each name the newest version is kept with all its builds, and what begins as it does", () => {
  const { kept } = current([
    record("a-1.1-0.tar.bz2"),
    record("a-1.1-1.tar.bz2"),
    record("a-1.0-0.tar.bz2"),
    record("b-1!0.1-0.conda"),
    record("b-2.0-0.conda"),
    record("c-1.0.2u-0.conda"),
    record("c-1.0.2t-0.conda"),
  ]);
  assert.deepEqual(kept, ["a-1.1-0.tar.bz2", "a-1.1-1.tar.bz2", "b-1!0.1-0.conda", "c-1.0.2u-0.conda"]);
});

test("pins keep the best of each pinned version as well", () => {
  const records = ["3.8.1", "3.8.2", "3.9.0", "3.10.0"].map((v) => record(`python-${v}-0.conda`));
  assert.deepEqual(current(records, { python: ["3.8", "3.9", "2.7"], other: ["1"] }).kept, [
    "python-3.10.0-0.conda",
    "python-3.8.2-0.conda",
    "python-3.9.0-0.conda",
  ]);
});

test("an older version that something kept needs is kept too, but not what that needs: one pass, as with conda-index", () => {
  const { kept } = current([
    record("a-1-0.conda", { depends: ["b <2", "zlib"] }),
    record("b-2-0.conda"),
    record("b-1.5-0.conda", { depends: ["c <2"] }),
    record("b-1-0.conda"),
    record("c-2-0.conda"),
    record("c-1-0.conda"),
  ]);
  assert.deepEqual(kept, ["a-1-0.conda", "b-1.5-0.conda", "b-2-0.conda", "c-2-0.conda"]);
});

test("where the newest has features, the newest without them is kept beside it", () => {
  const { kept } = current([
    record("a-2-mkl.conda", { track_features: "mkl" }),
    record("a-1-1.conda", { track_features: "" }),
    record("a-1-0.conda"),
    record("b-1-0.conda", { features: ["x"] }),
  ]);
  assert.deepEqual(kept, ["a-1-1.conda", "a-2-mkl.conda", "b-1-0.conda"]);
});

test("a .tar.bz2 gives way to its .conda, which is told the twin's MD5, or null; a record that says so itself stays as it is", () => {
  const { index, text } = current([
    record("a-1-0.tar.bz2", { md5: "ab" }),
    record("a-1-0.conda"),
    record("b-1-0.conda"),
    record("c-1-0.conda", { legacy_bz2_md5: "own" }),
    { fileName: "d-1-0.conda", record: Buffer.from('{ "name": "d", "version": "1", "é": 12345678901234567890 }') },
  ]);
  assert.deepEqual(index.packages, {});
  const told = Object.values(index["packages.conda"]).map((r) => r["legacy_bz2_md5"]);
  assert.deepEqual(told, ["ab", null, "own", null]);
  assert.ok(text.includes('{ "name": "d", "version": "1", "é": 12345678901234567890 ,"legacy_bz2_md5":null}'));
});

test("the other members of the index stay as they are", () => {
  assert.match(current([]).text, /^\{"info":\{"subdir":"linux-64"\},"packages":\{\},.*"removed":\["old-1-0.conda"\]/);
});

test("hostile records are left out with a warning and the others are indexed", () => {
  const raw = (fileName: string, text: string): IndexRecord => ({ fileName, record: Buffer.from(text) });
  const records = [
    record("good-1-0.conda", { depends: ["a ===1", null, "good", "* >1"] }),
    raw("bad-1-0.conda", "null"),
    raw("bad-1-1.conda", "[]"),
    raw("bad-1-2.conda", "{"),
    raw("bad-1-3.conda", '{"name":null,"version":"1"}'),
    raw("bad-1-4.conda", '{"name":"bad","version":1}'),
    raw(
      "odd-1-0.conda",
      '{"name":"odd","version":"1..2","build":null,"depends":null,"timestamp":"x","build_number":"1"}',
    ),
    raw("twice-1-0.conda", '{"name":"twice","name":"twice","version":"1","legacy_bz2_md5":null}'),
  ];
  // An index has none that are no objects; a name's records are looked at all the same.
  const nameOf = ({ fileName }: IndexRecord) => fileName.split("-")[0] as string;
  const names = new Set(records.map(nameOf));
  const { kept, warnings } = current({
    names: () => names,
    of: (name) => records.filter((one) => nameOf(one) === name),
  });
  assert.deepEqual(kept, ["good-1-0.conda", "odd-1-0.conda", "twice-1-0.conda"]);
  assert.deepEqual(warnings.map((w) => w.split(":")[0]).sort(), [
    "bad-1-0.conda",
    "bad-1-1.conda",
    "bad-1-2.conda",
    "bad-1-3.conda",
    "bad-1-4.conda",
    "good-1-0.conda",
  ]);
});

test("an index that asks for the square of its size gets an answer all the same, and says what it lacks", () => {
  const records = Array.from({ length: 50 }, (_, i) => record(`a-2-${i}.conda`, { depends: [`a 1 ${i}`] }));
  records.push(record("a-1-49.conda"));
  const all = current(records);
  assert.ok(all.kept.includes("a-1-49.conda") && all.warnings.length === 0);
  const warnings: string[] = [];
  const top = { others: [], removed: [] };
  currentRepodata({
    records: grouped(records),
    top,
    versions,
    maxChecks: 100,
    warn: (_, why) => warnings.push(why),
  });
  assert.match(warnings.join(), /too many dependencies/);
});

test("however many dependencies ask for older versions of a name, its records are read a few times, and each older version is kept", () => {
  const records = Array.from({ length: 100 }, (_, i) => record(`a-${i}-0.conda`));
  records.push(record("b-1-0.conda", { depends: Array.from({ length: 60 }, (_, i) => `a ${i}`) }));
  let read = 0;
  const all = grouped(records);
  const { kept, warnings } = current({
    names: () => all.names(),
    of(name) {
      if (name === "a") read++;
      return all.of(name);
    },
  });
  assert.equal(kept.length, 60 + 1 + 1);
  assert.deepEqual(warnings, []);
  assert.ok(read <= 3, `${read} times`);
});

test("patterns and long builds count for as much as they cost", () => {
  const long = Array.from({ length: 10 }, (_, i) => record(`a-${i}-${"x".repeat(190)}.conda`));
  const needs = (depends: string[]) => [...long, record("b-1-0.conda", { depends })];
  const warned = (depends: string[]) => {
    const warnings: string[] = [];
    const top = { others: [], removed: [] };
    currentRepodata({
      records: grouped(needs(depends)),
      top,
      versions,
      maxChecks: 1000,
      warn: (_, why) => warnings.push(why),
    });
    return /too many dependencies/.test(warnings.join());
  };
  assert.equal(warned(["a 1", "a 2", "c"]), false);
  assert.equal(warned(["a * ^x(x|y)*z$", "c"]), true);
  assert.equal(warned(["c", `a[license="${"x".repeat(4000)}"]`, "d"]), false);
});

test("property: any order of the records gives the same bytes, and any JSON in them throws nothing", () => {
  const fields = fc.record(
    {
      name: fc.oneof({ weight: 9, arbitrary: fc.constantFrom("a", "b", "c") }, fc.jsonValue() as fc.Arbitrary<never>),
      version: fc.oneof(
        { weight: 9, arbitrary: fc.constantFrom("1", "1.0", "2", "1..") },
        fc.jsonValue() as fc.Arbitrary<never>,
      ),
      build_number: fc.oneof(fc.nat(2), fc.jsonValue()),
      timestamp: fc.oneof(fc.nat(), fc.jsonValue()),
      depends: fc.oneof(fc.array(fc.constantFrom("a <2", "b", "c 1", "b >1")), fc.jsonValue()),
      track_features: fc.oneof(fc.constant(""), fc.jsonValue()),
    },
    { requiredKeys: ["name", "version"], noNullPrototype: true },
  );
  const name = fc.tuple(fc.constantFrom("a", "b", "c"), fc.nat(9), fc.constantFrom("conda", "tar.bz2"));
  const records = fc.uniqueArray(
    fc.tuple(
      name.map(([n, i, f]) => `${n}-1-${i}.${f}`),
      fields,
    ),
    {
      selector: ([fileName]) => fileName,
      maxLength: 12,
    },
  );
  fc.assert(
    fc.property(records, (list) => {
      const all = list.map(([fileName, f]) => ({ fileName, record: Buffer.from(JSON.stringify(f)) }));
      assert.equal(current(all).text, current(all.toReversed()).text);
    }),
  );
});
