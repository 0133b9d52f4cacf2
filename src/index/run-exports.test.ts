import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JsonBytesError } from "../conda/json-bytes.ts";
import { NO_RUN_EXPORTS, normaliseRunExports } from "../conda/run-exports.ts";
import { findRunExports, mergeRunExports, readRunExports } from "./run-exports.ts";

const bytes = (text: string) => Buffer.from(text);
const text = (b: Uint8Array | undefined) => (b === undefined ? undefined : Buffer.from(b).toString());
const normal = (member: string) => text(normaliseRunExports(bytes(member)).runExports);
const none = new Set<string>();

test("a member is kept as it stands, without white space; a bare list is weak; none is an empty object", () => {
  assert.equal(normal('{ "weak" : ["a >=1"], "noarch": [] }'), '{"weak":["a >=1"],"noarch":[]}');
  assert.equal(normal('{"weak":["\\u00e9"],"future":["x"]}'), '{"weak":["\\u00e9"],"future":["x"]}');
  assert.equal(normal('["a >=1"]'), '{"weak":["a >=1"]}');
  assert.equal(normal("[]"), '{"weak":[]}');
  assert.equal(normal("{}"), "{}");
  assert.deepEqual(normaliseRunExports(undefined), { runExports: NO_RUN_EXPORTS, problems: [] });
});

test("what is malformed is left out with a reason, and the rest stays", () => {
  for (const [member, kept, problem] of [
    ['{"weak":"a","strong":["b"]}', '{"strong":["b"]}', /weak/],
    ['{"weak":null}', "{}", /weak/],
    ['{"weak":["a",1]}', "{}", /weak/],
    ["null", "{}", /neither/],
    ["3", "{}", /neither/],
    ['[["a"]]', "{}", /neither/],
    ["", "{}", /no usable JSON/],
    ["{", "{}", /no usable JSON/],
    ['{"weak":[],"weak":["a"]}', "{}", /twice/],
    ['{"weak":["\u0000"]}', "{}", /no usable JSON/],
  ] as const) {
    const { runExports, problems } = normaliseRunExports(bytes(member));
    assert.equal(text(runExports), kept, member);
    assert.match(problems.join(), problem, member);
  }
  assert.match(normaliseRunExports(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])).problems.join(), /UTF-8/);
});

test("the file has the layout of CEP 12, with both maps, in code point order", () => {
  const add = new Map([
    ["b-1-0.conda", bytes('{"weak":["b"]}')],
    ["a-1-0.conda", NO_RUN_EXPORTS],
    ["a-1-0.tar.bz2", NO_RUN_EXPORTS],
  ]);
  assert.equal(
    text(mergeRunExports(undefined, "noarch", add, none)),
    '{"info":{"subdir":"noarch","version":1},"packages":{"a-1-0.tar.bz2":{"run_exports":{}}},' +
      '"packages.conda":{"a-1-0.conda":{"run_exports":{}},"b-1-0.conda":{"run_exports":{"weak":["b"]}}}}',
  );
});

test("a merge keeps the other entries byte for byte, and what it doesn't know", () => {
  const existing = bytes(`{
    "info": {"subdir": "noarch", "platform": null, "version": 1}, "later": {"x": 1e400},
    "packages.conda": {"a-1-0.conda": {"run_exports": { "weak": ["\\u0061"] }, "more": 12345678901234567890},
                       "b-1-0.conda": {"run_exports": {}}}}`);
  const out = text(
    mergeRunExports(existing, "noarch", new Map([["c-1-0.conda", NO_RUN_EXPORTS]]), new Set(["b-1-0.conda"])),
  );
  assert.equal(
    out,
    '{"info":{"subdir": "noarch", "platform": null, "version": 1},"packages":{},"packages.conda":{' +
      '"a-1-0.conda":{"run_exports": { "weak": ["\\u0061"] }, "more": 12345678901234567890},' +
      '"c-1-0.conda":{"run_exports":{}}},"later":{"x": 1e400}}',
  );
  const elsewhere = text(mergeRunExports(existing, "linux-64", new Map(), none));
  assert.match(elsewhere ?? "", /^\{"info":\{"subdir":"linux-64","version":1\}/);
});

test("a look-up gives the exports, and nothing where an entry is unreadable", () => {
  const index = readRunExports(
    bytes(
      '{"packages":{},"packages.conda":{"a-1-0.conda":{"run_exports":{"weak":[]}},"b-1-0.conda":{"run_exports":null},"c-1-0.conda":{},"d-1-0.conda":{"run_exports":{},"run_exports":{}}}}',
    ),
  );
  assert.equal(text(findRunExports(index, "a-1-0.conda")), '{"weak":[]}');
  for (const fileName of ["b-1-0.conda", "c-1-0.conda", "d-1-0.conda", "e-1-0.conda", "a-1-0.tar.bz2"])
    assert.equal(findRunExports(index, fileName), undefined, fileName);
});

test("an existing file that is none is refused with our error", () => {
  for (const bad of ["", "[]", '{"packages":[]}', '{"packages":{"a":1}}', '{"packages":{"a":{},"a":{}}}', "{} x"])
    assert.throws(() => mergeRunExports(bytes(bad), "noarch", new Map(), none), JsonBytesError, bad);
});

const stem = fc.stringMatching(/^[a-z]{1,3}-[0-9]{1,2}-[a-z0-9]{1,2}$/);
const fileName = fc.tuple(stem, fc.constantFrom(".conda", ".tar.bz2")).map((x) => x.join(""));
const exported = fc.dictionary(fc.constantFrom("weak", "strong", "noarch"), fc.array(fc.string(), { maxLength: 2 }), {
  noNullPrototype: true,
});
const entries = fc.dictionary(fileName, exported, { noNullPrototype: true, maxKeys: 12 });

test("property: a file made in two steps is the file made in one, whatever came and went between", () => {
  fc.assert(
    fc.property(entries, entries, fc.boolean(), (first, second, spaced) => {
      const asMap = (o: Record<string, object>) =>
        new Map(Object.entries(o).map(([k, v]) => [k, bytes(JSON.stringify(v))]));
      const gone = new Set(Object.keys(first).slice(0, 2));
      let one = mergeRunExports(undefined, "noarch", asMap(first), none);
      if (spaced) one = bytes(JSON.stringify(JSON.parse(text(one) as string), null, 2));
      const two = mergeRunExports(one, "noarch", asMap(second), gone);
      const want = { ...Object.fromEntries(Object.entries(first).filter(([k]) => !gone.has(k))), ...second };
      const direct = mergeRunExports(undefined, "noarch", asMap(want), none);
      assert.deepEqual(JSON.parse(text(two) as string), JSON.parse(text(direct) as string));
      if (!spaced) assert.equal(text(two), text(direct));
      for (const [k, v] of Object.entries(want))
        assert.deepEqual(JSON.parse(text(findRunExports(readRunExports(two), k)) as string), v);
    }),
  );
});

test("property: no member throws", () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), fc.json().map(bytes)), (member) => {
      const { runExports } = normaliseRunExports(member);
      JSON.parse(text(runExports) as string);
    }),
    { numRuns: 500 },
  );
});
