import assert from "node:assert/strict";
import { test } from "node:test";
import type { S3Client } from "./client.ts";
import { listAll } from "./list.ts";

/** A client of a server that answers with these bodies, the last one again and again. */
function answering(...bodies: string[]): S3Client {
  const request = async () => ({
    status: 200,
    headers: new Map(),
    tries: 1,
    body: Buffer.from((bodies.length > 1 ? bodies.shift() : bodies[0]) as string),
  });
  return { where: "s3://bucket", bucket: "bucket", prefix: "", request } as unknown as S3Client;
}

const listing = (inside: string) => `<?xml version="1.0"?><ListBucketResult xmlns="x">${inside}</ListBucketResult>`;
const object = (key: string) => `<Contents><Key>${key}</Key><Size>1</Size><ETag>"e"</ETag></Contents>`;
const more = (token: string) =>
  `<IsTruncated>true</IsTruncated><NextContinuationToken>${token}</NextContinuationToken>`;

async function keysOf(client: S3Client): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of listAll(client, "")) keys.push(key);
  return keys;
}

test("a listing is read to its end, page by page", async () => {
  const pages = [object("a") + more("1"), object("b") + more("2"), object("c")].map(listing);
  assert.deepEqual(await keysOf(answering(...pages)), ["a", "b", "c"]);
  assert.deepEqual(await keysOf(answering(listing(""))), []);
});

test("what is no whole listing is refused: what it leaves out would be taken for gone", async () => {
  const wrong: [string, ...string[]][] = [
    ["a page to sign in on", "<!doctype html><p>Please sign in</p>"],
    ["nothing", ""],
    ["cut off", listing(object("a") + object("b")).slice(0, -60)],
    ["no way to go on", listing(`${object("a")}<IsTruncated>true</IsTruncated>`)],
    ["an empty way to go on", listing(object("a") + more(""))],
    ["round and round", listing(object("a") + more("1"))],
  ];
  for (const [name, ...pages] of wrong)
    await assert.rejects(keysOf(answering(...pages)), { code: "SERVER_ERROR", mayPass: false }, name);
});
