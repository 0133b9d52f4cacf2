import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMirrorOf } from "./url.ts";

test("--mirror-of takes two URLs, and says which one is none", () => {
  assert.deepEqual(parseMirrorOf("https://a.example/=https://b.example/x"), {
    url: "https://a.example/",
    mirror: "https://b.example/x",
  });
  assert.throws(() => parseMirrorOf("https://[=https://b.example/"), { code: "BAD_FLAG", why: "https://[ is no URL" });
  assert.throws(() => parseMirrorOf("https://a.example/=https://b:x/"), { code: "BAD_FLAG", why: /b:x\/ is no URL/ });
  assert.throws(() => parseMirrorOf("https://a.example/"), { code: "BAD_FLAG", why: /URL=URL/ });
});
