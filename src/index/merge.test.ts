import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  countMerged,
  type IndexChange,
  malformedKeys,
  malformedRemoved,
  mergedPieces,
  mergedSize,
  mergeRepodata,
  recordsAfter,
  removedAfter,
} from "./merge.ts";
import { placesByName, recordAt } from "./record-names.ts";
import { countRecords, eachRecord, findRecord, mapOf, RECORD_MAPS, type RecordMap, readRepodata } from "./repodata.ts";

/** File names, few enough to meet, some of them no package's and some beyond the first plane of Unicode. */
const fileName = fc.oneof(
  fc
    .tuple(
      fc.constantFrom("a", "b", "c-d", "E", "_x"),
      fc.constantFrom("1.0", "1!2", "10"),
      fc.constantFrom("0", "h_1"),
      fc.constantFrom("conda", "tar.bz2"),
    )
    .map(([name, version, build, ext]) => `${name}-${version}-${build}.${ext}`),
  fc.constantFrom("\u{1f600}-1-0.conda", "\ufffd-1-0.conda", "\ue000-1-0.tar.bz2", "é-1-0.conda", '"\\\n-1-0.conda'),
);
/** What other writers put into the old maps. */
const oddName = fc.oneof(fileName, fc.constantFrom("nonsense", "x-1-0.whl", "x-1-0.Conda", ".conda", ""));

const space = fc.constantFrom("", "", "", " ", "\n  ", "\t", " \r\n ");

/** A string as JSON, with escapes or without. */
const asText = (text: string) =>
  fc.constantFrom(
    JSON.stringify(text),
    `"${[...text].flatMap((c) => ([...c].length === 1 && c.length === 1 ? [`\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`] : [JSON.stringify(c).slice(1, -1)])).join("")}"`,
  );

/** A value as JSON text, with white space anywhere. */
const value = fc.oneof(
  fc.constantFrom("12345678901234567890123", "-0", "1e400", "null", "[ ]", "{ }", '"\\u00e9\\/"', '[1, {"name":"no"}]'),
  fc.json({ maxDepth: 2 }),
);
const record = fc
  .tuple(
    fc.option(fc.constantFrom("a", "A", "b", "Straße", "İ")),
    fc.dictionary(fc.constantFrom("x", "names", "é"), value),
    space,
  )
  .map(([name, more, s]) => {
    const members = Object.entries(more).map(([k, v]) => `${s}${JSON.stringify(k)}${s}:${s}${v}${s}`);
    if (name !== null) members.splice(members.length >> 1, 0, `${s}"name"${s}:${s}${JSON.stringify(name)}`);
    return `{${members.join(",")}${members.length === 0 ? s : ""}}`;
  });

type Records = Map<string, string>;
type Model = Record<RecordMap, Records>;

const mapOfRecords = (names: fc.Arbitrary<string>, fits: (name: string) => boolean) =>
  fc.array(fc.tuple(names.filter(fits), record), { maxLength: 8 }).map((all) => new Map(all));
const model = fc.record({
  packages: mapOfRecords(oddName, () => true),
  "packages.conda": mapOfRecords(oddName, () => true),
  "v3.tar.bz2": mapOfRecords(fileName, (f) => f.endsWith(".tar.bz2")),
  "v3.conda": mapOfRecords(fileName, (f) => f.endsWith(".conda")),
});

/** A JSON object out of members in any order, with white space anywhere. */
const objectText = (members: readonly (readonly [key: string, value: string])[]) =>
  fc
    .tuple(
      fc.shuffledSubarray([...members], { minLength: members.length }),
      fc.tuple(...members.map(([key]) => asText(key))),
      space,
    )
    .map(([shuffled, keys, s]) => {
      const texts = new Map(members.map(([key], i) => [key, keys[i] as string]));
      return `{${s}${shuffled.map(([key, v]) => `${texts.get(key)}${s}:${s}${v}`).join(`${s},${s}`)}${s}}`;
    });

const case_ = fc
  .record({
    model,
    removed: fc.array(fc.oneof(fileName, oddName), { maxLength: 4 }),
    others: fc.dictionary(fc.constantFrom("signatures", "a key", "\\", "repodata_version"), value),
    otherV3: fc.dictionary(fc.constantFrom("whl", "v"), value),
    info: fc.option(fc.constantFrom('{"subdir":"noarch"}', '{ "subdir" : "noarch", "base_url":"https://x/" }', "null")),
    add: fc.dictionary(fileName, fc.record({ record, v3: fc.boolean() }), { maxKeys: 4 }),
    remove: fc.array(oddName, { maxLength: 4 }),
    takenBack: fc.array(oddName, { maxLength: 4 }),
  })
  .chain((c) => {
    const bare = (map: RecordMap) => [...c.model[map]].map(([f, r]) => [f.slice(0, 2 - map.length), r] as const);
    return fc
      .tuple(
        objectText([...c.model.packages]),
        objectText([...c.model["packages.conda"]]),
        objectText(bare("v3.tar.bz2")),
        objectText(bare("v3.conda")),
      )
      .chain(([packages, conda, v3Bz2, v3Conda]) =>
        objectText([["tar.bz2", v3Bz2], ["conda", v3Conda], ...Object.entries(c.otherV3)]).chain((v3) =>
          objectText([
            ["packages", packages],
            ["packages.conda", conda],
            ["v3", v3],
            ["removed", JSON.stringify(c.removed)],
            ...Object.entries(c.others),
            ...(c.info === null ? [] : [["info", c.info] as const]),
          ]),
        ),
      )
      .map((text) => ({ ...c, text }));
  });

function byUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

test("an index merged with a change is what a model made of plain maps says, whatever the form of the index", () => {
  fc.assert(
    fc.property(case_, (c) => {
      const index = readRepodata(Buffer.from(c.text));
      // A file has one fate: what comes is not removed as well.
      const going = (names: readonly string[]) => new Set(names.filter((f) => !Object.hasOwn(c.add, f)));
      const change: IndexChange = {
        add: new Map(Object.entries(c.add).map(([f, a]) => [f, { record: Buffer.from(a.record), v3: a.v3 }])),
        remove: going(c.remove),
        takenBack: going(c.takenBack),
      };
      const after: Model = Object.fromEntries(RECORD_MAPS.map((m) => [m, new Map(c.model[m])])) as Model;
      for (const f of [...change.add.keys(), ...(change.remove ?? []), ...(change.takenBack ?? [])])
        for (const m of RECORD_MAPS) after[m].delete(f);
      for (const [f, a] of Object.entries(c.add)) after[mapOf(f, a.v3)].set(f, a.record);

      // What is there already.
      const text = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString();
      const flat = (m: Model) => RECORD_MAPS.flatMap((map) => [...m[map]].map(([f, r]) => `${map} ${f} ${r}`)).sort();
      const listed = (all: Iterable<{ map: RecordMap; fileName: string; record: Uint8Array }>) =>
        [...all].map((r) => `${r.map} ${r.fileName} ${text(r.record)}`).sort();
      assert.deepEqual(listed(eachRecord(index)), flat(c.model));
      assert.equal(countRecords(index), flat(c.model).length);

      // What comes of it.
      const bytes = mergeRepodata(index, change);
      assert.equal(mergedSize(index, change), bytes.length);
      const merged = readRepodata(bytes);
      assert.deepEqual(listed(eachRecord(merged)), flat(after));
      assert.deepEqual(listed(recordsAfter(index, change)), flat(after));
      for (const m of RECORD_MAPS) {
        assert.equal(countMerged(index, change, [m]), after[m].size, m);
        assert.equal(merged.maps[m].order, undefined, `${m} is in order`);
        const names = [...eachRecord(merged, [m])].map((r) => r.fileName);
        if (!m.startsWith("v3.")) assert.deepEqual(names, names.toSorted(byUtf8));
        for (const [f, r] of after[m]) {
          const v3 = after["v3.conda"].get(f) ?? after["v3.tar.bz2"].get(f);
          const own = v3 ?? after[mapOf(f)].get(f);
          assert.equal(text(findRecord(merged, f)), own ?? r, f);
        }
      }
      assert.equal(countMerged(index, change), flat(after).length);
      for (const f of [...(change.remove ?? []), ...(change.takenBack ?? [])])
        assert.equal(findRecord(merged, f), undefined);

      const value_ = JSON.parse(bytes.toString());
      const before = JSON.parse(c.text);
      for (const key of Object.keys(c.others)) {
        if (key !== "repodata_version") assert.deepEqual(value_[key], before[key], key);
      }
      for (const key of Object.keys(c.otherV3)) assert.deepEqual(value_.v3[key], before.v3[key], key);
      assert.deepEqual(value_.info, before.info ?? (c.info === null ? {} : null));
      assert.equal(value_.repodata_version, before.info?.base_url ? 2 : 1);
      const isName = (f: string) => /.-[^-]+-[^-]+\.(conda|tar\.bz2)$/s.test(f);
      const removed = new Set(c.removed.filter((f) => isName(f) && !change.add.has(f)));
      for (const f of change.takenBack ?? []) if (isName(f)) removed.add(f);
      assert.deepEqual(
        malformedRemoved(index),
        c.removed.filter((f) => !isName(f)),
      );
      const keys = [...eachRecord(index)].map((r) => r.fileName);
      assert.deepEqual(malformedKeys(index).sort(), keys.filter((f) => !isName(f)).sort());
      assert.deepEqual(value_.removed, [...removed].sort());
      assert.deepEqual(value_.removed, removedAfter(index, change));

      // Merged once more with nothing, not a byte changes.
      assert.ok(mergeRepodata(merged, { add: new Map() }).equals(bytes));

      // By name.
      const byName = new Map<string, string[]>();
      for (const m of RECORD_MAPS) {
        for (const [f, r] of after[m]) {
          const { name } = JSON.parse(r) as { name?: string };
          if (name !== undefined)
            byName.set(name.toLowerCase(), [...(byName.get(name.toLowerCase()) ?? []), `${m} ${f} ${r}`]);
        }
      }
      const found = (names?: ReadonlySet<string>) =>
        new Map(
          [...placesByName(merged, names)].map(([n, places]) => [n, listed(places.map((p) => recordAt(merged, p)))]),
        );
      for (const [, all] of byName) all.sort();
      assert.deepEqual(found(), byName);
      for (const wanted of [new Set(["a", "nobody"]), new Set(["straße", "i̇"]), new Set<string>()])
        assert.deepEqual(found(wanted), new Map([...byName].filter(([n]) => wanted.has(n))));
    }),
    { numRuns: 1500, seed: 7 },
  );
});

test("pieces are used up one by one: each is right while it is the last that was given", () => {
  const many = Object.fromEntries(
    Array.from({ length: 9000 }, (_, i) => [`p${i}-1-0.conda`, { name: `p${i}`, fill: "x".repeat(i % 300) }]),
  );
  const index = readRepodata(Buffer.from(JSON.stringify({ "packages.conda": many }, undefined, 1)));
  const change = {
    add: new Map(
      Array.from({ length: 500 }, (_, i) => [
        `p${i * 31}-1-0.conda`,
        { record: Buffer.from(`{"name":"n","big":"${"y".repeat(i === 7 ? 300_000 : i)}"}`) },
      ]),
    ),
  };
  const whole = mergeRepodata(index, change);
  let at = 0;
  for (const piece of mergedPieces(index, change)) {
    assert.ok(whole.subarray(at, at + piece.length).equals(piece));
    at += piece.length;
  }
  assert.equal(at, whole.length);
  assert.equal(Object.keys(JSON.parse(whole.toString())["packages.conda"]).length, 9000 + 500 - 291);
});
