import assert from "node:assert/strict";
import { test } from "node:test";
import { asText } from "./as-text.ts";
import { parseMatchSpec } from "./match-spec.ts";
import { recordFacts } from "./record-facts.ts";
import { loadVersions } from "./version.ts";

// Objects that JSON can say and that no JavaScript makes text of.
const hostile = JSON.parse('{"toString":0,"valueOf":0}') as unknown;

test("any value of foreign JSON has a text", () => {
  for (const [value, text] of [
    ["a", "a"],
    [1, "1"],
    [null, "null"],
    [undefined, "undefined"],
    [hostile, '{"toString":0,"valueOf":0}'],
    [[hostile], '[{"toString":0,"valueOf":0}]'],
  ] as const)
    assert.equal(asText(value), text);
});

test("a record whose members are objects without a text says nothing, and throws nothing", async () => {
  const keys = ["name", "version", "build", "build_number", "size", "sha256", "md5", "subdir", "license", "depends"];
  const record = Object.fromEntries(keys.map((key) => [key, hostile]));
  assert.deepEqual(recordFacts(Buffer.from(JSON.stringify(record))), {});
  const spec = parseMatchSpec("*[version='>1',build=x,build_number=1,subdir=noarch]", await loadVersions());
  assert.equal(spec.matches(record), false);
});
