import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { hash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { mirror } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { channelOf } from "./support/channels.ts";
import { temporary, visible, written } from "./support/folders.ts";
import { all, DAY, everywhere, NOW, pruneAt } from "./support/pruned.ts";

/** A shard that a run wrote which was killed before it had written the index that names it. */
function strayShard(channel: string, subdir: string, modified: number): string {
  const bytes = zstdCompressSync(Buffer.from(`stray ${modified}`));
  const sha256 = hash("sha256", bytes);
  const path = join(channel, subdir, "shards", `${sha256}.msgpack.zst`);
  writeFileSync(path, bytes);
  utimesSync(path, modified / 1000, modified / 1000);
  return path;
}

test("cleaning up finds shards that no index ever named, and leaves what a run may have just written", async () => {
  const channel = await channelOf(all);
  const now = Date.now();
  const old = strayShard(channel, "noarch", now - 8 * DAY);
  const young = strayShard(channel, "linux-64", now - 2 * DAY);
  const before = Object.keys(visible(channel));
  const plan = await pruneAt(now, { channel, dryRun: true });
  assert.deepEqual([plan.freed.shards, plan.freed.bytes], [1, statSync(old).size]);
  assert.ok(existsSync(old));
  const report = await pruneAt(now, { channel });
  assert.deepEqual(report.freed, plan.freed);
  assert.deepEqual(
    before.filter((path) => !existsSync(join(channel, path))),
    [old.slice(channel.length + 1)],
  );
  // Without a grace period too, a day passes.
  const just = strayShard(channel, "linux-64", now - DAY / 2);
  assert.equal((await pruneAt(now, { channel, settings: { shard_grace_days: 0 } })).freed.shards, 1);
  assert.deepEqual([young, just].map(existsSync), [false, true]);
  await everywhere(channel, "noarch");
  await everywhere(channel, "linux-64");
});

test("shards that an index named once stay for their grace period from then on, however old they are", async () => {
  const channel = await channelOf(all);
  const now = Date.now();
  const shards = () => readdirSync(join(channel, "noarch/shards")).sort();
  const [first] = shards() as [string];
  const path = join(channel, "noarch/shards", first);
  utimesSync(path, (now - 100 * DAY) / 1000, (now - 100 * DAY) / 1000);
  await pruneAt(now, { channel, latest: 1 });
  assert.equal(shards().length, 2);
  assert.ok((await pruneAt(now + 6.9 * DAY, { channel })).freed.shards === 0 && existsSync(path));
  // Also where what was noted is lost.
  rmSync(join(channel, ".meso-forge-mirror"), { recursive: true });
  assert.equal((await pruneAt(now + 6.9 * DAY, { channel })).freed.shards, 0);
  await pruneAt(now + 6.9 * DAY, { channel, exclude: ["a <2"] });
  await mirror({
    sources: [written(temporary(), [buildConda({ name: "new" })])[0] as string],
    target: channel,
    env: {},
  });
  assert.ok(existsSync(path));
  await everywhere(channel, "noarch");
  assert.ok((await pruneAt(now + 30 * DAY, { channel })).freed.shards >= 1);
  assert.ok(!existsSync(path));
});

test("cleaning up removes the temporaries of runs that died, and leaves those of runs that live", async () => {
  const channel = await channelOf(all);
  const now = Date.now() + 2 * DAY;
  const incoming = join(channel, ".meso-forge-mirror/incoming");
  const dead = spawn(process.execPath, ["-e", "0"]);
  await new Promise((resolve) => dead.on("close", resolve));
  const { hostname } = await import("node:os");
  const host = hostname()
    .replace(/[^A-Za-z0-9-]/g, "_")
    .slice(0, 40);
  const folders = [`${host}.${dead.pid}.00000000`, `${host}.${process.pid}.00000000`, "elsewhere.1.00000000"];
  for (const folder of folders) {
    mkdirSync(join(incoming, folder), { recursive: true });
    writeFileSync(join(incoming, folder, "0"), "12345");
  }
  const beside = join(channel, "noarch/.0123456789ab.tmp");
  writeFileSync(beside, "123");
  const plan = await pruneAt(now, { channel, dryRun: true });
  assert.deepEqual(plan.freed, { packages: 0, shards: 0, leftovers: 3, bytes: 13 });
  const report = await pruneAt(now - 1.5 * DAY, { channel });
  assert.deepEqual(report.freed, { packages: 0, shards: 0, leftovers: 1, bytes: 5 });
  assert.deepEqual((await pruneAt(now, { channel })).freed, { packages: 0, shards: 0, leftovers: 2, bytes: 8 });
  assert.ok(!existsSync(beside));
  assert.deepEqual(readdirSync(incoming), [folders[1]]);
  const { freed } = await pruneAt(now, { channel });
  assert.deepEqual(freed, { packages: 0, shards: 0, leftovers: 0, bytes: 0 });
});

test("where nothing is left over, cleaning up writes nothing", async () => {
  const channel = await channelOf(all);
  const before = visible(channel);
  const report = await pruneAt(NOW, { channel });
  assert.deepEqual([report.written, report.freed.bytes, report.exitCode], [[], 0, 0]);
  assert.deepEqual(visible(channel), before);
  // Nor in a channel that another program indexed.
  rmSync(join(channel, ".meso-forge-mirror"), { recursive: true });
  for (const subdir of ["noarch", "linux-64"]) rmSync(join(channel, subdir, "shards"), { recursive: true });
  for (const subdir of ["noarch", "linux-64"]) rmSync(join(channel, subdir, "repodata_shards.msgpack.zst"));
  const foreign = visible(channel);
  await pruneAt(NOW, { channel });
  assert.deepEqual(visible(channel), foreign);
});
