import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { indexChannel } from "../src/index-channel.ts";
import type { MirrorOptions } from "../src/main.ts";
import { type BuiltPackage, buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { channelOf } from "./support/channels.ts";
import { listed, repodata, temporary, visible, written } from "./support/folders.ts";
import { runAt, upstreamOf } from "./support/upstream.ts";

const DAY = 24 * 60 * 60 * 1000;
const NOW = Date.parse("2026-01-31T00:00:00Z");
const linux = { subdir: "linux-64", build: "h0_0" };
const WHOLE = { write_shards: false };

const a1 = buildConda({ name: "a", version: "1.0" });
const a2 = buildConda({ name: "a", version: "2.0", depends: ["b"] });
const b = buildConda({ name: "b", ...linux });
const c = buildConda({ name: "c", ...linux });
const many = Array.from({ length: 12 }, (_, i) => buildConda({ name: `m${i}`, ...linux }));

for (const [form, settings, file] of [
  ["shards", {}, "repodata_shards.msgpack.zst"],
  ["a whole index", WHOLE, "repodata.json.zst"],
] as const) {
  test(`a channel with ${form} that did not change costs one request a subdir, answered by 304, and nothing is written`, async () => {
    const upstream = await upstreamOf([a1, b, c], settings);
    const target = temporary();
    const first = await runAt(NOW, { sources: [upstream.server.url], target });
    assert.deepEqual([first.added, first.kept, first.exitCode], [3, 0, 0]);
    upstream.asked();
    const before = visible(target);
    const again = await runAt(NOW + 1000, { sources: [upstream.server.url], target });
    assert.deepEqual([again.added, again.kept, again.exitCode], [0, 3, 0]);
    assert.deepEqual(upstream.asked(), [`linux-64/${file}`, `noarch/${file}`]);
    assert.deepEqual(visible(target), before);
    // What is remembered is a cache.
    rmSync(join(target, ".meso-forge-mirror"), { recursive: true });
    const anew = await runAt(NOW + 2000, { sources: [upstream.server.url], target });
    assert.deepEqual([anew.added, anew.kept, anew.bytes], [0, 3, 0]);
    assert.deepEqual(Object.keys(visible(target)), Object.keys(before));
  });
}

test("what is remembered counts for one target, one set of rules and one state of the target alone", async () => {
  const upstream = await upstreamOf([a1, a2, b, c]);
  const sources = [upstream.server.url];
  const target = temporary();
  await runAt(NOW, { sources, target, include: ["a"] });
  assert.equal((await runAt(NOW, { sources, target })).added, 2, "other rules");
  assert.equal((await runAt(NOW, { sources, target: temporary() })).added, 4, "another target");
  rmSync(join(target, "linux-64"), { recursive: true });
  assert.equal((await runAt(NOW, { sources, target })).added, 2, "its index is gone");
  await indexChannel({ channel: target, env: {}, threads: 1 });
  assert.deepEqual((await runAt(NOW, { sources, target })).kept, 4);
});

test("of a sharded index only what changed is fetched, and what went is noticed", async () => {
  const upstream = await upstreamOf([a1, b, ...many]);
  const sources = [upstream.server.url];
  const target = temporary();
  await runAt(NOW, { sources, target });
  await upstream.become([a1, a2, b, c, ...many.slice(1)]);
  upstream.asked();
  const report = await runAt(NOW, { sources, target, delete: true });
  assert.deepEqual([report.added, report.removed, report.exitCode], [2, 1, 0]);
  const shards = upstream.asked().filter((p) => p.includes("/shards/"));
  // The rules are others than before (--delete), so all is read once; from then on the changes alone.
  assert.equal(shards.length, 2 + many.length + 0);
  await upstream.become([a1, a2, b, ...many.slice(1)]);
  const next = await runAt(NOW, { sources, target, delete: true });
  const left = [a1, a2, b, ...many.slice(1)].length;
  assert.deepEqual([next.added, next.removed, next.kept], [0, 1, left]);
  assert.deepEqual(
    upstream.asked().filter((p) => p.includes("/shards/")),
    [],
  );
  assert.equal((await runAt(NOW, { sources, target, delete: true })).kept, left, "what is remembered says the same");
  assert.deepEqual(listed(target, "linux-64"), [b, ...many.slice(1)].map((p) => p.fileName).sort());
  await upstream.become([a1, a2, b, c, ...many.slice(1)]);
  const more = await runAt(NOW, { sources, target, delete: true });
  assert.deepEqual([more.added, more.removed], [1, 0]);
  assert.equal(upstream.asked().filter((p) => p.includes("/shards/")).length, 1);
});

test("with --delete records go at once, files when their grace period is over, and what comes back stays", async () => {
  const upstream = await upstreamOf([a1, b, c, ...many]);
  const [sources, target] = [[upstream.server.url], temporary()];
  await runAt(NOW, { sources, target, delete: true });
  await upstream.become([a1, c, ...many]);
  const plan = (await runAt(NOW, { sources, target, delete: true, dryRun: true })).plan ?? [];
  assert.deepEqual(
    plan.map((s) => `${s.do} ${s.subdir}/${s.fileName}`),
    [`remove linux-64/${b.fileName}`],
  );
  assert.equal((await runAt(NOW, { sources, target })).removed, 0, "without the flag nothing goes");
  const report = await runAt(NOW, { sources, target, delete: true });
  assert.equal(report.removed, 1);
  assert.ok(!listed(target, "linux-64").includes(b.fileName));
  assert.ok(!repodata(target, "linux-64").removed.includes(b.fileName));
  const file = join(target, "linux-64", b.fileName);
  assert.ok(existsSync(file), "clients with an older index still fetch it");
  // `index` does not take it up again.
  await indexChannel({ channel: target, env: {}, threads: 1, now: () => NOW });
  assert.ok(!listed(target, "linux-64").includes(b.fileName));
  await runAt(NOW + 6 * DAY, { sources, target, delete: true });
  assert.ok(existsSync(file));
  await upstream.become([a1, b, c, ...many]);
  const back = await runAt(NOW + 6.5 * DAY, { sources, target, delete: true });
  assert.deepEqual([back.added, back.exitCode], [1, 0]);
  await runAt(NOW + 8 * DAY, { sources, target, delete: true });
  assert.ok(existsSync(file), "it is listed again");
  await upstream.become([a1, c, ...many]);
  await runAt(NOW + 9 * DAY, { sources, target, delete: true });
  await runAt(NOW + 16.5 * DAY, { sources, target, delete: true });
  assert.ok(!existsSync(file));
  assert.ok(existsSync(join(target, "linux-64", c.fileName)));
});

test("files that nobody noted, since the state was lost, go after a grace period too", async () => {
  const upstream = await upstreamOf([a1, b, c, ...many]);
  const [sources, target] = [[upstream.server.url], temporary()];
  await runAt(NOW, { sources, target, delete: true });
  await upstream.become([a1, c, ...many]);
  await runAt(NOW, { sources, target, delete: true });
  rmSync(join(target, ".meso-forge-mirror"), { recursive: true });
  await upstream.become([a1, ...many]);
  await runAt(NOW + DAY, { sources, target, delete: true });
  await runAt(NOW + 7.5 * DAY, { sources, target, delete: true });
  assert.ok(existsSync(join(target, "linux-64", b.fileName)), "its time began when it was found");
  await runAt(NOW + 8.5 * DAY, { sources, target, delete: true });
  assert.deepEqual(
    readdirSync(join(target, "linux-64"))
      .filter((f) => f.endsWith(".conda"))
      .sort(),
    many.map((p) => p.fileName).sort(),
  );
});

test("without a grace period too, what another run has put in place and not yet listed stays", async () => {
  const upstream = await upstreamOf([a1, b, c, ...many]);
  const [sources, target] = [[upstream.server.url], temporary()];
  const options = { sources, target, delete: true, settings: { delete_grace_days: 0 } };
  await runAt(NOW, options);
  const other = buildConda({ name: "other", ...linux });
  const [path] = written(join(target, "linux-64"), [other]) as [string];
  await upstream.become([a1, c, ...many]);
  await runAt(NOW, options);
  assert.ok(!existsSync(join(target, "linux-64", b.fileName)), "what was taken out goes at once");
  assert.ok(existsSync(path));
  await runAt(NOW + 1.5 * DAY, options);
  assert.ok(!existsSync(path));
});

test("--keep-removed takes records from the index, tells of them as taken back, and leaves their files for ever", async () => {
  const upstream = await upstreamOf([b, c, ...many]);
  const [sources, target] = [[upstream.server.url], temporary()];
  const options = { sources, target, delete: true, keepRemoved: true };
  await runAt(NOW, options);
  await upstream.become([c, ...many]);
  assert.equal((await runAt(NOW, options)).removed, 1);
  assert.ok(!listed(target, "linux-64").includes(b.fileName));
  assert.deepEqual(repodata(target, "linux-64").removed, [b.fileName]);
  await runAt(NOW + 100 * DAY, options);
  assert.ok(existsSync(join(target, "linux-64", b.fileName)));
});

test("a run that would empty the mirror because upstream hiccuped stops before anything is changed", async () => {
  const upstream = await upstreamOf([a1, b, c, ...many]);
  const [sources, target] = [[upstream.server.url], temporary()];
  await runAt(NOW, { sources, target });
  const before = visible(target);
  await upstream.become([a1, a2]);
  for (const maxDelete of [undefined, "50%", "13"]) {
    const limit = maxDelete === undefined ? {} : { maxDelete };
    await assert.rejects(runAt(NOW, { sources, target, delete: true, ...limit }), { code: "MAX_DELETE", exitCode: 3 });
    assert.deepEqual(visible(target), before);
  }
  const report = await runAt(NOW, { sources, target, delete: true, maxDelete: "100%" });
  assert.deepEqual([report.added, report.removed], [1, 14]);
  await assert.rejects(runAt(NOW, { sources, target, maxDelete: "5%" }), { code: "BAD_FLAG" });
  await assert.rejects(runAt(NOW, { sources, target, delete: true, maxDelete: "some" }), { code: "BAD_FLAG" });
});

test("a subdir that can't be read takes nothing with it, and the others are followed", async () => {
  const upstream = await upstreamOf([a1, b, c, ...many], WHOLE);
  const [sources, target] = [[upstream.server.url], temporary()];
  await runAt(NOW, { sources, target, delete: true });
  await upstream.become([a1, a2, c, ...many], (files) => {
    for (const form of ["", ".zst"]) files[`linux-64/repodata.json${form}`] = Buffer.from("{");
  });
  const report = await runAt(NOW, { sources, target, delete: true });
  assert.deepEqual([report.exitCode, report.added, report.removed], [1, 1, 0]);
  assert.equal(listed(target, "linux-64").length, 2 + many.length);
});

test("a package that could not be looked into for the rules stays, and what else would go with it", async () => {
  const server = await fileServer(Object.fromEntries([a1, b, c].map((p) => [p.fileName, p.bytes])));
  const sources = [a1, b, c].map((p) => `${server.url}/${p.fileName}`);
  const target = temporary();
  await runAt(NOW, { sources, target, include: ["*"], delete: true });
  server.misdeeds.set(b.fileName, [{ status: 500 }]);
  const options = { sources: sources.slice(0, 2), target, include: ["*"], delete: true };
  const hiccup = await runAt(NOW, options);
  assert.deepEqual([hiccup.removed, hiccup.failed, hiccup.exitCode], [0, 1, 1]);
  assert.deepEqual(listed(target, "linux-64"), [b.fileName, c.fileName]);
  const again = await runAt(NOW, options);
  assert.deepEqual([again.removed, again.exitCode], [1, 0]);
  assert.deepEqual(listed(target, "linux-64"), [b.fileName]);
});

test("a package that fails leaves the rest published, and is tried again next time", async () => {
  const upstream = await upstreamOf([a1, b, c]);
  const [sources, target] = [[upstream.server.url], temporary()];
  upstream.server.misdeeds.set(`linux-64/${b.fileName}`, [{ status: 500 }, { status: 404 }]);
  for (const added of [2, 0]) {
    const report = await runAt(NOW, { sources, target, delete: true });
    assert.deepEqual([report.exitCode, report.added, report.failed], [1, added, 1]);
    assert.deepEqual(listed(target, "linux-64"), [c.fileName]);
  }
  assert.deepEqual((await runAt(NOW, { sources, target, delete: true })).added, 1);
});

test("a file of the same name and other bytes is noticed by its hash, and treated as --on-conflict says", async () => {
  const upstream = await upstreamOf([b, c]);
  const [sources, target] = [[upstream.server.url], temporary()];
  await runAt(NOW, { sources, target });
  const other = buildConda({ name: "b", ...linux, depends: ["c"] });
  await upstream.become([other, c]);
  const refused = await runAt(NOW, { sources, target, delete: true });
  assert.deepEqual([refused.exitCode, refused.failed, refused.removed], [1, 1, 0]);
  assert.equal((await runAt(NOW, { sources, target, onConflict: "skip" })).skipped, 1);
  const record = () => repodata(target, "linux-64")["packages.conda"][b.fileName]?.["sha256"];
  assert.equal(record(), b.sha256);
  assert.equal((await runAt(NOW, { sources, target, onConflict: "replace" })).replaced, 1);
  assert.equal(record(), other.sha256);
  assert.ok(other.bytes.equals(readFileSync(join(target, "linux-64", b.fileName))));
});

test("what a channel took back is taken back here too, also where its record was left standing", async () => {
  const upstream = await upstreamOf([b, c, ...many], WHOLE);
  const [sources, target] = [[upstream.server.url], temporary()];
  await runAt(NOW, { sources, target });
  await upstream.become([b, c, ...many], (files) => {
    delete files["linux-64/repodata.json.zst"];
    const index = JSON.parse(Buffer.from(files["linux-64/repodata.json"] as Uint8Array).toString()) as {
      removed: string[];
    };
    index.removed = [b.fileName, "gone-1.0-0.conda", "no package"];
    files["linux-64/repodata.json"] = Buffer.from(JSON.stringify(index));
  });
  const report = await runAt(NOW, { sources, target });
  assert.deepEqual([report.exitCode, report.removed], [0, 1]);
  assert.ok(!listed(target, "linux-64").includes(b.fileName));
  assert.deepEqual(repodata(target, "linux-64").removed, [b.fileName, "gone-1.0-0.conda"]);
  assert.ok(existsSync(join(target, "linux-64", b.fileName)), "files stay, unless --delete");
});

test("a package that was too young comes when it is old enough, though nothing changed upstream", async () => {
  for (const settings of [{}, WHOLE]) {
    const young = buildConda({ name: "young", ...linux, index: { timestamp: NOW - DAY } });
    const upstream = await upstreamOf([b, young], settings);
    const options = { sources: [upstream.server.url], target: temporary(), minAge: "3d" };
    assert.equal((await runAt(NOW, options)).added, 1);
    upstream.asked();
    assert.equal((await runAt(NOW + DAY / 2, options)).added, 0);
    assert.equal(
      upstream.asked().filter((path) => path !== "notices.json").length,
      2,
      "notices are asked for by the hour",
    );
    assert.equal((await runAt(NOW + 2.1 * DAY, options)).added, 1);
    assert.equal((await runAt(NOW + 2.2 * DAY, options)).added, 0);
  }
});

test("of two channels the first that has a file is followed, and what either has stays", async () => {
  const one = await upstreamOf([a1, b, ...many]);
  const two = await upstreamOf([b, c]);
  const patched = (files: Record<string, Uint8Array>) => {
    for (const path of Object.keys(files)) if (/shards|\.zst$/.test(path)) delete files[path];
    const text = Buffer.from(files["linux-64/repodata.json"] as Uint8Array).toString();
    files["linux-64/repodata.json"] = Buffer.from(text.replaceAll('"license":"MIT"', '"license":"other"'));
  };
  await two.become([b, c], patched);
  const [sources, target] = [[one.server.url, two.server.url], temporary()];
  const first = await runAt(NOW, { sources, target, delete: true });
  assert.deepEqual([first.exitCode, first.added], [0, 3 + many.length]);
  const licence = (p: BuiltPackage) => repodata(target, "linux-64")["packages.conda"][p.fileName]?.["license"];
  assert.deepEqual([licence(b), licence(c)], ["MIT", "other"]);
  const before = visible(target);
  one.asked();
  assert.equal((await runAt(NOW, { sources, target, delete: true })).added, 0);
  assert.deepEqual(visible(target), before);
  assert.equal(one.asked().length, 2);
  await one.become([a1, ...many]);
  const report = await runAt(NOW, { sources, target, delete: true });
  assert.deepEqual([report.removed, report.exitCode], [0, 0]);
  assert.equal(licence(b), "other");
});

test("a channel that is named twice is followed as if it were named once", async () => {
  const channel = await channelOf([a1, b, c]);
  const target = temporary();
  const sources = [channel, `file://${channel}/`, `${channel}/linux-64`];
  const rounds: unknown[] = [];
  for (const delete_ of [false, false, true, true]) {
    const r = await runAt(NOW, { sources, sourceType: "channel", target, delete: delete_ });
    rounds.push([r.added, r.kept, r.removed, r.exitCode]);
  }
  assert.deepEqual(rounds, [[3, 0, 0, 0], ...Array(3).fill([0, 3, 0, 0])]);
});

test("packages of other sources stay when channels are followed, and a local folder can be followed too", async () => {
  const upstream = await upstreamOf([a1, b]);
  const [folder, target] = [await channelOf([c, ...many]), temporary()];
  const sources = [upstream.server.url, join(folder, "linux-64")];
  await runAt(NOW, { sources, target, delete: true });
  assert.equal(listed(target, "linux-64").length, 2 + many.length);
  rmSync(join(folder, "linux-64", c.fileName));
  const report = await runAt(NOW, { sources, target, delete: true });
  assert.deepEqual([report.removed, listed(target, "linux-64").includes(c.fileName)], [1, false]);
});

test("several targets get what each lacks", async () => {
  const upstream = await upstreamOf([a1, b, c]);
  const sources = [upstream.server.url];
  const [one, two] = [temporary(), temporary()];
  await runAt(NOW, { sources, target: one, include: ["b"] });
  const report = await runAt(NOW, { sources, target: [one, two] });
  assert.deepEqual(report.targets.map((t) => [t.added, t.kept]).sort(), [
    [2, 1],
    [3, 0],
  ]);
  for (const target of [one, two]) assert.deepEqual(listed(target, "linux-64"), [b.fileName, c.fileName]);
});

test("a dry run tells of as many packages that go as there are", async () => {
  const [source, target] = [temporary(), temporary()];
  const count = 150_000;
  const indexOf = (names: readonly string[]) => {
    const records = names.map((name) => [`${name}-1-0.conda`, { name, version: "1", build: "0", build_number: 0 }]);
    return JSON.stringify({ info: { subdir: "noarch" }, packages: {}, "packages.conda": Object.fromEntries(records) });
  };
  for (const [folder, names] of [
    [source, []],
    [target, Array.from({ length: count }, (_, i) => `p${i}`)],
  ] as const) {
    mkdirSync(join(folder, "noarch"));
    writeFileSync(join(folder, "noarch/repodata.json"), indexOf(names));
  }
  const asked = { sources: [source], sourceType: "channel", target, delete: true, maxDelete: "100%", dryRun: true };
  const { plan } = await runAt(NOW, asked);
  assert.deepEqual([plan?.length, plan?.[0]?.do], [count, "remove"]);
});

test("while a package does not come, nothing goes that a client may need in its place", async () => {
  const [lib1, lib2] = ["1.0", "2.0"].map((version) => buildConda({ name: "lib", version, ...linux })) as [
    BuiltPackage,
    BuiltPackage,
  ];
  const app2 = buildConda({ name: "app", version: "2.0", ...linux, depends: ["lib ==2.0"] });
  const upstream = await upstreamOf([lib1, b]);
  const target = temporary();
  const follow = { sources: [upstream.server.url], target, delete: true, maxDelete: "100%" };
  await runAt(NOW, follow);
  await upstream.become([app2, lib2]);
  upstream.server.misdeeds.set(`linux-64/${lib2.fileName}`, [{ status: 500 }]);
  const warnings: string[] = [];
  const report = await runAt(NOW + DAY, {
    ...follow,
    onEvent: (e) => e.type === "warning" && warnings.push(e.message),
  });
  assert.deepEqual([report.added, report.failed, report.removed, report.exitCode], [1, 1, 0, 1]);
  assert.deepEqual(listed(target, "linux-64"), [app2, b, lib1].map((p) => p.fileName).sort());
  assert.equal(warnings.filter((w) => w.includes("nothing is removed")).length, 1);
  const again = await runAt(NOW + 2 * DAY, follow);
  assert.deepEqual([again.added, again.removed, again.exitCode], [1, 2, 0]);
  assert.deepEqual(listed(target, "linux-64"), [app2, lib2].map((p) => p.fileName).sort());
});

test("what never comes no longer keeps others from going once it is excluded, as the warning says", async () => {
  const [lib1, lib2] = ["1.0", "2.0"].map((version) => buildConda({ name: "lib", version, ...linux })) as [
    BuiltPackage,
    BuiltPackage,
  ];
  const upstream = await upstreamOf([lib1, b, c]);
  const target = temporary();
  const follow = { sources: [upstream.server.url], target, delete: true, maxDelete: "100%" };
  await runAt(NOW, follow);
  await upstream.become([lib1, lib2, c]);
  upstream.server.files.set(`linux-64/${lib2.fileName}`, Buffer.from("never right"));
  for (const days of [1, 2]) {
    const warnings: string[] = [];
    const onEvent: MirrorOptions["onEvent"] = (e) => e.type === "warning" && warnings.push(e.message);
    const report = await runAt(NOW + days * DAY, { ...follow, onEvent });
    assert.deepEqual([report.failed, report.removed, report.exitCode], [1, 0, 1]);
    const [, spec] = /; if lib-2\.0-h0_0\.conda never comes, --exclude '(.*)'$/.exec(warnings.join("")) ?? [];
    assert.equal(spec, 'lib[fn="lib-2.0-h0_0.conda"]');
  }
  const report = await runAt(NOW + 3 * DAY, { ...follow, exclude: ['lib[fn="lib-2.0-h0_0.conda"]'] });
  assert.deepEqual([report.failed, report.removed, report.exitCode], [0, 1, 0]);
  assert.deepEqual(listed(target, "linux-64"), [c.fileName, lib1.fileName]);
});
