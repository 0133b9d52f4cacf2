import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { linearRegex, RegexError } from "./linear-regex.ts";
import { textPattern } from "./text-pattern.ts";

const atom = fc.constantFrom(
  "a",
  "b",
  "0",
  "_",
  ".",
  "\\d",
  "\\w",
  "\\D",
  "\\W",
  "\\.",
  "[ab]",
  "[^a]",
  "[0-9_]",
  "\\b",
  "é",
);
const { pattern } = fc.letrec<{ pattern: string; piece: string }>((tie) => ({
  pattern: fc.array(tie("piece"), { maxLength: 3 }).map((pieces) => pieces.join("")),
  piece: fc.oneof(
    { maxDepth: 2 },
    fc
      .tuple(atom, fc.constantFrom("", "", "*", "+", "?", "{2}", "{1,2}", "*?"))
      .map(([a, q]) => (a === "\\b" ? a : a + q)),
    fc.tuple(tie("pattern"), tie("pattern"), fc.constantFrom("", "*", "?")).map(([a, b, q]) => `(?:${a}|${b})${q}`),
  ),
}));

test("property: the answers are those of JavaScript's own engine", () => {
  const text = fc.stringMatching(/^[ab0_.é]{0,8}$/);
  fc.assert(
    fc.property(pattern, text, fc.boolean(), (inner, given, anchored) => {
      const source = anchored ? `^${inner}$` : inner;
      assert.equal(linearRegex(source)(given), new RegExp(source, "i").test(given), `${source} on ${given}`);
    }),
    { numRuns: 3000 },
  );
});

test("expressions that make a backtracking engine hang are answered at once", () => {
  const began = performance.now();
  for (const source of ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^(.*)*b$", "^(a?){60}a{60}$"])
    assert.equal(linearRegex(source)(`${"a".repeat(2000)}!`), false, source);
  assert.ok(performance.now() - began < 5000);
});

test("what linear matching can't do, and what is malformed or too large, is refused", () => {
  for (const source of [
    "(?=a)",
    "(?<!a)b",
    "(a)\\1",
    "(?i)a",
    "(",
    ")",
    "[a",
    "a**",
    "*a",
    "a{3,2}",
    "[z-a]",
    "\\",
    "\\p{L}",
  ])
    assert.throws(() => linearRegex(source), RegexError, source);
  assert.throws(() => linearRegex("((a{99}){99}){99}"), RegexError);
  assert.throws(() => linearRegex("(".repeat(100) + ")".repeat(100)), RegexError);
  assert.throws(() => linearRegex("a".repeat(5000)), RegexError);
});

test("property: any text compiles or gives our error, and never hangs", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.stringMatching(/^[ab^$()[\]{}*+?|\\.0-9,-]{0,30}$/)),
      fc.string(),
      (source, text) => {
        try {
          linearRegex(source)(text);
        } catch (e) {
          assert.ok(e instanceof RegexError, `${source}: ${String(e)}`);
        }
      },
    ),
    { numRuns: 3000 },
  );
});

test("globs: a star is any text, a question mark one character; long ones are as fast as short ones", () => {
  const cases: [pattern: string, yes: string[], no: string[]][] = [
    ["*", ["", "a"], []],
    ["py*", ["py", "PY39"], ["xpy"]],
    ["*cuda11*", ["py3_cuda11.3_0", "cuda11"], ["cuda10"]],
    ["a*b*c", ["abc", "axxbxxc"], ["acb", "ab"]],
    ["ab*ba", ["abba", "abxba"], ["aba"]],
    ["f?o*", ["foo", "fxobar"], ["fo"]],
    ["f.o*", ["f.o1"], ["fxo1"]],
  ];
  for (const [glob, yes, no] of cases) {
    for (const text of yes) assert.ok(textPattern(glob)(text), `${glob} takes ${text}`);
    for (const text of no) assert.ok(!textPattern(glob)(text), `${glob} leaves ${text}`);
  }
  const began = performance.now();
  assert.equal(textPattern(`${"*a".repeat(500)}*b`)("a".repeat(10_000)), false);
  assert.ok(performance.now() - began < 1000);
});
