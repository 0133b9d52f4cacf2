import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type IndexOptions, indexChannel } from "../src/main.ts";
import { type BuiltPackage, buildConda } from "./packages/builder.ts";
import { listed, repodata, temporary, visible, written } from "./support/folders.ts";

const a = buildConda({ name: "a" });
const b = buildConda({ name: "b" });
const c = buildConda({ name: "c", subdir: "linux-64" });
const warnings: string[] = [];

function channelOf(packages: Readonly<Record<string, readonly BuiltPackage[]>>): string {
  const channel = temporary();
  for (const [subdir, some] of Object.entries(packages)) {
    mkdirSync(join(channel, subdir), { recursive: true });
    written(join(channel, subdir), some);
  }
  return channel;
}

function index(channel: string, options: Partial<IndexOptions> = {}) {
  warnings.length = 0;
  const onEvent: IndexOptions["onEvent"] = (e) => e.type === "warning" && warnings.push(e.message);
  return indexChannel({ channel, env: {}, onEvent, threads: 1, ...options });
}

test("folders that only look like a subdir are left alone: a client must know the name, or packages or an index lie there", async () => {
  const channel = channelOf({
    noarch: [a],
    "old-stuff": [],
    "conda-forge/noarch": [b],
    "amiga-68k": [],
    "beos-86": [],
  });
  writeFileSync(join(channel, "old-stuff/readme.txt"), "mine");
  written(join(channel, "beos-86"), [buildConda({ name: "d", subdir: "beos-86" })]);
  const report = await index(channel);
  assert.deepEqual(report.subdirs.map((s) => s.subdir).sort(), ["beos-86", "noarch"]);
  assert.deepEqual(readdirSync(join(channel, "old-stuff")), ["readme.txt"]);
  assert.deepEqual(readdirSync(join(channel, "conda-forge")), ["noarch"]);
  assert.deepEqual(warnings.sort(), [
    "beos-86/ has the name of no platform that a client knows",
    "conda-forge/ is left out: it seems to be a channel of its own",
  ]);
  await index(channel, { subdirs: ["amiga-68k"] });
  assert.ok(existsSync(join(channel, "amiga-68k/repodata.json")), "who asks for it gets it");
});

test("a folder of channels, and a subdir that was taken for the channel, are refused before anything is written", async () => {
  const above = channelOf({ "team-a/noarch": [a], "team-b/linux-64": [c], "team-b/noarch": [] });
  const before = readdirSync(above, { recursive: true }).sort();
  await assert.rejects(index(above), { code: "BAD_TARGET", why: /channels seem to lie in it: team-a, team-b$/ });
  await assert.rejects(index(join(above, "team-b/linux-64")), { code: "BAD_TARGET", next: /give .*team-b instead$/ });
  assert.deepEqual(readdirSync(above, { recursive: true }).sort(), before);
  assert.equal((await index(join(above, "team-b"))).exitCode, 0);
});

test("links at the top lead to subdirs, or are no subdirs: to a file, or to nowhere", async () => {
  const channel = channelOf({ noarch: [a], "elsewhere/linux-64": [c] });
  const elsewhere = join(channel, "elsewhere");
  symlinkSync(join(elsewhere, "linux-64"), join(channel, "linux-64"));
  writeFileSync(join(elsewhere, "file"), "");
  symlinkSync(join(elsewhere, "file"), join(channel, "osx-64"));
  symlinkSync(join(elsewhere, "gone"), join(channel, "win-64"));
  symlinkSync(join(channel, "osx-arm64"), join(channel, "osx-arm64"));
  const report = await index(channel);
  assert.deepEqual(report.subdirs.map((s) => s.subdir).sort(), ["linux-64", "noarch"]);
  assert.deepEqual(
    warnings.sort(),
    ["osx-arm64", "win-64"].map((name) => `${name} is a link that leads nowhere, and is left out`),
  );
  assert.deepEqual(listed(channel, "linux-64"), [c.fileName]);
});

test("packages that are links to a pool are indexed, and keep their records while the pool is not there", async () => {
  const [channel, pool] = [channelOf({ noarch: [b] }), temporary()];
  written(pool, [a]);
  symlinkSync(join(pool, a.fileName), join(channel, "noarch", a.fileName));
  await index(channel);
  const before = repodata(channel, "noarch");
  assert.deepEqual(listed(channel, "noarch"), [a.fileName, b.fileName]);
  const seen = visible(channel);
  renameSync(pool, `${pool}-unmounted`);
  for (let i = 0; i < 2; i++) {
    const report = await index(channel);
    assert.deepEqual(
      [report.exitCode, report.failed.map((f) => f.error.what)],
      [1, [`noarch/${a.fileName}: could not be read`]],
    );
    assert.deepEqual(repodata(channel, "noarch"), before);
  }
  renameSync(`${pool}-unmounted`, pool);
  assert.deepEqual([(await index(channel)).exitCode, visible(channel)], [0, seen]);
  rmSync(join(channel, "noarch", a.fileName));
  await index(channel);
  assert.deepEqual(listed(channel, "noarch"), [b.fileName]);
});

test("each package that fails is told with its subdir: two may have files of one name", async () => {
  const channel = channelOf({ noarch: [a], "linux-64": [c] });
  for (const subdir of ["noarch", "linux-64"]) {
    writeFileSync(join(channel, subdir, "bad-1.0-0.conda"), "no zip");
    writeFileSync(join(channel, subdir, "bad.conda"), "no name");
  }
  const report = await index(channel);
  const told = report.failed.map((f) => f.error.what);
  for (const subdir of ["noarch", "linux-64"])
    for (const name of ["bad-1.0-0.conda", "bad.conda"])
      assert.equal(told.filter((what) => what.startsWith(`${subdir}/${name}`)).length, 1, told.join("\n"));
});
