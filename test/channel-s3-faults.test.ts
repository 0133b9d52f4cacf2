import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { mirror } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { listening } from "./servers/listening.ts";
import { channelOf, filesOf } from "./support/channels.ts";
import { temporary } from "./support/folders.ts";

type Fault = "cut" | "busy";

/** A bucket of a channel, read by anybody, with a fault for some requests. */
async function bucketOf(fault: (path: string, times: number) => Fault | undefined) {
  const files = filesOf(await channelOf([buildConda({ name: "p" })]));
  const asked = new Map<string, number>();
  const server = createServer((request, response) => {
    const path = (request.url as string).replace("/bucket/ch/", "");
    const file = files[path];
    if (!file) return void response.writeHead(404).end("<Error><Code>NoSuchKey</Code></Error>");
    if (request.method === "HEAD") return void response.writeHead(200, { "content-length": file.length }).end();
    const times = (asked.get(path) ?? 0) + 1;
    asked.set(path, times);
    const what = fault(path, times);
    if (what === "busy") return void response.writeHead(503).end();
    response.writeHead(200, { "content-length": file.length });
    if (what === undefined) return void response.end(file);
    response.write(file.subarray(0, 20), () => request.socket.destroy());
  });
  const url = await listening(server);
  const clock = { now: () => 0, random: () => 0, sleep: async () => undefined };
  const report = await mirror({
    sources: ["s3://bucket/ch/noarch"],
    target: temporary(),
    env: {},
    clock,
    settings: { retry_attempts: 2, s3_endpoint: url, s3_anonymous: true },
  });
  return { report, asked };
}

test("an index in a bucket that breaks off is read again", async () => {
  const { report, asked } = await bucketOf((path, times) =>
    times === 1 && path.includes("repodata") ? "cut" : undefined,
  );
  assert.deepEqual([report.exitCode, report.added], [0, 1], JSON.stringify(report.packages));
  assert.ok([...asked].some(([path, times]) => path.includes("repodata") && times === 2));
});

test("a package in a bucket is asked for as often as --retry-attempts says, and no more", async () => {
  const { report, asked } = await bucketOf((path) => (path.endsWith(".conda") ? "busy" : undefined));
  assert.equal(report.failed, 1);
  assert.deepEqual(
    [...asked].filter(([path]) => path.endsWith(".conda")).map(([, times]) => times),
    [3],
  );
});
