import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { authorizationOf, parseEntry } from "./credential.ts";

test("whatever a store holds is an entry that can be sent, or none", () => {
  const variants = ["BearerToken", "BasicHTTP", "CondaToken", "S3Credentials", "OAuth", "Else"] as const;
  const members = [
    "username",
    "password",
    "access_key_id",
    "secret_access_key",
    "access_token",
    "token_endpoint",
    "client_id",
  ];
  const text = fc.oneof(fc.string(), fc.constantFrom("a-token", "two\nlines", ""));
  const held = fc.oneof(text, fc.dictionary(fc.constantFrom(...members), fc.oneof(text, fc.integer())), fc.jsonValue());
  const value = fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom(...variants), held));
  fc.assert(
    fc.property(value, (v) => {
      const entry = parseEntry(v);
      if (!entry) return;
      const header = authorizationOf(entry) ?? (entry.kind === "conda-token" ? entry.token : "");
      assert.ok(!/[\r\n\0]/.test(header), JSON.stringify(header));
    }),
    { numRuns: 1000 },
  );
});

test("an entry of two kinds is none", () => {
  assert.equal(parseEntry({ BearerToken: "a", CondaToken: "b" }), undefined);
  assert.equal(parseEntry({}), undefined);
});
