import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MatchSpecError, parseMatchSpec } from "../src/conda/match-spec.ts";
import { loadVersions } from "../src/conda/version.ts";
import { asked } from "./support/client.ts";
import { SEED } from "./support/draws.ts";
import { needs, python } from "./support/needs.ts";

// Specs of every form, nonsense among them, made at random: each must match the records that rattler matches.

const segment = fc.constantFrom("0", "1", "2", "10", "1a", "a", "rc1", "dev", "post1", "01", "1b2", "alpha", "2017b");
const version = fc
  .tuple(
    fc.constantFrom("", "", "", "1!"),
    fc.array(segment, { minLength: 1, maxLength: 4 }),
    fc.constantFrom(".", ".", "_"),
    fc.constantFrom("", "", "", "_", "+1", "+1.a"),
  )
  .map(([epoch, segments, separator, end]) => epoch + segments.join(separator) + end);
const joined = (parts: readonly string[]) => parts.join("");
const operator = fc.constantFrom("", "=", "==", "!=", "<", "<=", ">", ">=", "~=");
const constraint = fc
  .tuple(operator, version, fc.constantFrom("", "", "*", ".*", ".*.*"))
  .map(joined)
  // rattler reads "!=1.*.*" as "!=1"; we read it as "!=1.*", which it plainly means.
  .filter((text) => !/^!=.*\.\*\.\*$/.test(text));
const term = fc.oneof(
  { weight: 6, arbitrary: constraint },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constant("("), constraint, fc.constantFrom(",", "|"), constraint, fc.constant(")"))
      .map(joined),
  },
  { weight: 1, arbitrary: fc.constantFrom("*", "=*", ">=*", "*.*") },
);
const group = fc
  .array(fc.tuple(fc.constantFrom(",", "|", " , ", " | "), term).map(joined), { minLength: 1, maxLength: 3 })
  .map((parts) => joined(parts).replace(/^[ ,|]+/, ""));
const build = fc.constantFrom("0", "py27_0", "py*", "*_0", "^py2.*$", "^py[0-9]+_[01]$", "PY27_0", "h12_1", "*");
const name = fc.constantFrom("foo", "foo", "Foo", "foo-bar", "f*", "*", "*bar", "^foo.*$", "f??*");
const field = fc.oneof(
  group.map((g) => `version="${g}"`),
  build.map((b) => `build='${b}'`),
  fc.tuple(fc.constantFrom("", "==", "!=", "<", ">", ">=", "<="), fc.nat(3)).map((x) => `build_number="${x.join("")}"`),
  fc.constantFrom("license=MIT", "license='mit'"),
);
const positional = fc.oneof(
  fc.constant(""),
  group.map((g) => ` ${g}`),
  group.filter((g) => /^[=!<>~]/.test(g)),
  fc.tuple(fc.constant(" "), group, fc.constantFrom(" ", "=", "  "), build).map(joined),
  fc.tuple(fc.constantFrom("=", "=="), version, fc.constant("="), build).map(joined),
);
const brackets = fc.oneof(
  fc.constant(""),
  fc.array(field, { minLength: 1, maxLength: 2 }).map((fields) => `[${fields.join(", ")}]`),
);
const spec = fc.tuple(name, positional, brackets).map(joined);
const record = fc.record({
  name: fc.constantFrom("foo", "foo-bar", "bar"),
  version,
  build: fc.constantFrom("0", "py27_0", "h12_1", "py3_1"),
  build_number: fc.nat(3),
  license: fc.constantFrom("MIT", "mit", undefined),
});

test(
  "specs made at random match the records that rattler matches; what rattler refuses, we refuse or read",
  needs(python, "py-rattler"),
  async () => {
    const versions = await loadVersions();
    const records = fc.sample(record, { numRuns: 200, seed: SEED });
    const specs = [...new Set(fc.sample(spec, { numRuns: 1500, seed: SEED }))];
    const said = await asked("match_specs.py", () => [], { input: JSON.stringify({ records, specs }) });
    const answers = JSON.parse(said) as (number[] | null)[];
    let compared = 0;
    specs.forEach((text, i) => {
      const answer = answers[i];
      try {
        const parsed = parseMatchSpec(text, versions);
        if (!answer) return;
        compared++;
        const ours = records.flatMap((r, at) => (parsed.matches(r) ? [at] : []));
        assert.deepEqual(ours, answer, `${text} (seed ${SEED})`);
      } catch (e) {
        if (!(e instanceof MatchSpecError)) throw e;
        assert.ok(!answer, `${e.message}, but rattler reads it (seed ${SEED})`);
      }
    });
    assert.ok(compared > 700, `${compared} of ${specs.length} specs compared`);
  },
);
