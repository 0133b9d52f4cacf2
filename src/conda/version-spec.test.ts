import assert from "node:assert/strict";
import { test } from "node:test";
import { Version, VersionSpec } from "@conda-org/rattler";
import fc from "fast-check";
import { loadVersions } from "./version.ts";
import { MatchSpecError, versionSpec } from "./version-spec.ts";

const versions = await loadVersions();
const matches = (spec: string, version: string) => versionSpec(spec, versions)(version);

test("constraints mean what CEP 29 says", () => {
  const cases: [spec: string, yes: string[], no: string[]][] = [
    ["*", ["1", "not a version"], []],
    ["1.2", ["1.2", "1.2.0"], ["1.2.1"]],
    ["=1.2", ["1.2", "1.2.7", "1.2rc1"], ["1.20", "1.3"]],
    ["1.2*", ["1.2.7"], ["1.20"]],
    ["1.2.*", ["1.2.7"], ["1.20"]],
    ["!=1.2.*", ["1.3"], ["1.2.7"]],
    [">=1.2,<2|3.*", ["1.2", "1.9", "3.4"], ["2", "1.1", "4"]],
    ["(>=1,<2)|>3", ["1.5", "4"], ["2", "3"]],
    [">=1,(<2|>3)", ["1.5", "4"], ["2", "3", "0"]],
    ["~=1.2.3", ["1.2.3", "1.2.9"], ["1.3", "1.2.2"]],
    [">=1.2.*", ["1.2", "2"], ["1.1"]],
    [">1.2.*", ["1.2", "2"], ["1.1"]],
    ["2023.*.*", ["2023.4"], ["2024.1"]],
    [" >= 1.2 , < 2 ", ["1.5"], ["2"]],
  ];
  for (const [spec, yes, no] of cases) {
    for (const version of yes) assert.ok(matches(spec, version), `${spec} takes ${version}`);
    for (const version of no) assert.ok(!matches(spec, version), `${spec} leaves ${version}`);
  }
});

test("what VersionSpec throws on is read: regular expressions, globs inside, trailing underscores", () => {
  assert.ok(matches("^1\\.[23]$", "1.3") && !matches("^1\\.[23]$", "1.4"));
  assert.ok(matches("^(1|2),?$|3", "3"));
  assert.ok(matches("2.*.1", "2.7.1") && !matches("2.*.1", "2.7.2"));
  assert.ok(matches("!=2.*.1", "2.7.2"));
  assert.ok(matches(">=1.0_", "1.0") && !matches(">=1.0_", "1.0dev"));
  assert.ok(matches("==1.0.1_", "1.0.1_"));
});

test("what can't be read says so, with our error", () => {
  for (const spec of [
    "",
    " ",
    ">=",
    "1.2|",
    ",1",
    "<>1",
    "=>1",
    "===1",
    "1..2",
    "(1",
    "1)",
    "1 2",
    "!=*",
    "^1",
    "<1.*.2",
  ])
    assert.throws(() => versionSpec(spec, versions), MatchSpecError, JSON.stringify(spec));
  assert.throws(() => versionSpec(`${"(".repeat(5000)}1`, versions), MatchSpecError);
});

test("a version that can't be read is below every limit, and equal to none", () => {
  assert.ok(matches("<1", "1..2") && matches("!=1", "1..2") && !matches(">=0", "1..2") && !matches("=1", "1..2"));
  assert.ok(!matches("~=1.2", "1..2"));
});

const segment = fc.constantFrom("0", "1", "2", "10", "1a", "rc1", "dev", "post1", "01", "alpha");
const version = fc
  .tuple(fc.constantFrom("", "", "1!"), fc.array(segment, { minLength: 1, maxLength: 3 }), fc.constantFrom("", "+1"))
  .map(([epoch, parts, local]) => epoch + parts.join(".") + local);
const one = fc.tuple(fc.constantFrom("", "==", "!=", "<", "<=", ">", ">="), version).map((x) => x.join(""));
const spec = fc
  .array(one, { minLength: 1, maxLength: 4 })
  .chain((parts) =>
    fc
      .array(fc.constantFrom(",", "|"), { minLength: 3, maxLength: 3 })
      .map((joints) => parts.map((part, i) => (i === 0 ? part : joints[i - 1] + part)).join("")),
  );

test("property: constraints by order give rattler's VersionSpec's answers", () => {
  fc.assert(
    fc.property(spec, version, (constraint, text) => {
      const theirs = new VersionSpec(constraint);
      const parsed = new Version(text);
      assert.equal(matches(constraint, text), theirs.matches(parsed), `${constraint} on ${text}`);
      theirs.free();
      parsed.free();
    }),
    { numRuns: 1000 },
  );
});

test("property: no text hangs or throws anything but our error", () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-z<>=!~,|()*^$. ]{0,40}$/));
  fc.assert(
    fc.property(text, (constraint) => {
      try {
        matches(constraint, "1.2.3");
      } catch (e) {
        assert.ok(e instanceof MatchSpecError, String(e));
      }
    }),
    { numRuns: 2000 },
  );
});
