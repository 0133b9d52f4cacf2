import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { buildConda } from "./packages/builder.ts";
import { temporary } from "./support/folders.ts";
import { runAt, upstreamOf } from "./support/upstream.ts";

const NOW = Date.parse("2026-01-31T00:00:00Z");
const a1 = buildConda({ name: "a", version: "1.0" });

test("notices come along as they are and go when they go, but nobody's own are touched", async () => {
  const notices = (id: string) => Buffer.from(JSON.stringify({ notices: [{ id, message: "hello", level: "info" }] }));
  const upstream = await upstreamOf([a1]);
  const options = { sources: [upstream.server.url], target: temporary() };
  const file = join(options.target, "notices.json");
  let version = 2;
  const changed = (bytes?: Uint8Array) =>
    upstream.become([a1, buildConda({ name: "a", version: `${version++}` })], (files) => {
      if (bytes) files["notices.json"] = bytes;
    });
  for (const now of [notices("one"), notices("two"), undefined, notices("three")]) {
    await changed(now);
    assert.equal((await runAt(NOW, options)).exitCode, 0);
    assert.deepEqual(existsSync(file) ? readFileSync(file) : undefined, now);
  }
  await changed(Buffer.from("no notices"));
  assert.equal((await runAt(NOW, options)).exitCode, 0);
  assert.deepEqual(readFileSync(file), notices("three"));
  writeFileSync(file, notices("our own"));
  await changed(notices("four"));
  await runAt(NOW, options);
  assert.deepEqual(readFileSync(file), notices("our own"));
});

test("notices that changed while nothing else did come along within an hour", async () => {
  const notices = (id: string) => Buffer.from(JSON.stringify({ notices: [{ id, message: "hello", level: "info" }] }));
  const upstream = await upstreamOf([a1]);
  const options = { sources: [upstream.server.url], target: temporary() };
  const file = join(options.target, "notices.json");
  await runAt(NOW, options);
  upstream.server.files.set("notices.json", notices("one"));
  upstream.asked();
  await runAt(NOW + 59 * 60_000, options);
  assert.equal(existsSync(file), false);
  assert.deepEqual(upstream.asked(), ["noarch/repodata_shards.msgpack.zst"]);
  assert.equal((await runAt(NOW + 60 * 60_000, options)).exitCode, 0);
  assert.deepEqual(readFileSync(file), notices("one"));
  assert.deepEqual(upstream.asked(), ["noarch/repodata_shards.msgpack.zst", "notices.json"]);
  upstream.server.files.delete("notices.json");
  await runAt(NOW + 119 * 60_000, options);
  assert.ok(existsSync(file), "asked a minute too early");
  await runAt(NOW + 120 * 60_000, options);
  assert.equal(existsSync(file), false);
});
