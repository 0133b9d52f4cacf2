import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { compressedBz2 } from "../src/index/compress.ts";
import { type IndexOptions, mirror } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { channelOf } from "./support/channels.ts";
import { listed, repodata, temporary, visible, written } from "./support/folders.ts";
import { index, warnings } from "./support/index-once.ts";

const DAY = 24 * 60 * 60 * 1000;
const a = buildConda({ name: "a" });
const b = buildConda({ name: "b" });
const c = buildConda({ name: "c", subdir: "linux-64" });

/** Adds a package to a channel by `mirror`, so that `index` has not read it. */
async function mirrored(channel: string, ...packages: (typeof a)[]): Promise<void> {
  const source = temporary();
  written(source, packages);
  await mirror({ sources: [source], target: channel, env: {} });
}

test("a package that came by mirror and went again leaves the index, though a run that looked elsewhere came in between", async () => {
  const channel = await channelOf([a, c]);
  await mirrored(channel, b);
  await index(channel, { subdirs: ["linux-64"] });
  rmSync(join(channel, "noarch", b.fileName));
  const report = await index(channel);
  assert.deepEqual(listed(channel, "noarch"), [a.fileName]);
  assert.equal(report.removed, 1);
});

test("a package that vanished while it was to be read, and stays away, leaves the index with the next run", async () => {
  const channel = await channelOf([a]);
  await mirrored(channel, b);
  const vanish: IndexOptions["onEvent"] = (e) => e.type === "reading" && rmSync(join(channel, "noarch", b.fileName));
  const report = await index(channel, { onEvent: vanish });
  assert.deepEqual(
    report.failed.map((f) => [f.fileName, f.error.code]),
    [[b.fileName, "UNREADABLE"]],
  );
  assert.deepEqual(listed(channel, "noarch"), [a.fileName, b.fileName]);
  assert.equal((await index(channel)).exitCode, 0);
  assert.deepEqual(listed(channel, "noarch"), [a.fileName]);
});

test("records of packages that lay elsewhere go when base_url does, unless they lie here", async () => {
  const channel = await channelOf([a]);
  await index(channel, { settings: { base_url: "https://pool.example/" } });
  const path = join(channel, "noarch/repodata.json");
  const found = repodata(channel, "noarch");
  const far = { ...found["packages.conda"][a.fileName], name: "far" };
  writeFileSync(
    path,
    JSON.stringify({ ...found, "packages.conda": { ...found["packages.conda"], "far-1.0-0.conda": far } }),
  );
  await index(channel);
  await index(channel);
  assert.deepEqual(listed(channel, "noarch"), [a.fileName, "far-1.0-0.conda"]);
  await index(channel, { settings: { base_url: "" } });
  assert.equal(repodata(channel, "noarch").info["base_url" as "subdir"], undefined);
  assert.deepEqual(listed(channel, "noarch"), [a.fileName]);
});

const shardsOf = (channel: string) => readdirSync(join(channel, "noarch/shards")).sort();

test("shards that were switched off go after their grace period, and none goes that an index names again", async () => {
  const channel = await channelOf([a]);
  const first = shardsOf(channel);
  assert.equal(first.length, 1);
  written(join(channel, "noarch"), [b]);
  const t0 = Date.now();
  const off = { settings: { write_shards: false } };
  await index(channel, { ...off, now: () => t0 });
  assert.ok(!existsSync(join(channel, "noarch/repodata_shards.msgpack.zst")));
  assert.deepEqual(shardsOf(channel), first);
  await index(channel, { now: () => t0 + DAY });
  assert.equal(shardsOf(channel).length, 2);
  await index(channel, { now: () => t0 + 30 * DAY });
  assert.equal(shardsOf(channel).length, 2);
  // Of shards that nobody noted the index is gone: notes were deleted, or a run died.
  rmSync(join(channel, ".meso-forge-mirror"), { recursive: true });
  rmSync(join(channel, "noarch/repodata_shards.msgpack.zst"));
  rmSync(join(channel, "noarch", b.fileName));
  await index(channel, { now: () => t0 + 30 * DAY });
  assert.equal(shardsOf(channel).length, 2);
  await index(channel, { now: () => t0 + 37 * DAY });
  assert.deepEqual(shardsOf(channel), first);
  written(join(channel, "noarch"), [b]);
  await index(channel, { ...off, now: () => t0 + 38 * DAY });
  await index(channel, { ...off, now: () => t0 + 40 * DAY });
  assert.deepEqual(shardsOf(channel), first);
  await index(channel, { ...off, now: () => t0 + 45 * DAY });
  assert.equal(shardsOf(channel).length, 0);
});

async function bz2(bytes: Uint8Array): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of compressedBz2([bytes])) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

test("files that are switched off, of an index that another program wrote since, are not left for clients to read", async () => {
  const channel = await channelOf([a, b]);
  const settings = {
    write_zst: false,
    write_bz2: false,
    write_shards: false,
    write_current_repodata: false,
    write_run_exports: false,
  };
  const all = ["current_repodata.json", "repodata.json.zst", "repodata_shards.msgpack.zst", "run_exports.json"];
  const there = () => all.filter((name) => existsSync(join(channel, "noarch", name)));
  await index(channel, { settings });
  assert.deepEqual(there(), all, "they tell what the index tells");
  const path = join(channel, "noarch/repodata.json");
  const found = repodata(channel, "noarch");
  writeFileSync(`${path}.bz2`, await bz2(Buffer.from(JSON.stringify(found))));
  found["packages.conda"][a.fileName] = { ...found["packages.conda"][a.fileName], depends: ["hot >=1"] };
  writeFileSync(path, JSON.stringify(found));
  await index(channel, { settings });
  assert.deepEqual(there(), []);
  assert.ok(!existsSync(`${path}.bz2`));
  assert.deepEqual(repodata(channel, "noarch"), found);
  assert.equal(warnings.length, 5);
});

test("a compressed form of another program's index that holds the same stays where it is switched off, until the index changes", async () => {
  const channel = await channelOf([a]);
  const path = join(channel, "noarch/repodata.json");
  rmSync(join(channel, ".meso-forge-mirror"), { recursive: true });
  writeFileSync(`${path}.bz2`, await bz2(readFileSync(path)));
  await index(channel);
  assert.ok(existsSync(`${path}.bz2`));
  written(join(channel, "noarch"), [b]);
  await index(channel);
  assert.ok(!existsSync(`${path}.bz2`));
});

test("shards that were deleted are made again, and nothing else is written", async () => {
  const channel = await channelOf([a, b]);
  const before = visible(channel);
  const [one] = shardsOf(channel);
  rmSync(join(channel, "noarch/shards", one as string));
  const report = await index(channel);
  assert.deepEqual(report.written, []);
  assert.deepEqual(Object.keys(visible(channel)), Object.keys(before));
  rmSync(join(channel, "noarch/shards"), { recursive: true });
  rmSync(join(channel, "noarch", b.fileName));
  await index(channel);
  assert.equal(shardsOf(channel).length, 1);
  assert.deepEqual((await index(channel)).written, []);
});

test("an empty file where an index should be is called that, and moved away it is made again", async () => {
  const channel = await channelOf([a]);
  const path = join(channel, "noarch/repodata.json");
  const before = readFileSync(path);
  for (const name of ["repodata.json", "run_exports.json"]) {
    const file = join(channel, "noarch", name);
    const was = readFileSync(file);
    writeFileSync(file, "");
    written(join(channel, "noarch"), [b]);
    await assert.rejects(index(channel), { code: "BAD_INDEX", why: "it is an empty file" });
    rmSync(join(channel, "noarch", b.fileName));
    rmSync(file);
    await index(channel);
    assert.deepEqual(readFileSync(file), was, name);
  }
  assert.deepEqual(readFileSync(path), before);
});

test("run_exports.json that was deleted, or is switched on again, is made though no package changed", async () => {
  const channel = await channelOf([buildConda({ name: "x", runExports: { weak: ["x >=1"] } })]);
  const file = join(channel, "noarch/run_exports.json");
  const was = readFileSync(file);
  rmSync(file);
  await index(channel, { settings: { write_run_exports: false } });
  assert.ok(!existsSync(file));
  await index(channel);
  assert.deepEqual(readFileSync(file), was);
  assert.deepEqual((await index(channel)).written, []);
});
