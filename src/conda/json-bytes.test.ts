import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JsonBytesError, MAX_JSON_DEPTH, type ObjectNotes, skipSpace, skipValue } from "./json-bytes.ts";

/** Whether the scanner takes the text as one JSON value. */
function takes(text: string): boolean {
  const bytes = Buffer.from(text);
  try {
    return skipSpace(bytes, skipValue(bytes, skipSpace(bytes, 0))) === bytes.length;
  } catch (e) {
    assert.ok(e instanceof JsonBytesError, String(e));
    return false;
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test("property: the scanner takes what JSON.parse takes and refuses what it refuses", () => {
  const edits = fc.array(fc.tuple(fc.nat(), fc.constantFrom(...'{}[]",:\\ \n\t0123456789.eE+-truefalsn\u0000xé')), {
    maxLength: 4,
  });
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), edits, fc.nat(), fc.boolean(), (text, changes, at, cut) => {
      let edited = text;
      for (const [where, char] of changes) {
        const i = where % (edited.length + 1);
        edited = edited.slice(0, i) + char + edited.slice(i + (where % 2));
      }
      if (cut) edited = edited.slice(0, at % (edited.length + 1));
      assert.equal(takes(edited), parses(edited), edited);
    }),
    { numRuns: 3000 },
  );
});

test("numbers, escapes and literals are those of JSON", () => {
  for (const text of ["0", "-0", "1.5e+3", "12345678901234567890", '"\\u00e9\\n"', "true", "null", " [ ] ", '{"":0}'])
    assert.ok(takes(text), text);
  for (const text of ["01", "-", "1.", ".5", "1e", "+1", '"\\x"', '"\\u12"', "nul", "tru e", "[1,]", '{"a":1,}', "{,}"])
    assert.ok(!takes(text), text);
});

test("nesting is refused beyond its limit", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  assert.ok(takes(nested(MAX_JSON_DEPTH)));
  assert.ok(!takes(nested(MAX_JSON_DEPTH + 1)));
});

test("property: a key that stands twice is noticed among keys that look alike", () => {
  const notes: ObjectNotes = { nameAt: -1, unsure: false };
  const alike = fc.stringMatching(/^n[ab]{1,6}m[ab]{0,5}e$/);
  fc.assert(
    fc.property(fc.array(alike, { maxLength: 12 }), (keys) => {
      skipValue(Buffer.from(`{${keys.map((key) => `"${key}":0`).join(",")}}`), 0, notes);
      assert.equal(notes.unsure, new Set(keys).size < keys.length);
    }),
    { numRuns: 500 },
  );
  skipValue(Buffer.from('{"name":"a","nxme":0,"name":"b"}'), 0, notes);
  assert.equal(notes.unsure, true);
});

test("a key that stands twice is noticed, however it is written and whatever lies between", () => {
  const notes: ObjectNotes = { nameAt: -1, unsure: false };
  const look = (text: string) => {
    skipValue(Buffer.from(text), 0, notes);
    return notes;
  };
  const keys = Array.from({ length: 300 }, (_, i) => `"key${i}":${i}`).join(",");
  assert.equal(look(`{${keys}}`).unsure, false);
  assert.equal(look(`{${keys},"key7":1}`).unsure, true);
  assert.equal(look('{"ab":1,"\\u0061b":2}').unsure, true);
  assert.equal(look('{"a":{"x":1,"x":2},"b":{"a":3}}').unsure, false, "only the object's own keys count");
  assert.equal(look('{"a":{"name":"inner"},"name":"outer"}').nameAt, 29);
  assert.equal(look('{"a":1}').nameAt, -1);
});
