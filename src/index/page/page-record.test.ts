import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { pageRecord } from "./page-record.ts";

const read = (fileName: string, value: unknown) =>
  pageRecord({ fileName, record: Buffer.from(typeof value === "string" ? value : JSON.stringify(value)) });

test("a record is read as far as a page needs it", () => {
  const sha256 = "AB".repeat(32);
  const record = {
    ...{ name: "a", version: "1.0", build: "h_0", build_number: 3, depends: ["b >=1"], license: "MIT", size: 12 },
    ...{ timestamp: 1_700_000_000_000, sha256, noarch: "python", run_exports: { weak: ["a"] } },
  };
  assert.deepEqual(read("a-1.0-h_0.conda", record), {
    ...{ fileName: "a-1.0-h_0.conda", name: "a", version: "1.0", build: "h_0", buildNumber: 3, depends: ["b >=1"] },
    ...{ license: "MIT", size: 12, timestamp: 1_700_000_000_000, sha256: sha256.toLowerCase(), noarch: "python" },
  });
});

test("fields of a wrong form count as absent, and the file's name stands in for name, version and build", () => {
  const broken = {
    ...{ name: null, version: [], build: {}, build_number: "3", depends: [1, "b", null], license: ["MIT", 1, "BSD"] },
    ...{ size: -1, timestamp: "yesterday", sha256: "", noarch: false },
  };
  assert.deepEqual(read("a-1.0-h_0.conda", broken), {
    ...{ fileName: "a-1.0-h_0.conda", name: "a", version: "1.0", build: "h_0", buildNumber: 0, depends: ["b"] },
    license: "MIT, BSD",
  });
  assert.equal(read("a-1.0-h_0.conda", { version: 2.5, noarch: true })?.version, "2.5");
  assert.equal(read("odd.conda", { name: "a" }), undefined);
  for (const nothing of ["", "null", "[]", "3", '"x"', "{", "\xff"])
    assert.equal(read("a-1-0.conda", nothing), undefined);
});

test("property: no record throws", () => {
  const keys = "name version build build_number depends license size timestamp sha256 noarch __proto__".split(" ");
  fc.assert(
    fc.property(fc.string(), fc.dictionary(fc.constantFrom(...keys), fc.jsonValue()), (fileName, value) => {
      const seen = read(fileName, JSON.stringify(value));
      if (seen) assert.ok(typeof seen.name === "string" && typeof seen.version === "string");
    }),
  );
  fc.assert(fc.property(fc.uint8Array(), (record) => void pageRecord({ fileName: "a-1-0.conda", record })));
});
