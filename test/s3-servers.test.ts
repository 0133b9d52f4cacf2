// needs minio
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";
import { goProgram } from "../scripts/go-programs.ts";
import { type MirrorEvent, mirror } from "../src/main.ts";
import { PreconditionFailed } from "../src/target/store.ts";
import { buildConda } from "./packages/builder.ts";
import { carelessS3 } from "./servers/careless-s3.ts";
import { listening } from "./servers/listening.ts";
import { type S3Server, SECRET, startS3 } from "./servers/s3-server.ts";
import { objects } from "./support/bucket.ts";
import { cliRun } from "./support/cli.ts";
import { temporary, written } from "./support/folders.ts";
import { needs } from "./support/needs.ts";
import { openStoreAt } from "./support/stores.ts";

const one = buildConda({ name: "one" });
const two = buildConda({ name: "two" });
const source = temporary();
written(source, [one, two]);

const needed = needs(goProgram("minio"), "minio");
// Before the first test: what is started later ends with it.
const minio: S3Server = needed.skip === false ? await startS3("minio") : (undefined as never);

test("a server that keeps no conditions is found out and told of; what can be seen is still not written over", async () => {
  const server = await carelessS3();
  const env = { AWS_ACCESS_KEY_ID: "any", AWS_SECRET_ACCESS_KEY: "any-secret-at-all", S3_ENDPOINT_URL: server.url };
  const warnings: string[] = [];
  const onEvent = (e: MirrorEvent) => {
    if (e.type === "warning") warnings.push(e.message);
  };
  const report = await mirror({ sources: [source], target: "s3://bucket/ch", env, onEvent });
  assert.deepEqual([report.added, report.failed], [2, 0]);
  assert.equal(warnings.filter((w) => /keeps no conditions on writes/.test(w)).length, 1);
  assert.ok(server.objects.get("ch/noarch/repodata.json")?.includes(one.sha256));
  const store = await openStoreAt("s3://bucket/ch", env, { warn: (m) => warnings.push(m) });
  const path = `noarch/${one.fileName}`;
  await assert.rejects(store.put(path, Buffer.from("x"), "absent"), PreconditionFailed);
  await assert.rejects(store.put(path, Buffer.from("x"), { version: "another" }), PreconditionFailed);
  await store.put(path, Buffer.from("x"), { version: (await store.stat(path))?.version as string });
  await store.close();
});

test("keys that may not list a bucket can still fill a channel in it, and add to it", needed, async () => {
  const bucket = await minio.bucket();
  const client = minio.client(bucket);
  const allow = {
    Effect: "Allow",
    Principal: "*",
    Action: ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
    Resource: [`arn:aws:s3:::${bucket}/*`],
  };
  const policy = Buffer.from(JSON.stringify({ Version: "2012-10-17", Statement: [allow] }));
  await client.request({ method: "PUT", query: { policy: "" }, body: policy, bodySha256: hash("sha256", policy) });
  const warnings: string[] = [];
  const take = (path: string) =>
    mirror({
      sources: [path],
      target: `s3://${bucket}/ch`,
      env: { S3_ENDPOINT_URL: minio.url, MESO_FORGE_S3_ANONYMOUS: "true" },
      onEvent: (e) => {
        if (e.type === "warning") warnings.push(e.message);
      },
    });
  const other = temporary();
  const [alone] = written(other, [one]) as [string];
  assert.deepEqual((await take(alone)).added, 1);
  const again = await take(source);
  assert.deepEqual([again.added, again.kept, again.failed], [1, 1, 0]);
  assert.ok(warnings.every((w) => /may not list the bucket.*grant s3:ListBucket/.test(w)) && warnings.length === 2);
  const index = Buffer.from((await client.request({ method: "GET", key: "ch/noarch/repodata.json" })).body).toString();
  assert.ok(index.includes(one.sha256) && index.includes(two.sha256));
});

test("keys that may only read are told so, and change nothing", needed, async () => {
  const bucket = await minio.bucket(true);
  const env = { S3_ENDPOINT_URL: minio.url };
  const ended = await cliRun(["mirror", source, "--target-path", `s3://${bucket}/ch`, "--s3-anonymous", "-q"], env);
  assert.equal(ended.code, 3, ended.err);
  assert.match(ended.err, /403 AccessDenied[\s\S]*may read, write and list this bucket/);
  assert.deepEqual(await objects(minio, bucket), {});
});

test("keys are found where AWS's chain has them: a container's address, an instance's role", needed, async () => {
  const keys = {
    AccessKeyId: minio.env["AWS_ACCESS_KEY_ID"],
    SecretAccessKey: SECRET,
    Token: "",
    Code: "Success",
    Expiration: new Date(Date.now() + 3_600_000).toISOString(),
  };
  const asked: string[] = [];
  const metadata = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    if (request.url === "/latest/api/token") response.end("a-token");
    else if (request.url === "/latest/meta-data/iam/security-credentials/") response.end("role");
    else if (/credentials(?:-extended)?\/(?:role)?$|^\/keys$/.test(request.url ?? ""))
      response.end(JSON.stringify(keys));
    else response.writeHead(404).end();
  });
  const address = await listening(metadata);
  for (const where of [
    { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${address}/keys` },
    { AWS_EC2_METADATA_SERVICE_ENDPOINT: address },
  ]) {
    const bucket = await minio.bucket();
    const env = { S3_ENDPOINT_URL: minio.url, HOME: temporary(), ...(where as Record<string, string>) };
    const ended = await cliRun(["mirror", source, "--target-path", `s3://${bucket}/ch`, "--log-level", "trace"], env);
    assert.equal(ended.code, 0, `${ended.err}\n${asked.join("\n")}`);
    assert.ok(!(ended.out + ended.err).includes(SECRET));
  }
});
