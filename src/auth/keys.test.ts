import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { keysOf } from "./keys.ts";

test("a host is looked up with its port, by itself, and by every domain that it lies in", () => {
  assert.deepEqual(keysOf("https://repo.prefix.dev/conda-forge"), [
    "repo.prefix.dev",
    "*.repo.prefix.dev",
    "*.prefix.dev",
    "*.dev",
  ]);
  assert.deepEqual(keysOf("http://localhost:8000/x").slice(0, 2), ["localhost:8000", "localhost"]);
});

test("an s3 address is looked up by bucket and by each of its prefixes, the longest first", () => {
  assert.deepEqual(keysOf("s3://bucket/a/b").slice(0, 4), [
    "bucket",
    "s3://bucket/a/b",
    "s3://bucket/a",
    "s3://bucket",
  ]);
});

test("what only looks like a host gets none of its credentials", () => {
  const cases = [
    "https://prefix.dev@evil.example/x",
    "https://prefix.dev:443@evil.example/x",
    "https://prefix.dev%2f@evil.example/x",
    "https://evil.example/prefix.dev",
    "https://evil.example\\@prefix.dev.evil.example/",
    "https://evil.example?prefix.dev",
    "https://evil.example#@prefix.dev",
    "https://prefix.dev.evil.example/",
    "https://evilprefix.dev/",
    "https://prefix.dev./",
    "prefix.dev/x",
    "file:///prefix.dev",
  ];
  for (const url of cases)
    for (const key of keysOf(url)) assert.ok(key !== "prefix.dev" && key !== "*.prefix.dev", `${url} has ${key}`);
});

test("case and escapes of a host make no difference", () => {
  for (const url of ["https://PREFIX.dev/", "https://prefix%2edev/", "https://user:word@Prefix.Dev:443/"])
    assert.ok(keysOf(url).includes("prefix.dev"), url);
});

test("an address lies in no domain", () => {
  assert.deepEqual(keysOf("http://127.0.0.1/"), ["127.0.0.1"]);
  assert.deepEqual(keysOf("http://[::1]:80/"), ["[::1]"]);
  // 0x7f.1 is 127.0.0.1 to a URL parser.
  assert.deepEqual(keysOf("http://0x7f.1/"), ["127.0.0.1"]);
});

test("whatever is asked, every key is the parsed host or a domain above it", () => {
  fc.assert(
    fc.property(fc.oneof(fc.webUrl({ withFragments: true, withQueryParameters: true }), fc.string()), (url) => {
      for (const key of keysOf(url)) {
        const { host, hostname } = new URL(url);
        assert.ok(key === host || key === hostname || hostname.endsWith(key.slice(2)) || key.startsWith("s3://"));
      }
    }),
  );
});
