import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bundlesIn } from "./attestations.ts";

class Refused extends Error {}
const refuse = (why: string) => new Refused(why);
const statement = (sha256: unknown, more: unknown[] = []) =>
  Buffer.from(JSON.stringify({ subject: [{ digest: { sha256 } }, ...more] })).toString("base64");
const bundle = (payload: unknown) => ({ dsseEnvelope: { payload } });
const sha256 = "ab".repeat(32);

test("a bundle is found by what it is about, and kept as it was written", () => {
  const text = ` ${JSON.stringify(bundle(statement(sha256)), undefined, 3)}\n`;
  assert.equal(bundlesIn(text, refuse).get(sha256), text);
});

test("a bundle about nothing, about several files or about something else is refused", () => {
  for (const payload of [statement("AB".repeat(32)), statement(undefined), statement(sha256, [{}]), "%%%", 7, "e30="])
    assert.throws(() => bundlesIn(JSON.stringify(bundle(payload)), refuse), Refused, String(payload));
});

test("any text is bundles, or refused in words", () => {
  const value = fc.oneof(
    fc.jsonValue(),
    fc.string().map(bundle),
    fc.jsonValue().map((s) => bundle(statement(s))),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        value.map((v) => JSON.stringify(v)),
      ),
      (text) => {
        try {
          for (const key of bundlesIn(text, refuse).keys()) assert.match(key, /^[0-9a-f]{64}$/);
        } catch (e) {
          assert.ok(e instanceof Refused, String(e));
        }
      },
    ),
  );
});
