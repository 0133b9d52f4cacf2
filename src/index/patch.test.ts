import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { applyPatch, PatchError, parsePatch, patchRepodata } from "./patch.ts";
import { readRepodata } from "./repodata.ts";

type Fields = Record<string, unknown>;
const bytes = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
const text = (b: Uint8Array | undefined) => (b === undefined ? undefined : Buffer.from(b).toString());

function apply(records: Record<string, string>, patch: Fields) {
  const warnings: string[] = [];
  const warn = (fileName: string, why: string) => warnings.push(`${fileName}: ${why}`);
  const found = new Map(Object.entries(records).map(([fileName, record]) => [fileName, bytes(record)]));
  const patched = applyPatch(parsePatch(bytes(patch), warn), (fileName) => found.get(fileName), warn);
  const changed = Object.fromEntries([...patched.changed].map(([fileName, record]) => [fileName, text(record)]));
  return { changed, removed: [...patched.removed], runExports: patched.runExports, warnings };
}

test("only the fields that a patch names change; the others keep bytes and order, and new ones go where keys have them", () => {
  const record = '{ "build":"0", "depends": [ "\\u0061" ], "n":12345678901234567890, "version":"1" }';
  const { changed } = apply(
    { "a-1-0.conda": record },
    {
      "packages.conda": { "a-1-0.conda": { depends: ["b", "c"], license: "MIT", new: null } },
    },
  );
  assert.deepEqual(changed, {
    "a-1-0.conda": '{"build":"0","depends":["b","c"],"license":"MIT","n":12345678901234567890,"version":"1"}',
  });
  const unordered = apply({ "a-1-0.conda": '{"b":1,"a":2}' }, { "packages.conda": { "a-1-0.conda": { aa: 3 } } });
  assert.equal(unordered.changed["a-1-0.conda"], '{"b":1,"a":2,"aa":3}');
});

test("null deletes, objects are merged, all else replaces", () => {
  const { changed } = apply(
    { "a-1-0.conda": '{"features":"x","more":{"a":1,"b":{"c":1}},"purls":["x"]}' },
    { "packages.conda": { "a-1-0.conda": { features: null, more: { a: null, b: { d: 2 } }, purls: [] } } },
  );
  assert.equal(changed["a-1-0.conda"], '{"more":{"b":{"c":1,"d":2}},"purls":[]}');
});

test("what changes nothing leaves the record alone", () => {
  const { changed, warnings } = apply(
    { "a-1-0.conda": '{ "license": "MIT" }' },
    { "packages.conda": { "a-1-0.conda": { license: "MIT", features: null }, "b-1-0.conda": { license: "x" } } },
  );
  assert.deepEqual([changed, warnings], [{}, []]);
});

test("a patch of a .tar.bz2 holds for its .conda twin, where one of the .conda itself wins", () => {
  const { changed } = apply(
    { "a-1-0.tar.bz2": "{}", "a-1-0.conda": "{}", "b-1-0.conda": "{}" },
    {
      packages: { "a-1-0.tar.bz2": { license: "A", x: 1 }, "b-1-0.tar.bz2": { license: "B" } },
      "packages.conda": { "a-1-0.conda": { license: "C" }, "a-1-0.tar.bz2": { license: "no" } },
    },
  );
  assert.deepEqual(changed, {
    "a-1-0.tar.bz2": '{"license":"A","x":1}',
    "a-1-0.conda": '{"license":"C","x":1}',
    "b-1-0.conda": '{"license":"B"}',
  });
});

test("a revoked file says so and can't be installed; one removed goes with its twin; a .conda goes alone", () => {
  const { changed, removed } = apply(
    {
      "a-1-0.tar.bz2": '{"depends":["x"]}',
      "a-1-0.conda": "{}",
      "b-1-0.conda": '{"depends":["package_has_been_revoked"]}',
      "c-1-0.tar.bz2": "{}",
      "c-1-0.conda": "{}",
      "d-1-0.tar.bz2": "{}",
      "d-1-0.conda": "{}",
    },
    {
      packages: { "c-1-0.tar.bz2": { license: "x" } },
      revoke: ["a-1-0.tar.bz2", "b-1-0.conda", "a-1-0.tar.bz2", "none-1-0.conda"],
      remove: ["c-1-0.tar.bz2", "d-1-0.conda", "none-1-0.conda"],
    },
  );
  assert.deepEqual(changed, {
    "a-1-0.tar.bz2": '{"depends":["x","package_has_been_revoked"],"revoked":true}',
    "a-1-0.conda": '{"depends":["package_has_been_revoked"],"revoked":true}',
    "b-1-0.conda": '{"depends":["package_has_been_revoked"],"revoked":true}',
  });
  assert.deepEqual(removed, ["c-1-0.tar.bz2", "c-1-0.conda", "d-1-0.conda"]);
});

test("identity, hashes, size and what an indexer vouches for are never changed, whatever a patch says", () => {
  const record = {
    name: "a",
    version: "1",
    build: "0",
    build_number: 0,
    subdir: "noarch",
    md5: "m",
    sha256: "s",
    size: 1,
  };
  const vouched = { ...record, indexed_timestamp: 1, attestations_sha256: "x" };
  for (const field of Object.keys(vouched)) {
    for (const value of ["evil", null, 7]) {
      const { changed, warnings } = apply(
        { "a-1-0.conda": JSON.stringify(vouched) },
        { "packages.conda": { "a-1-0.conda": { [field]: value } } },
      );
      assert.deepEqual(changed, {});
      assert.deepEqual(warnings, [`a-1-0.conda: a patch may not change its ${field}`]);
    }
  }
});

test("values over which clients would drop the record are ignored with a warning", () => {
  for (const fields of [
    { depends: "x" },
    { depends: [1] },
    { constrains: {} },
    { license: ["x"] },
    { timestamp: 1.5 },
    { features: 1 },
  ]) {
    const { changed, warnings } = apply({ "a-1-0.conda": "{}" }, { "packages.conda": { "a-1-0.conda": fields } });
    assert.deepEqual(changed, {});
    assert.match(warnings.join(), /that clients can't read/);
  }
});

test("version 2 may change run exports, which stay out of the record; version 1 may not", () => {
  const patch = (version: number) => ({
    patch_instructions_version: version,
    packages: { "a-1-0.tar.bz2": { run_exports: { weak: ["x"] } }, "b-1-0.tar.bz2": { run_exports: ["y"] } },
    "packages.conda": {
      "c-1-0.conda": { run_exports: null },
      "d-1-0.conda": { run_exports: 3 },
      "no-1-0.conda": { run_exports: {} },
    },
  });
  const records = {
    "a-1-0.tar.bz2": "{}",
    "a-1-0.conda": "{}",
    "b-1-0.conda": "{}",
    "c-1-0.conda": "{}",
    "d-1-0.conda": "{}",
  };
  const two = apply(records, patch(2));
  assert.deepEqual(two.changed, {});
  assert.deepEqual(Object.fromEntries([...two.runExports].map(([k, v]) => [k, text(v)])), {
    "a-1-0.tar.bz2": '{"weak":["x"]}',
    "a-1-0.conda": '{"weak":["x"]}',
    "b-1-0.conda": '{"weak":["y"]}',
    "c-1-0.conda": "{}",
  });
  assert.equal(two.warnings.length, 1);
  const one = apply(records, patch(1));
  assert.equal(one.runExports.size, 0);
  assert.equal(one.warnings.length, 5);
});

test("records that can't be read are left as they are with a warning", () => {
  for (const record of ['{"a":1,"a":2}', '{"depends":', "[]", "null"]) {
    const { changed, warnings } = apply(
      { "a-1-0.conda": record },
      { "packages.conda": { "a-1-0.conda": { license: "x" } } },
    );
    assert.deepEqual(changed, {}, record);
    assert.match(warnings.join(), /a-1-0\.conda: it can't be patched/, record);
  }
  assert.equal(apply({ "a-1-0.conda": "{}" }, { "packages.conda": { "a-1-0.conda": 3 } }).warnings.length, 1);
});

test("instructions that can't be used are refused with our error; a part for repodata v3 is told of", () => {
  for (const bad of [
    "",
    "[]",
    "{} {}",
    '{"packages":[]}',
    '{"packages":{},"packages":{}}',
    '{"packages":{"a":{},"a":{}}}',
    '{"revoke":{}}',
    '{"remove":[1]}',
    '{"remove":["\\x"]}',
    '{"patch_instructions_version":3}',
    '{"patch_instructions_version":"1"}',
    '{"patch_instructions_version":null}',
  ])
    assert.throws(() => parsePatch(bytes(bad)), PatchError, bad);
  const warnings: string[] = [];
  parsePatch(bytes({ v3: {} }), (_, why) => warnings.push(why));
  assert.match(warnings.join(), /v3/);
});

test("a patched index lists what was removed and what was before, once each", () => {
  const index = readRepodata(
    bytes(
      '{"info":{"subdir":"noarch"},"packages.conda":{"a-1-0.conda":{},"b-1-0.conda":{}},"removed":["z-1-0.conda"]}',
    ),
  );
  const patch = parsePatch(bytes({ remove: ["b-1-0.conda", "b-1-0.conda"] }));
  assert.equal(
    text(patchRepodata(index, patch).bytes),
    '{"info":{"subdir":"noarch"},"packages":{},"packages.conda":{"a-1-0.conda":{}},"removed":["b-1-0.conda","z-1-0.conda"],"repodata_version":1}',
  );
});

test("property: a patch gives what the same change on parsed objects gives, and twice is once", () => {
  const key = fc.constantFrom("license", "x", "y", "é", "more");
  const value = fc.oneof(fc.string(), fc.constant(null), fc.nat(), fc.array(fc.string(), { maxLength: 2 }));
  const record = fc.dictionary(key, value, { noNullPrototype: true });
  const fields = fc.dictionary(key, fc.oneof(value, fc.dictionary(key, value, { noNullPrototype: true })), {
    noNullPrototype: true,
  });
  const isObject = (o: unknown) => typeof o === "object" && o !== null && !Array.isArray(o);
  const mergeInto = (base: Fields, change: Fields, top: boolean): Fields => {
    const out = { ...base };
    for (const [k, v] of Object.entries(change)) {
      if (v === null) delete out[k];
      else if (top && k === "license" && typeof v !== "string") continue;
      else out[k] = isObject(v) ? mergeInto(isObject(out[k]) ? (out[k] as Fields) : {}, v as Fields, false) : v;
    }
    return out;
  };
  fc.assert(
    fc.property(record, fields, fc.constantFrom(undefined, 2), (base, change, space) => {
      const raw = JSON.stringify(base, null, space);
      const patch = { "packages.conda": { "a-1-0.conda": change } };
      const once = apply({ "a-1-0.conda": raw }, patch).changed["a-1-0.conda"] ?? raw;
      const twice = apply({ "a-1-0.conda": once }, patch).changed["a-1-0.conda"] ?? once;
      assert.deepEqual(JSON.parse(once), mergeInto(base, change, true));
      assert.equal(twice, once);
    }),
  );
});

test("property: no patch and no record throw anything but our error", () => {
  const fileName = fc.constantFrom("a-1-0.conda", "a-1-0.tar.bz2", "");
  const map = fc.dictionary(
    fileName,
    fc.oneof(fc.dictionary(fc.constantFrom("depends", "x", "run_exports"), fc.jsonValue()), fc.jsonValue()),
  );
  const patch = fc.record(
    {
      packages: fc.oneof(map, fc.jsonValue()),
      "packages.conda": map,
      revoke: fc.oneof(fc.array(fileName), fc.jsonValue()),
      remove: fc.array(fileName),
      patch_instructions_version: fc.constantFrom(1, 2),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(patch, fc.json(), fc.json(), (instructions, conda, bz2) => {
      try {
        apply({ "a-1-0.conda": conda, "a-1-0.tar.bz2": bz2 }, instructions);
      } catch (e) {
        assert.ok(e instanceof PatchError, String(e));
      }
    }),
    { numRuns: 500 },
  );
});
