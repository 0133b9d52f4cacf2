import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DEFAULTS, plainlyRight } from "./defaults.ts";
import { settingsSchema } from "./settings.ts";

test("the defaults are the schema's", () => {
  assert.deepEqual(DEFAULTS, settingsSchema.parse({}));
});

test("what passes without the schema passes it too, with the same outcome", () => {
  const key = fc.constantFrom(...Object.keys(DEFAULTS), "constructor", "__proto__", "unknown");
  const number = fc.oneof(
    fc.integer({ min: -2, max: 90_000 }),
    fc.double(),
    fc.constantFrom(0, 1, 100, 101, 1000, 1001),
  );
  const address = fc.oneof(
    fc.webUrl(),
    fc.constantFrom(
      "http://localhost:9000",
      "https://s3.example.com",
      "http://127.0.0.1:1",
      "http://a.1",
      "http://x-",
      "auto",
    ),
  );
  const value = fc.oneof(number, fc.string(), address, fc.constantFrom(null, true, "3"));
  let passed = 0;
  fc.assert(
    fc.property(fc.dictionary(key, value, { maxKeys: 2, noNullPrototype: true }), (values) => {
      if (!plainlyRight(values)) return;
      passed++;
      assert.deepEqual({ ...DEFAULTS, ...values }, settingsSchema.parse(values));
    }),
    { numRuns: 3000 },
  );
  assert.ok(passed > 50, String(passed));
  assert.deepEqual([plainlyRight({ retry_attempts: "3" }), plainlyRight({ s3_region: null })], [false, false]);
});
