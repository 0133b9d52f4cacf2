import assert from "node:assert/strict";
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { decode } from "@msgpack/msgpack";
import { type IndexEvent, type IndexOptions, indexChannel, mirror } from "../src/main.ts";
import { type BuiltPackage, buildConda, buildTarBz2, built } from "./packages/builder.ts";
import { listed, repodata, temporary, visible, written } from "./support/folders.ts";

const a = buildConda({ name: "a", runExports: { weak: ["a >=1"] } });
const b = buildTarBz2({ name: "b", version: "2.0", subdir: "linux-64", runExports: ["b"] });
const c = buildConda({ name: "c", subdir: "linux-64" });
const warnings: string[] = [];

function channelOf(packages: Readonly<Record<string, readonly BuiltPackage[]>>): string {
  // Of one name, since pages tell it.
  const channel = join(temporary(), "channel");
  mkdirSync(channel);
  for (const [subdir, some] of Object.entries(packages)) {
    mkdirSync(join(channel, subdir));
    written(join(channel, subdir), some);
  }
  return channel;
}

function index(channel: string, options: Partial<IndexOptions> = {}) {
  warnings.length = 0;
  const onEvent = (e: IndexEvent) => e.type === "warning" && warnings.push(e.message);
  return indexChannel({ channel, env: {}, onEvent, threads: 1, ...options });
}

/** A shard of a channel in a folder, by package name, as any client finds it. */
function shard(channel: string, subdir: string, name: string): Record<string, Record<string, Record<string, unknown>>> {
  const read = (path: string) => decode(zstdDecompressSync(readFileSync(join(channel, subdir, path))));
  const { shards, info } = read("repodata_shards.msgpack.zst") as {
    shards: Record<string, Uint8Array>;
    info: { shards_base_url: string };
  };
  const hex = Buffer.from(shards[name] as Uint8Array).toString("hex");
  return read(`${info.shards_base_url}${hex}.msgpack.zst`) as ReturnType<typeof shard>;
}

test("a folder of packages becomes a channel with every file that clients read; again, nothing is read or written", async () => {
  const channel = channelOf({ noarch: [a], "linux-64": [b, c] });
  const report = await index(channel);
  assert.deepEqual([report.exitCode, report.read, report.kept, report.failed.length], [0, 3, 0, 0]);
  assert.deepEqual(listed(channel, "noarch"), [a.fileName]);
  assert.deepEqual(listed(channel, "linux-64"), [b.fileName, c.fileName].sort());
  for (const subdir of ["noarch", "linux-64"]) {
    const json = readFileSync(join(channel, subdir, "repodata.json"));
    assert.deepEqual(zstdDecompressSync(readFileSync(join(channel, subdir, "repodata.json.zst"))), json);
    const files = readdirSync(join(channel, subdir));
    for (const file of ["current_repodata.json", "run_exports.json", "repodata_shards.msgpack.zst", "shards"])
      assert.ok(files.includes(file), file);
  }
  const record = shard(channel, "linux-64", "b")["packages"]?.[b.fileName] as Record<string, unknown>;
  assert.equal(Buffer.from(record["sha256"] as Uint8Array).toString("hex"), b.sha256);
  assert.deepEqual(record["run_exports"], { weak: ["b"] }, "a bare list means weak");
  const exported = JSON.parse(readFileSync(join(channel, "noarch/run_exports.json"), "utf8"));
  assert.deepEqual(exported["packages.conda"], { [a.fileName]: { run_exports: { weak: ["a >=1"] } } });

  const before = visible(channel);
  const again = await index(channel);
  assert.deepEqual([again.read, again.kept, again.written], [0, 3, []]);
  assert.deepEqual(visible(channel), before);
});

test("the same packages give the same bytes, whatever happened before and however many threads read them", async () => {
  const one = channelOf({ noarch: [a], "linux-64": [b, c] });
  await index(one);
  const two = channelOf({ "linux-64": [c] });
  await index(two);
  mkdirSync(join(two, "noarch"), { recursive: true });
  written(join(two, "noarch"), [a]);
  written(join(two, "linux-64"), [b]);
  await index(two, { threads: 3 });
  for (const path of Object.keys(visible(one)))
    assert.deepEqual(readFileSync(join(two, path)), readFileSync(join(one, path)), path);
});

test("what our caches hold may be deleted: packages are read again, and nothing is written", async () => {
  const channel = channelOf({ noarch: [a], "linux-64": [b, c] });
  await index(channel);
  const before = visible(channel);
  rmSync(join(channel, ".meso-forge-mirror"), { recursive: true });
  const report = await index(channel);
  assert.deepEqual([report.read, report.written], [3, []]);
  assert.deepEqual(visible(channel), before);
  writeFileSync(join(channel, ".meso-forge-mirror/files.db"), "damaged");
  assert.deepEqual((await index(channel)).read, 3);
});

test("a package that is gone leaves the index and is named in removed; when it comes back it is listed again", async () => {
  const channel = channelOf({ noarch: [a], "linux-64": [b, c] });
  await index(channel);
  const place = join(channel, "linux-64", c.fileName);
  renameSync(place, join(channel, "aside"));
  const report = await index(channel);
  assert.deepEqual([report.removed, report.read, report.kept], [1, 0, 2]);
  assert.deepEqual(listed(channel, "linux-64"), [b.fileName]);
  assert.deepEqual(repodata(channel, "linux-64").removed, [c.fileName]);
  const exported = JSON.parse(readFileSync(join(channel, "linux-64/run_exports.json"), "utf8"));
  assert.deepEqual(Object.keys({ ...exported["packages.conda"], ...exported["packages"] }), [b.fileName]);
  assert.throws(() => shard(channel, "linux-64", "c"));
  renameSync(join(channel, "aside"), place);
  assert.equal((await index(channel)).read, 1);
  assert.deepEqual(repodata(channel, "linux-64").removed, []);
  assert.deepEqual(listed(channel, "linux-64"), [b.fileName, c.fileName].sort());
});

test("packages that lie elsewhere (base_url) are not missed", async () => {
  const channel = channelOf({ noarch: [a] });
  await index(channel, { settings: { base_url: "https://example.org/pool" } });
  assert.deepEqual(
    [repodata(channel, "noarch").info, repodata(channel, "noarch")["repodata_version"]],
    [{ subdir: "noarch", base_url: "https://example.org/pool/noarch/" }, 2],
  );
  rmSync(join(channel, "noarch", a.fileName));
  assert.equal((await index(channel)).removed, 0);
  assert.deepEqual(listed(channel, "noarch"), [a.fileName]);
  await index(channel, { settings: { base_url: "" } });
  assert.deepEqual([listed(channel, "noarch"), repodata(channel, "noarch")["repodata_version"]], [[], 1]);
});

test("a file that changed is read again: other size, other time, or another file of that time", async () => {
  const channel = channelOf({ noarch: [a] });
  await index(channel);
  const other = buildConda({ name: "a", depends: ["x"] });
  const place = join(channel, "noarch", a.fileName);
  writeFileSync(place, other.bytes);
  await index(channel);
  assert.equal(repodata(channel, "noarch")["packages.conda"][a.fileName]?.["sha256"], other.sha256);
  const time = new Date(1_600_000_000_000);
  utimesSync(place, time, time);
  assert.equal((await index(channel)).read, 1);
  copyFileSync(place, join(channel, "copy"));
  utimesSync(join(channel, "copy"), time, time);
  renameSync(join(channel, "copy"), place);
  assert.equal((await index(channel)).read, 1, "another inode");
});

test("a record that is there stays as it is while its package does: hot-fixes, unknown fields, when it was indexed", async () => {
  const channel = channelOf({ noarch: [a] });
  await index(channel);
  const path = join(channel, "noarch/repodata.json");
  const text = readFileSync(path, "utf8").replace(
    '"depends":[]',
    '"depends":["fixed"],"indexed_timestamp":5,"new_key":{}',
  );
  writeFileSync(path, text);
  writeFileSync(join(channel, "noarch/current_repodata.json"), "of another state");
  rmSync(join(channel, ".meso-forge-mirror"), { recursive: true });
  await index(channel);
  assert.equal(readFileSync(path, "utf8"), text);
  assert.deepEqual(shard(channel, "noarch", "a")["packages.conda"]?.[a.fileName]?.["depends"], ["fixed"]);
  assert.match(readFileSync(join(channel, "noarch/current_repodata.json"), "utf8"), /"fixed"/);
});

test("one bad package never stops the rest: each is named with its reason and left out, exit 1", async () => {
  const bad: BuiltPackage[] = [
    built("cut-1.0-0.conda", c.bytes.subarray(0, 300)),
    built("empty-1.0-0.tar.bz2", Buffer.alloc(0)),
    built("renamed-9-0.conda", c.bytes),
    built("nonsense.conda", c.bytes),
    built("page-1.0-0.conda", Buffer.from("<html>")),
  ];
  const channel = channelOf({ noarch: [a, c, ...bad], "linux-64": [b] });
  const report = await index(channel);
  assert.equal(report.exitCode, 1);
  const reasons = Object.fromEntries(report.failed.map((f) => [f.fileName, f.error.code]));
  assert.deepEqual(reasons, {
    "cut-1.0-0.conda": "DAMAGED",
    "empty-1.0-0.tar.bz2": "NOT_A_PACKAGE",
    "renamed-9-0.conda": "NAME_MISMATCH",
    "nonsense.conda": "BAD_NAME",
    "page-1.0-0.conda": "NOT_A_PACKAGE",
    [c.fileName]: "NAME_MISMATCH",
  });
  assert.deepEqual([listed(channel, "noarch"), listed(channel, "linux-64")], [[a.fileName], [b.fileName]]);
  // One that goes bad after it was listed is taken from the index: clients could not install it.
  writeFileSync(join(channel, "noarch", a.fileName), "damaged");
  assert.equal((await index(channel)).exitCode, 1);
  assert.deepEqual([listed(channel, "noarch"), repodata(channel, "noarch").removed], [[], []]);
});

test("a package that needs repodata v3 stands in v3 and nowhere else, and is counted", async () => {
  const v3 = buildConda({ name: "n", depends: ['a[when="__unix"]'] });
  const channel = channelOf({ noarch: [a, v3] });
  await index(channel);
  const json = repodata(channel, "noarch") as unknown as {
    info: Record<string, unknown>;
    v3: Record<string, Record<string, unknown>>;
  };
  assert.deepEqual(listed(channel, "noarch"), [a.fileName]);
  assert.deepEqual([Object.keys(json.v3["conda"] ?? {}), json.v3["tar.bz2"]], [["n-1.0-0"], {}]);
  assert.deepEqual(json.info["repodata_revisions"], { v3: { n_packages: 1 } });
  const inShard = shard(channel, "noarch", "n") as unknown as { v3: typeof json.v3 };
  assert.deepEqual(Object.keys(inShard.v3["conda"] ?? {}), ["n-1.0-0"]);
  assert.deepEqual((await index(channel)).written, []);
  rmSync(join(channel, "noarch", v3.fileName));
  await index(channel);
  assert.deepEqual(repodata(channel, "noarch").info, { subdir: "noarch" });
});

test("packages in folders that are no subdir are told of, and so is a channel that isn't there", async () => {
  const channel = channelOf({ noarch: [a], broken: [c] });
  await index(channel);
  assert.match(warnings.join(), /^broken\/ holds packages and is left out/);
  await assert.rejects(index(join(channel, "nowhere")), /no such channel/);
  written(channel, [a]);
  await index(channel);
  assert.match(warnings.join("\n"), /packages that lie right in .* are left out/);
  await assert.rejects(index(channel, { subdirs: ["linux-64"] }), /the channel has no such folder/);
});

test("files that are switched off are not written, and go when the index changes", async () => {
  const channel = channelOf({ noarch: [a] });
  await index(channel);
  written(join(channel, "noarch"), [buildConda({ name: "z" })]);
  const off = { write_shards: false, write_zst: false, write_current_repodata: false, write_run_exports: false };
  await index(channel, { settings: off });
  const files = readdirSync(join(channel, "noarch")).filter((f) => !f.endsWith(".conda"));
  assert.deepEqual(files.filter((f) => f !== "shards" && !f.endsWith(".html")).sort(), ["repodata.json"]);
});

test("a shard stays for its grace period after the last index that named it, and goes then", async () => {
  const channel = channelOf({ noarch: [a] });
  const day = 24 * 60 * 60 * 1000;
  const at = (days: number) => ({ now: () => 1_800_000_000_000 + days * day });
  const shards = () => readdirSync(join(channel, "noarch/shards")).length;
  await index(channel, at(0));
  writeFileSync(join(channel, "noarch", a.fileName), buildConda({ name: "a", depends: ["x"] }).bytes);
  await index(channel, at(1));
  assert.equal(shards(), 2);
  await index(channel, at(7));
  assert.equal(shards(), 2);
  await index(channel, at(8));
  assert.equal(shards(), 1);
  assert.ok(shard(channel, "noarch", "a"), "the one that is named is there");
  // A run that died before it noted what it left behind, or notes that were deleted: nothing stays for good.
  writeFileSync(join(channel, "noarch", a.fileName), buildConda({ name: "a", depends: ["y"] }).bytes);
  await index(channel, at(9));
  rmSync(join(channel, ".meso-forge-mirror"), { recursive: true });
  await index(channel, at(10));
  assert.equal(shards(), 2);
  await index(channel, at(17));
  assert.equal(shards(), 1);
});

test("an unchanged shard keeps its file, one that a crash cut is written again", async () => {
  const channel = channelOf({ noarch: [a, buildConda({ name: "z" })] });
  await index(channel);
  const folder = join(channel, "noarch/shards");
  const before = visible(folder);
  written(join(channel, "noarch"), [buildConda({ name: "y" })]);
  await index(channel);
  const after = visible(folder);
  for (const [file, stamp] of Object.entries(before)) assert.equal(after[file], stamp);
  const [cut] = Object.keys(after) as [string];
  writeFileSync(join(folder, cut), "");
  rmSync(join(channel, ".meso-forge-mirror"), { recursive: true });
  await index(channel);
  assert.deepEqual(Object.keys(visible(folder)), Object.keys(after));
  assert.notEqual(readFileSync(join(folder, cut)).length, 0);
});

test("channeldata.json and the pages tell of every subdir's index, whoever wrote it and whatever this run looked at", async () => {
  const channel = channelOf({ noarch: [a], "linux-64": [b, c] });
  await index(channel);
  const named = () => {
    const { packages, subdirs } = JSON.parse(readFileSync(join(channel, "channeldata.json"), "utf8"));
    const page = readFileSync(join(channel, "index.html"), "utf8");
    for (const subdir of subdirs) assert.ok(page.includes(subdir), subdir);
    return [...Object.keys(packages), ...subdirs].join(" ");
  };
  assert.equal(named(), "a b c linux-64 noarch");
  written(join(channel, "noarch"), [buildConda({ name: "d" })]);
  await index(channel, { subdirs: ["noarch"] });
  assert.equal(named(), "a b c d linux-64 noarch");
  const source = temporary();
  await mirror({ sources: written(source, [buildConda({ name: "e" })]), target: channel, env: {} });
  await index(channel);
  assert.equal(named(), "a b c d e linux-64 noarch");
  assert.deepEqual((await index(channel)).written, []);
});

test("index and mirror meet in one channel, and nothing is lost", async () => {
  const channel = channelOf({ noarch: [a], "linux-64": [b] });
  const source = temporary();
  const more = Array.from({ length: 20 }, (_, i) => buildConda({ name: `m${i}` }));
  written(source, more);
  const runs = [
    index(channel),
    ...more.map((p) => mirror({ sources: [join(source, p.fileName)], target: channel, env: {} })),
    index(channel),
  ];
  for (const { exitCode } of await Promise.all(runs)) assert.equal(exitCode, 0);
  assert.deepEqual(listed(channel, "noarch"), [a, ...more].map((p) => p.fileName).sort());
  for (const p of more) assert.ok(shard(channel, "noarch", p.fileName.split("-")[0] as string));
});

test("an interrupted run indexes what it read, and the next one goes on", async () => {
  const some = Array.from({ length: 200 }, (_, i) => buildConda({ name: `p${i}` }));
  const channel = channelOf({ noarch: some });
  const stop = new AbortController();
  let read = 0;
  const onEvent = (e: IndexEvent) => {
    if (e.type === "read" && ++read === 10) stop.abort();
  };
  const report = await index(channel, { signal: stop.signal, onEvent });
  assert.deepEqual([report.exitCode, report.interrupted], [130, true]);
  assert.equal(listed(channel, "noarch").length, report.read);
  assert.ok(report.read >= 10 && report.read < 200);
  const next = await index(channel);
  assert.equal(next.read, 200 - report.read);
  assert.equal(listed(channel, "noarch").length, 200);
});

test("what was read of one subdir is indexed when the run is interrupted before the others; before the first, nothing is touched", async () => {
  const some = Array.from({ length: 20 }, (_, i) => buildConda({ name: `p${i}`, subdir: "linux-64", build: "h0_0" }));
  const channel = channelOf({ "linux-64": some, noarch: [a], "osx-64": [] });
  const stop = new AbortController();
  const onEvent = (e: IndexEvent) => {
    if (e.type === "read" && e.subdir === "linux-64") stop.abort();
  };
  const files = visible(channel);
  const before = await index(channel, { signal: AbortSignal.abort() });
  assert.deepEqual([before.exitCode, before.interrupted, before.written], [130, true, []]);
  assert.deepEqual(visible(channel), files);
  const report = await index(channel, { signal: stop.signal, onEvent });
  assert.deepEqual([report.exitCode, report.interrupted, report.read > 0], [130, true, true]);
  assert.equal(listed(channel, "linux-64").length, report.read);
  const next = await index(channel);
  assert.deepEqual([next.exitCode, next.read], [0, 21 - report.read]);
});

test("names that hide a whole index from pixi go, with their records, and are told of; files stay", async () => {
  const target = temporary();
  const [path] = written(temporary(), [a]) as [string];
  mkdirSync(join(target, "noarch"));
  const bad = { name: "foo", version: "1", build: "0", build_number: 0 };
  const before = { info: { subdir: "noarch" }, packages: {}, "packages.conda": { "foo.conda": bad } };
  const write = (more: object) => writeFileSync(join(target, "noarch/repodata.json"), JSON.stringify(more));
  write({ ...before, removed: ["garbage", "gone-1-0.conda"] });
  const said: string[] = [];
  const onEvent = (e: { type: string; message?: string }) => e.type === "warning" && said.push(e.message ?? "");
  writeFileSync(join(target, "noarch/foo.conda"), "x");
  await mirror({ sources: [path], target, env: {}, onEvent });
  assert.deepEqual(repodata(target, "noarch").removed, ["gone-1-0.conda"]);
  assert.deepEqual(listed(target, "noarch"), [a.fileName]);
  assert.equal(readFileSync(join(target, "noarch/foo.conda"), "utf8"), "x");
  assert.match(
    said.join("\n"),
    /"garbage" is no package's name and goes.*\n.*"foo\.conda" is no package's name, and pixi.*its record goes, its file stays/,
  );
  assert.deepEqual(Object.keys(shard(target, "noarch", "a")["packages.conda"] ?? {}), [a.fileName]);
  // What lies elsewhere is not looked at.
  const elsewhere = { ...before.info, base_url: "https://example.org/pool/" };
  write({ ...before, info: elsewhere, packages: { foo: bad }, v3: { conda: { bar: { ...bad, name: "bar" } } } });
  await index(target);
  const { packages, "packages.conda": conda, v3 } = repodata(target, "noarch");
  assert.deepEqual([packages, Object.keys(conda), v3], [{}, [a.fileName], { conda: {}, "tar.bz2": {} }]);
  // The file that is there was read, and is told of as one that is no package.
  assert.match(warnings.join("\n"), /"foo" is no package's name.*\n.*"bar\.conda" is no package's name/);
  write({ ...before, "packages.conda": {}, removed: ["x"] });
  await index(target);
  assert.deepEqual(repodata(target, "noarch").removed, []);
});

test("an index with a revision that nobody knows yet is not written over, and nothing is put beside it", async () => {
  const [path] = written(temporary(), [a]) as [string];
  for (const section of ["v4", "V3", "v03"]) {
    const target = temporary();
    mkdirSync(join(target, "noarch"));
    const text = JSON.stringify({ info: { subdir: "noarch" }, packages: {}, "packages.conda": {}, [section]: {} });
    writeFileSync(join(target, "noarch/repodata.json"), text);
    const refused = new RegExp(`section ${section}, whose meaning`);
    await assert.rejects(mirror({ sources: [path], target, env: {} }), refused);
    await assert.rejects(index(target), refused);
    assert.deepEqual(Object.keys(visible(target)), ["noarch/repodata.json"]);
    assert.equal(readFileSync(join(target, "noarch/repodata.json"), "utf8"), text);
  }
});

test("a package that a patch hides goes from what the index is made of when its file goes, with and without notes", async () => {
  for (const notes of [true, false]) {
    const channel = channelOf({ "linux-64": [b, c] });
    const folder = temporary();
    mkdirSync(join(folder, "linux-64"));
    const patched = (remove: readonly string[]): Promise<unknown> => {
      const instructions = { patch_instructions_version: 1, packages: {}, "packages.conda": {}, revoke: [], remove };
      writeFileSync(join(folder, "linux-64/patch_instructions.json"), JSON.stringify(instructions));
      return index(channel, { patch: folder });
    };
    await patched([c.fileName]);
    assert.deepEqual(listed(channel, "linux-64"), [b.fileName]);
    rmSync(join(channel, "linux-64", c.fileName));
    if (!notes) rmSync(join(channel, ".meso-forge-mirror"), { recursive: true });
    const { removed } = await index(channel);
    assert.equal(removed, 1);
    const from = JSON.parse(readFileSync(join(channel, "linux-64/repodata_from_packages.json"), "utf8"));
    assert.deepEqual([Object.keys(from.packages), from["packages.conda"]], [[b.fileName], {}]);
    const exported = JSON.parse(readFileSync(join(channel, "linux-64/run_exports.json"), "utf8"));
    assert.deepEqual([Object.keys(exported.packages), exported["packages.conda"]], [[b.fileName], {}]);
    // A patch that no longer hides it has nothing to show.
    await patched([]);
    assert.deepEqual(listed(channel, "linux-64"), [b.fileName]);
    assert.deepEqual((await index(channel)).written, []);
  }
});
