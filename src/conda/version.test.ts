import assert from "node:assert/strict";
import { test } from "node:test";
import { Version } from "@conda-org/rattler";
import fc from "fast-check";
import { comparePlain, loadVersions, plainRelease } from "./version.ts";
import { startsCompatibly, startsWith, versionParts } from "./version-prefix.ts";
import { versionSpec } from "./version-spec.ts";

const versions = await loadVersions();

test("versions stand in the order of conda's documentation (CEP 33)", () => {
  const order = [
    ["0.4", "0.4.0"],
    ["0.4.1.rc", "0.4.1.RC"],
    ["0.4.1"],
    ["0.5a1"],
    ["0.5b3"],
    ["0.5C1"],
    ["0.5"],
    ["0.9.6"],
    ["0.960923"],
    ["1.0"],
    ["1.1dev1"],
    ["1.1_"],
    ["1.1a1"],
    ["1.1.0dev1", "1.1.dev1"],
    ["1.1.a1"],
    ["1.1.0rc1"],
    ["1.1.0", "1.1"],
    ["1.1.0post1", "1.1.post1"],
    ["1996.07.12"],
    ["1!0.4.1"],
    ["2!0.4.1+1"],
  ];
  order.forEach((alike, i) => {
    for (const a of alike) {
      for (const b of alike) assert.equal(versions.compare(a, b), 0, `${a} is ${b}`);
      for (const above of order[i + 1] ?? []) {
        assert.equal(versions.compare(a, above), -1, `${a} < ${above}`);
        assert.equal(versions.compare(above, a), 1, `${above} > ${a}`);
      }
    }
  });
});

test("what is no version is below every version, and has one order itself", () => {
  const bad = ["", "1..2", "1!", "é", "1.0 ", "1_2-3", `1${"0".repeat(300)}`, "1.*"];
  for (const text of bad) {
    assert.equal(versions.isVersion(text), false, text);
    assert.equal(versions.compare(text, "0.dev0"), -1, text);
    assert.equal(versions.compare("0.dev0", text), 1, text);
  }
  const sorted = bad.toSorted((a, b) => versions.compare(a, b));
  assert.deepEqual(sorted, [...bad].sort());
});

test("more versions than the cache holds can be compared", () => {
  for (let i = 0; i < 140_000; i++) assert.equal(versions.compare(`1.${i}a`, `1.${i + 1}a`), -1);
  assert.equal(versions.compare("1.0", "1.0.0"), 0);
});

test("a version begins with another by segments, and its last segment may go on, as openssl's do", () => {
  const begins = (version: string, prefix: string) => startsWith(versionParts(version), versionParts(prefix));
  for (const [version, prefix] of [
    ["1.1.1w", "1.1.1"],
    ["1.1", "1.1.0"],
    ["1.2.7", "1.2"],
    ["01.2", "1.2"],
    ["1.0.1_", "1.0.1"],
    ["1!2.3", "1!2"],
    ["1.2+l.3", "1.2"],
    ["2.0a1", "2.0"],
    ["A.1", "a"],
  ] as const)
    assert.ok(begins(version, prefix), `${version} begins with ${prefix}`);
  for (const [version, prefix] of [
    ["1.20", "1.2"],
    ["1.1c.1", "1.1.1"],
    ["2.3", "1!2"],
    ["1.0alpha", "1.0a"],
    ["1.2", "1.2+l"],
    ["1.1", "1.1.1"],
  ] as const)
    assert.ok(!begins(version, prefix), `${version} does not begin with ${prefix}`);
  assert.ok(startsCompatibly(versionParts("1.4.9"), versionParts("1.4.2")));
  assert.ok(!startsCompatibly(versionParts("1.5"), versionParts("1.4.2")));
});

test("property: taking a version apart throws for no text, and every version begins with itself", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.stringMatching(/^[0-9a-z._!+-]{1,20}$/), (any, text) => {
      versionParts(any);
      if (versions.isVersion(text)) assert.ok(startsWith(versionParts(text), versionParts(text)), text);
      assert.equal(versions.compare(text, text), 0);
    }),
  );
});

test("property: versions of numbers alone have rattler's order and beginnings", () => {
  const numbers = fc
    .array(fc.oneof(fc.constantFrom("0", "00", "1", "01", "2", "10", "999999999999999"), fc.nat(2030).map(String)), {
      minLength: 1,
      maxLength: 6,
    })
    .map((all) => all.join("."))
    // Longer ones are left to rattler.
    .filter((text) => text.length <= 64);
  fc.assert(
    fc.property(numbers, numbers, (a, b) => {
      const [left, right] = [plainRelease(a), plainRelease(b)];
      assert.ok(left && right);
      const [theirs, other] = [new Version(a), new Version(b)];
      assert.equal(Math.sign(comparePlain(left, right)), theirs.compare(other), `${a} and ${b}`);
      assert.equal(versions.compare(a, b) === 0, theirs.equals(other));
      theirs.free();
      other.free();
      const begins = versionSpec(`${b}.*`, versions)(a);
      assert.equal(begins, startsWith(versionParts(a), versionParts(b)), `${a} begins with ${b}`);
    }),
    { numRuns: 2000 },
  );
  for (const text of ["", ".", "1.", ".1", "1..2", "1a", "1!2", "1_2", "1-2", "1+2", " 1", "1 ", "١", "1".repeat(16)])
    assert.equal(plainRelease(text), undefined, text);
});
