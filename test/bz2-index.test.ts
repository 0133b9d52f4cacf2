import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { indexChannel, type MirrorEvent, mirror } from "../src/main.ts";
import { buildConda, buildTarBz2, bzip2 } from "./packages/builder.ts";
import { listed, temporary, visible, written } from "./support/folders.ts";

const a = buildConda({ name: "a" });
const record = '{"build":"0","build_number":0,"depends":[],"name":"old","version":"1","later":[1]}';
const index = Buffer.from(`{"info":{"subdir":"noarch"},"packages":{},"packages.conda":{"old-1-0.conda":${record}}}`);

/** A target with a package to bring, and the index files given. */
function targetWith(files: Readonly<Record<string, Uint8Array>>) {
  const [source, target] = [temporary(), temporary()];
  written(source, [a]);
  mkdirSync(join(target, "noarch"));
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(target, "noarch", name), bytes);
  const take = (onEvent?: (e: MirrorEvent) => void) =>
    mirror({ sources: [source], target, env: {}, ...(onEvent ? { onEvent } : {}) });
  return { target, take };
}

test("a subdir whose only index is repodata.json.bz2 is read from it, and keeps what that lists", async () => {
  const { target, take } = targetWith({ "repodata.json.bz2": bzip2(index) });
  assert.equal((await take()).exitCode, 0);
  assert.deepEqual(listed(target, "noarch"), [a.fileName, "old-1-0.conda"]);
  assert.ok(readFileSync(join(target, "noarch/repodata.json"), "utf8").includes(record));
});

test("the only form of an index stays until there is a new repodata.json, also when it is not written any more", async () => {
  const { target, take } = targetWith({ "repodata.json.bz2": bzip2(index) });
  let removed = 0;
  await take((e) => {
    if (e.type !== "warning" || !/repodata\.json\.bz2 was removed/.test(e.message)) return;
    removed++;
    assert.ok(readFileSync(join(target, "noarch/repodata.json"), "utf8").includes(record));
  });
  assert.equal(removed, 1);
  assert.equal(existsSync(join(target, "noarch/repodata.json.bz2")), false);
});

test("an index that is damaged, or there as shards alone, is refused and stays as it is", async () => {
  const damaged = bzip2(index);
  damaged[30] = (damaged[30] as number) ^ 1;
  for (const [name, bytes, why] of [
    ["repodata.json.bz2", damaged, /block/],
    ["repodata.json.bz2", bzip2(index.subarray(0, -9)), /./],
    ["repodata_shards.msgpack.zst", Buffer.from("any"), /only index/],
  ] as const) {
    const { target, take } = targetWith({ [name]: bytes });
    await assert.rejects(take(), (e: { code: string; what: string; why: string }) => {
      assert.match(e.why, why);
      return e.code === "BAD_INDEX" && e.what.includes(name);
    });
    assert.deepEqual(readFileSync(join(target, "noarch", name)), bytes);
    assert.equal(existsSync(join(target, "noarch/repodata.json")), false);
  }
});

/** What Python makes of a `.bz2`. */
function unpacked(path: string): Buffer {
  const run = spawnSync("python3", [
    "-c",
    "import bz2,sys; sys.stdout.buffer.write(bz2.open(sys.argv[1]).read())",
    path,
  ]);
  assert.equal(run.status, 0, String(run.stderr));
  return run.stdout;
}

test("index --bz2: repodata.json.bz2 holds repodata.json's bytes, and follows it", async () => {
  const channel = temporary();
  const subdirs = ["linux-64", "noarch"];
  for (const subdir of subdirs) mkdirSync(join(channel, subdir));
  written(join(channel, "noarch"), [a, buildConda({ name: "b", depends: ["a"] })]);
  written(join(channel, "linux-64"), [buildTarBz2({ name: "c", subdir: "linux-64" })]);
  const run = (bz2: boolean) =>
    indexChannel({ channel, env: {}, threads: 1, settings: { write_bz2: bz2, write_html: false } });
  const holdsAll = () => {
    for (const subdir of subdirs) {
      const json = readFileSync(join(channel, subdir, "repodata.json"));
      assert.ok(unpacked(join(channel, subdir, "repodata.json.bz2")).equals(json), subdir);
    }
  };
  const program = new URL("../src/cli/main.ts", import.meta.url).pathname;
  const first = spawnSync(process.execPath, [program, "index", channel, "--bz2", "--no-html"], {
    env: { PATH: process.env["PATH"] },
  });
  assert.equal(first.status, 0, String(first.stderr));
  holdsAll();

  const before = visible(channel);
  assert.deepEqual((await run(true)).written, []);
  assert.deepEqual(visible(channel), before, "an unchanged run writes nothing");

  // What another program left there is replaced.
  const path = join(channel, "noarch/repodata.json.bz2");
  const ours = readFileSync(path);
  writeFileSync(path, bzip2(Buffer.from("stale")));
  assert.deepEqual((await run(true)).written, ["noarch/repodata.json.bz2"]);
  assert.deepEqual(readFileSync(path), ours);

  written(join(channel, "linux-64"), [buildConda({ name: "d", subdir: "linux-64" })]);
  const grown = await run(true);
  const order = grown.written.filter((path) => path.includes("/repodata.json"));
  assert.deepEqual(order, ["linux-64/repodata.json.zst", "linux-64/repodata.json.bz2", "linux-64/repodata.json"]);
  holdsAll();

  written(join(channel, "linux-64"), [buildConda({ name: "e", subdir: "linux-64" })]);
  await run(false);
  assert.equal(existsSync(join(channel, "linux-64/repodata.json.bz2")), false, "a stale one would hide packages");
});
