import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { EMPTY_SHA256, escaped, escapedKey, presignedUrl, queryText, signedHeaders } from "./sign.ts";

/** The examples of AWS's own documentation of Signature Version 4 for S3. */
const keys = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const scope = { region: "us-east-1", now: Date.UTC(2013, 4, 24) };
const at = (rest: string) => new URL(`https://examplebucket.s3.amazonaws.com/${rest}`);
const signatureOf = (headers: Record<string, string>) =>
  /Signature=([0-9a-f]{64})$/.exec(headers["authorization"] ?? "")?.[1];

test("requests are signed as AWS's examples are", () => {
  const get = { method: "GET", payloadSha256: EMPTY_SHA256 };
  const cases = [
    [
      { ...get, url: at("test.txt"), headers: { range: "bytes=0-9" } },
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ],
    [
      { ...get, url: at(`?${queryText({ lifecycle: "" })}`), headers: {} },
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ],
    [
      { ...get, url: at(`?${queryText({ prefix: "J", "max-keys": "2" })}`), headers: {} },
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ],
    [
      {
        method: "PUT",
        payloadSha256: hash("sha256", "Welcome to Amazon S3."),
        url: at(escapedKey("test$file.text")),
        headers: { date: "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY" },
      },
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ],
  ] as const;
  for (const [request, expected] of cases) assert.equal(signatureOf(signedHeaders(request, keys, scope)), expected);
});

test("a URL is signed as AWS's example is, and holds the session's token", () => {
  assert.match(
    presignedUrl(at("test.txt"), keys, scope, 86_400),
    /X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404$/,
  );
  assert.match(presignedUrl(at("x"), { ...keys, sessionToken: "a/b" }, scope, 1), /X-Amz-Security-Token=a%2Fb&/);
});

test("another day, region or secret makes another signature, whatever was signed before", () => {
  const request = { method: "GET", payloadSha256: EMPTY_SHA256, url: at("x"), headers: {} };
  const variants = [
    signedHeaders(request, keys, scope),
    signedHeaders(request, keys, { ...scope, now: scope.now + 86_400_000 }),
    signedHeaders(request, keys, { ...scope, region: "eu-west-1" }),
    signedHeaders(request, { ...keys, secretAccessKey: "other" }, scope),
  ];
  assert.equal(new Set(variants.map(signatureOf)).size, 4);
  assert.equal(signatureOf(signedHeaders(request, keys, scope)), signatureOf(variants[0] as Record<string, string>));
});

test("keys come through a URL as they are, and nothing in them ends it", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      // Half of a surrogate pair is no text.
      fc.pre(text.isWellFormed());
      assert.equal(decodeURIComponent(escaped(text)), text);
      assert.match(escaped(text), /^[A-Za-z0-9_.~%-]*$/);
      const url = at(escapedKey(`a${text.replaceAll("/", "")}`));
      assert.equal(decodeURIComponent(url.pathname.slice(1)), `a${text.replaceAll("/", "")}`);
    }),
  );
});
