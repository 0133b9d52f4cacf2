import assert from "node:assert/strict";
import { subscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";
import { test } from "node:test";
import { indexChannel, info, type MirrorOptions, mirror } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { carelessS3 } from "./servers/careless-s3.ts";
import { channelOf, filesOf } from "./support/channels.ts";
import { temporary, written } from "./support/folders.ts";

/** Every connection that this process begins. Those of the tests' servers are none of them. */
const begun: Socket[] = [];
subscribe("net.client.socket", (message) => begun.push((message as { socket: Socket }).socket));

const pkg = buildConda({ name: "pkg", files: { "share/pkg.txt": "pkg" } });
const s3 = await carelessS3();
for (const [path, bytes] of Object.entries(filesOf(await channelOf([pkg]))))
  s3.objects.set(`ch/${path}`, bytes as Buffer);
const [packageFile] = written(temporary(), [pkg]) as [string];

const env = { AWS_ACCESS_KEY_ID: "any", AWS_SECRET_ACCESS_KEY: "any-secret-at-all", S3_ENDPOINT_URL: s3.url };

/** Lets the work end, well or not, and gives how many of its connections it left open, and how many there were. */
async function connections(work: () => Promise<unknown>): Promise<{ open: number; all: number }> {
  begun.length = 0;
  await work();
  return { open: begun.filter((socket) => !socket.destroyed).length, all: begun.length };
}

test("no connection outlives the run that opened it", async () => {
  const channel = "s3://bucket/ch";
  const runs: Record<string, () => Promise<unknown>> = {
    "a mirror from a bucket": async () =>
      assert.equal((await mirror({ sources: [channel], target: temporary(), env })).added, 1),
    "a mirror to a bucket": async () =>
      assert.equal((await mirror({ sources: [packageFile], target: "s3://bucket/other", env })).added, 1),
    "info of a bucket": async () => assert.equal((await info({ source: channel, env })).rows.length, 1),
    "info of what can't be read": () => assert.rejects(info({ source: "s3://bucket/nothing", env })),
    "index of a bucket": async () => assert.equal((await indexChannel({ channel, env, threads: 1 })).exitCode, 0),
    "index of nothing": () => assert.rejects(indexChannel({ channel: "s3://bucket/nothing", env })),
    "a mirror whose source is none": () =>
      assert.rejects(mirror({ sources: ["ftp://example.com/"], target: "s3://bucket/other", env })),
    "a mirror whose second target can't be": () =>
      assert.rejects(mirror({ sources: [packageFile], target: ["s3://bucket/other", "gopher://example.com/"], env })),
  };
  for (const [name, run] of Object.entries(runs)) {
    const { open, all } = await connections(run);
    assert.notEqual(all, 0, name);
    assert.equal(open, 0, name);
  }
});

test("only what is received takes threads: a dry run and an explanation start none", async () => {
  let started = 0;
  const count = () => void started++;
  process.on("worker", count);
  const source = await channelOf([pkg]);
  const threads = async (sources: readonly string[], more: Partial<MirrorOptions>): Promise<number> => {
    started = 0;
    await mirror({ sources, target: temporary(), env: {}, ...more });
    return started;
  };
  try {
    for (const sources of [[source], [packageFile]]) {
      assert.notEqual(await threads(sources, {}), 0);
      assert.equal(await threads(sources, { dryRun: true }), 0);
      assert.equal(await threads(sources, { explain: "pkg" }), 0);
    }
  } finally {
    process.off("worker", count);
  }
});
