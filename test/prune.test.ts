import assert from "node:assert/strict";
import { spawn } from "node:child_process";

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { indexChannel, mirror, type PruneEvent, type PruneReport, verify } from "../src/main.ts";
import { lookOf } from "../src/target/index-state.ts";
import { type BuiltPackage, buildConda } from "./packages/builder.ts";
import { channelOf } from "./support/channels.ts";
import { cliRun } from "./support/cli.ts";
import { listed, repodata, temporary, visible, written } from "./support/folders.ts";
import { needs, python } from "./support/needs.ts";
import {
  a1,
  a2,
  all,
  big,
  bytesOf,
  DAY,
  everywhere,
  lib1,
  lib2,
  linux,
  NOW,
  names,
  pruneAt,
} from "./support/pruned.ts";
import { installed } from "./support/rattler.ts";
import { copyChannel } from "./support/twin.ts";

for (const [rules, gone] of [
  [{ include: ["a", "lib >=2"] }, [lib1, big]],
  [{ exclude: ["*[license=MIT]"], include: ["lib"] }, [a1, a2, big, lib2]],
  [{ latest: 1 }, [a1, lib1]],
  [{ since: "2026-01-01" }, [a1, lib1]],
  [{ minAge: "15d" }, [lib2, big]],
  [{ maxSize: String(big.bytes.length - 1) }, all.filter((p) => p.bytes.length >= big.bytes.length)],
  [{ blockLicenses: ["GPL*"] }, [lib1]],
  [{ allowLicenses: ["GPL*"], include: ["lib"] }, [a1, a2, lib2, big]],
  [{ blockDependencies: ["gtk*"] }, [big]],
] as const) {
  test(`by the rules ${JSON.stringify(rules)} what mirror would not take goes, from every form of the index`, async () => {
    const channel = await channelOf(all);
    const events: PruneEvent[] = [];
    const report = await pruneAt(NOW, { channel, ...(rules as object), onEvent: (e) => events.push(e) });
    const left = all.filter((p) => !(gone as readonly BuiltPackage[]).includes(p));
    const found = [...(await everywhere(channel, "noarch")), ...(await everywhere(channel, "linux-64"))].sort();
    assert.deepEqual(found, names(...left));
    assert.deepEqual([report.removed, report.kept, report.exitCode], [gone.length, left.length, 0]);
    assert.equal(report.removedBytes, bytesOf(gone));
    assert.equal(report.keptBytes, bytesOf(left));
    assert.equal(report.waiting, gone.length);
    for (const p of all) assert.ok(["noarch", "linux-64"].some((s) => existsSync(join(channel, s, p.fileName))));
    const facts = JSON.parse(readFileSync(join(channel, "channeldata.json"), "utf8")) as { packages: object };
    assert.deepEqual(Object.keys(facts.packages), [...new Set(left.map((p) => p.fileName.split("-")[0]))].sort());
    const page = readFileSync(join(channel, "linux-64/index.html"), "utf8");
    for (const p of [lib1, lib2, big]) assert.equal(page.includes(p.fileName), left.includes(p), p.fileName);
    assert.ok(events.some((e) => e.type === "published"));
  });
}

test("files go when their grace period is over, by whichever run comes then", async () => {
  const channel = await channelOf(all);
  const file = join(channel, "noarch", a1.fileName);
  await pruneAt(NOW, { channel, latest: 1 });
  assert.deepEqual(repodata(channel, "noarch").removed, [], "nobody took it back");
  const early = await pruneAt(NOW + 6.9 * DAY, { channel });
  assert.deepEqual([early.freed.packages, early.waiting], [0, 2]);
  assert.ok(existsSync(file));
  // `index` does not take it up again.
  await indexChannel({ channel, env: {}, threads: 1, now: () => NOW + 6.9 * DAY });
  assert.deepEqual(listed(channel, "noarch"), names(a2));
  const plan = await pruneAt(NOW + 7.1 * DAY, { channel, dryRun: true });
  assert.deepEqual([plan.freed.packages, plan.plan], [2, []]);
  assert.ok(plan.freed.bytes >= a1.bytes.length + lib1.bytes.length);
  assert.ok(existsSync(file));
  const twin = copyChannel(channel, join(temporary(), "channel"));
  const late = await pruneAt(NOW + 7.1 * DAY, { channel });
  assert.deepEqual(late.freed, plan.freed);
  assert.ok(!existsSync(file) && !existsSync(join(channel, "linux-64", lib1.fileName)));
  assert.deepEqual(await everywhere(channel, "linux-64"), names(lib2, big));
  await indexChannel({ channel: twin, env: {}, threads: 1, now: () => NOW + 7.1 * DAY });
  assert.ok(!existsSync(join(twin, "noarch", a1.fileName)), "index does the same");
});

test("without a grace period files go at once, and with --keep-removed never", async () => {
  const channel = await channelOf(all);
  const twin = copyChannel(channel, join(temporary(), "channel"));
  const settings = { delete_grace_days: 0 };
  const report = await pruneAt(NOW, { channel, latest: 1, settings });
  assert.deepEqual([report.freed.packages, report.waiting], [2, 0]);
  assert.ok(report.freed.bytes >= a1.bytes.length + lib1.bytes.length);
  assert.ok(!existsSync(join(channel, "noarch", a1.fileName)));
  await pruneAt(NOW, { channel: twin, latest: 1, settings, keepRemoved: true });
  assert.deepEqual(listed(twin, "noarch"), names(a2));
  assert.deepEqual(repodata(twin, "noarch").removed, [a1.fileName]);
  await pruneAt(NOW + 100 * DAY, { channel: twin, latest: 1, settings });
  assert.ok(existsSync(join(twin, "noarch", a1.fileName)), "nor by a later run");
});

test("what came back before its file went stays, and so does what nobody has listed yet", async () => {
  const channel = await channelOf(all);
  await pruneAt(NOW, { channel, latest: 1 });
  const source = temporary();
  const clock = { now: () => NOW + DAY, random: () => 0, sleep: async () => undefined };
  const back = await mirror({ sources: written(source, [a1]), target: channel, env: {}, clock });
  assert.equal(back.added, 1);
  const other = buildConda({ name: "other", version: "9.0" });
  written(join(channel, "noarch"), [other]);
  for (const days of [8, 20, 30])
    await pruneAt(NOW + days * DAY, {
      channel,
      include: ["a", "lib >=2", "big", "other"],
      settings: { delete_grace_days: 0 },
    });
  assert.deepEqual(await everywhere(channel, "noarch"), names(a1, a2));
  assert.ok(existsSync(join(channel, "noarch", a1.fileName)));
  assert.ok(existsSync(join(channel, "noarch", other.fileName)));
  await indexChannel({ channel, env: {}, threads: 1, now: () => NOW + 31 * DAY });
  assert.deepEqual(listed(channel, "noarch"), names(a1, a2, other));
});

test("within the grace period a prune is undone by deleting what is remembered and indexing again", async () => {
  const channel = await channelOf(all);
  await pruneAt(NOW, { channel, latest: 1 });
  rmSync(join(channel, ".meso-forge-mirror/index-state.json"));
  await indexChannel({ channel, env: {}, threads: 1 });
  assert.deepEqual([...listed(channel, "noarch"), ...listed(channel, "linux-64")].sort(), names(...all));
});

test("rules that leave nothing are refused before anything is changed, and --max-delete says otherwise", async () => {
  const channel = await channelOf(all);
  const before = visible(channel);
  const refused = { code: "MAX_DELETE", exitCode: 3 };
  await assert.rejects(pruneAt(NOW, { channel, include: ["pyhton"] }), refused);
  await assert.rejects(pruneAt(NOW, { channel, include: ["pyhton"], dryRun: true }), refused);
  await assert.rejects(pruneAt(NOW, { channel, latest: 1, maxDelete: "1%" }), refused);
  await assert.rejects(pruneAt(NOW, { channel, latest: 1, maxDelete: "0" }), refused);
  await assert.rejects(pruneAt(NOW, { channel, latest: 1, maxDelete: "some" }), { code: "BAD_FLAG", exitCode: 2 });
  assert.deepEqual(visible(channel), before);
  const told: string[] = [];
  const onEvent = (e: PruneEvent) => void (e.type === "warning" && told.push(e.message));
  assert.equal((await pruneAt(NOW, { channel, latest: 1, maxDelete: "50%" })).removed, 2);
  assert.equal((await pruneAt(NOW, { channel, include: ["lib"], onEvent })).removed, 2);
  assert.deepEqual(told, ["noarch: the rules want none of its 1 packages"]);
  assert.equal((await pruneAt(NOW, { channel, include: ["pyhton"], maxDelete: "100%" })).kept, 0);
  assert.deepEqual(await everywhere(channel, "linux-64"), []);
});

test("a file that stands in two maps is one, also where rules leave nothing", async () => {
  const channel = await channelOf([a1, a2]);
  const path = join(channel, "noarch/repodata.json");
  const index = repodata(channel, "noarch");
  index.packages[a1.fileName] = index["packages.conda"][a1.fileName] as Record<string, unknown>;
  writeFileSync(path, JSON.stringify(index));
  await assert.rejects(pruneAt(NOW, { channel, include: ["none"] }), { code: "MAX_DELETE" });
  const { kept, keptBytes, removed } = await pruneAt(NOW, { channel, include: ["a ==1.0"], dryRun: true });
  assert.deepEqual([kept, keptBytes, removed], [1, a1.bytes.length, 1]);
  const told = await pruneAt(NOW, { channel, subdirs: ["noarch", "noarch"], latest: 1 });
  assert.deepEqual(
    [told.kept, told.removed, told.subdirs.length, await everywhere(channel, "noarch")],
    [1, 1, 1, names(a2)],
  );
});

test("a file that a patch hides stays where a mirror follows with --delete", async () => {
  const gone = buildConda({ name: "gone" });
  const [upstream, channel, patch] = [await channelOf([a2]), await channelOf([a1, a2, gone]), temporary()];
  mkdirSync(join(patch, "noarch"));
  const instructions = { patch_instructions_version: 1, packages: {}, "packages.conda": {}, remove: [a1.fileName] };
  writeFileSync(join(patch, "noarch/patch_instructions.json"), JSON.stringify(instructions));
  await indexChannel({ channel, env: {}, threads: 1, patch });
  await mirror({ sources: [upstream], sourceType: "channel", target: channel, env: {}, delete: true });
  assert.deepEqual(listed(channel, "noarch"), names(a2));
  assert.equal((await pruneAt(Date.now() + 9 * DAY, { channel })).freed.packages, 1);
  const there = () => [a1, gone].map((p) => existsSync(join(channel, "noarch", p.fileName)));
  assert.deepEqual(there(), [true, false]);
});

test("notes on what is to go that can't be had just now end a run, and are not taken for lost", async () => {
  const channel = await channelOf(all);
  await pruneAt(NOW, { channel, latest: 1 });
  const path = join(channel, ".meso-forge-mirror/index-state.json");
  renameSync(path, `${path}.aside`);
  // What a file can't be read of, whoever asks.
  mkdirSync(path);
  const before = visible(channel);
  for (const run of [
    () => pruneAt(NOW, { channel, latest: 1 }),
    () => indexChannel({ channel, env: {}, threads: 1 }),
    () => verify({ channel, env: {}, threads: 1, repair: true }),
  ])
    await assert.rejects(run(), { exitCode: 3 });
  assert.deepEqual(visible(channel), before);
  rmSync(path, { recursive: true });
  renameSync(`${path}.aside`, path);
  assert.equal((await pruneAt(NOW, { channel })).waiting, 2);
});

test("--subdir leaves the others as they are, byte for byte", async () => {
  const channel = await channelOf(all);
  const noarch = () => Object.entries(visible(channel)).filter(([path]) => path.startsWith("noarch/"));
  const before = noarch();
  const report = await pruneAt(NOW, { channel, latest: 1, subdirs: ["linux-64"] });
  assert.deepEqual([report.removed, report.kept], [1, 2]);
  assert.deepEqual(noarch(), before);
  await assert.rejects(pruneAt(NOW, { channel, subdirs: ["win-64"] }), { code: "BAD_FLAG" });
});

test("a dry run prints the plan with its bytes and changes not a byte", async () => {
  const channel = await channelOf(all);
  const everything = () =>
    Object.fromEntries(
      readdirSync(channel, { recursive: true, withFileTypes: true })
        .filter((e) => e.isFile())
        .map((e) => join(e.parentPath, e.name))
        .map((path) => [path, `${statSync(path).mtimeMs} ${readFileSync(path).toString("base64")}`]),
    );
  const before = everything();
  const report = await pruneAt(NOW, { channel, latest: 1, dryRun: true });
  assert.deepEqual(
    report.plan?.map((s) => [s.do, `${s.subdir}/${s.fileName}`, s.bytes]),
    [
      ["remove", `linux-64/${lib1.fileName}`, lib1.bytes.length],
      ["remove", `noarch/${a1.fileName}`, a1.bytes.length],
    ],
  );
  assert.deepEqual([report.removed, report.kept, report.written], [2, 3, []]);
  assert.deepEqual(everything(), before);
  const { code, out } = await cliRun(["prune", channel, "--latest", "1", "--dry-run"]);
  assert.equal(code, 0);
  assert.match(
    out,
    /^remove {2}linux-64\/lib-1\.0-\S+ {2}\d+ B\nremove .*\nplan: 2 remove \(.*\), 3 keep \(.*\); nothing was changed\n$/,
  );
  assert.deepEqual(everything(), before);
  const json = await cliRun(["prune", channel, "--latest", "1", "--dry-run", "--json"]);
  const told = JSON.parse(json.out) as PruneReport;
  assert.deepEqual({ ...told, milliseconds: 0 }, { ...JSON.parse(JSON.stringify(report)), milliseconds: 0 });
});

test("--explain tells why a package stays or goes, and the command line ends in the codes that it promises", async () => {
  const channel = await channelOf(all);
  const why = await cliRun(["prune", channel, "--latest", "1", "--explain", "a"]);
  assert.match(
    why.out,
    /^out noarch\/a-1\.0-.*\n {6}1\.0 is not among the 1 newest versions \(2\.0\)\nin {2}noarch\/a-2\.0/,
  );
  assert.equal((await cliRun(["prune"])).code, 2);
  assert.equal((await cliRun(["prune", channel, "--latest", "0"])).code, 2);
  assert.equal((await cliRun(["prune", join(channel, "none"), "--latest", "1"])).code, 3);
  const oci = await cliRun(["prune", "oci://localhost/ch", "--latest", "1"]);
  assert.equal(oci.code, 2);
  assert.match(oci.err, /not a channel that can be indexed/);
  const refused = await cliRun(["prune", channel, "--include", "none", "--json"]);
  assert.equal(refused.code, 3);
  assert.equal((JSON.parse(refused.out) as { error: { code: string } }).error.code, "MAX_DELETE");
  const done = await cliRun(["prune", channel, "--latest", "1"]);
  assert.equal(done.code, 0);
  assert.match(done.out, /^2 removed \(.*\), 3 kept \(.*\); nothing freed; 2 files wait for the grace period in .* → /);
});

test("an index that can't be read stops the run before anything goes", async () => {
  for (const path of ["noarch/repodata.json", "noarch/run_exports.json"]) {
    const channel = await channelOf(all);
    writeFileSync(join(channel, path), '{"packages":');
    const before = visible(channel);
    await assert.rejects(pruneAt(NOW, { channel, latest: 1 }), { code: "BAD_INDEX", exitCode: 3 });
    assert.deepEqual(visible(channel), before);
  }
});

test("records with odd names never lead out of the channel's folder", async () => {
  const outside = temporary();
  const channel = join(outside, "channel");
  mkdirSync(join(channel, "noarch"), { recursive: true });
  const victims = ["victim-1.0-0.conda", "channel/victim-1.0-0.conda", "channel/noarch/sub/victim-1.0-0.conda"];
  mkdirSync(join(channel, "noarch/sub"));
  for (const path of victims) writeFileSync(join(outside, path), "mine");
  const record = { name: "victim", version: "1.0", build: "0", build_number: 0, size: 4, sha256: "0".repeat(64) };
  const odd = [
    "../../victim-1.0-0.conda",
    "../victim-1.0-0.conda",
    "sub/victim-1.0-0.conda",
    "repodata.json",
    "..",
    "",
    "/etc/passwd",
  ];
  const index = {
    info: { subdir: "noarch" },
    packages: {},
    "packages.conda": Object.fromEntries(
      [...odd, "kept-1.0-0.conda"].map((f) => [f, f.startsWith("kept") ? { ...record, name: "kept" } : record]),
    ),
    removed: ["../../victim-1.0-0.conda"],
  };
  writeFileSync(join(channel, "noarch/repodata.json"), JSON.stringify(index));
  const settings = { delete_grace_days: 0, shard_grace_days: 0 };
  await pruneAt(NOW, { channel, exclude: ["victim"], settings });
  // Notes that somebody forged are not believed.
  const notes = join(channel, ".meso-forge-mirror/index-state.json");
  const forged = JSON.parse(readFileSync(notes, "utf8")) as Record<string, { leaving: object }>;
  for (const path of victims) utimesSync(join(outside, path), 1000, 1000);
  (forged["noarch"] as { leaving: object }).leaving = {
    0: {
      names: ["../../victim-1.0-0.conda", "sub/victim-1.0-0.conda"],
      looks: lookOf({ size: 4, version: "", modified: 1_000_000 }).repeat(2),
    },
  };
  writeFileSync(notes, JSON.stringify(forged));
  await pruneAt(NOW + 30 * DAY, { channel, settings });
  for (const path of victims) assert.equal(readFileSync(join(outside, path), "utf8"), "mine", path);
  assert.deepEqual(listed(channel, "noarch"), ["kept-1.0-0.conda"]);
});

test("attestations go with their package", async () => {
  const channel = await channelOf(all);
  const sigs = [`${a1.fileName}.sigs.${"a".repeat(64)}`, `${a1.fileName}.sigs`].map((f) => join(channel, "noarch", f));
  const others = [`${a2.fileName}.sigs.${"b".repeat(64)}`, `${a2.fileName}.sigs`].map((f) =>
    join(channel, "noarch", f),
  );
  for (const path of [...sigs, ...others]) writeFileSync(path, "{}");
  const report = await pruneAt(NOW, { channel, latest: 1, settings: { delete_grace_days: 0 } });
  assert.deepEqual([...sigs, ...others].map(existsSync), [false, false, true, true]);
  assert.equal(report.freed.bytes, a1.bytes.length + lib1.bytes.length + 4);
});

const faults = new URL("support/faults.ts", import.meta.url).pathname;
const pruneOnce = new URL("support/prune-once.ts", import.meta.url).pathname;

/** Prunes in a process of its own that dies before its n-th change of the channel's files; 0 for none. Gives how many it makes. */
async function dying(channel: string, at: number, options: object): Promise<number> {
  const log = join(temporary(), "log");
  writeFileSync(log, "");
  const env = { ...process.env, FAULT: JSON.stringify({ folder: channel, at, how: "kill", log }) };
  const args = ["--no-warnings", "--import", faults, pruneOnce, JSON.stringify({ channel, ...options })];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"], env });
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.equal(code, at === 0 ? 0 : null);
  return readFileSync(log, "utf8").split("\n").length - 1;
}

test("a run that is killed at any moment has lost nothing that stays, and the next one finishes what it began", async () => {
  const channel = await channelOf(all);
  const options = { latest: 1, now: NOW, settings: { delete_grace_days: 0, shard_grace_days: 0 } };
  const twin = () => copyChannel(channel, join(temporary(), "channel"));
  const whole = twin();
  const changes = await dying(whole, 0, options);
  assert.ok(changes > 20, `${changes} changes`);
  const outcome = Object.keys(visible(whole));
  for (let at = 1; at <= changes; at += Math.ceil(changes / 12)) {
    const one = twin();
    await dying(one, at, options);
    for (const p of [a2, lib2, big]) {
      const subdir = p === a2 ? "noarch" : "linux-64";
      assert.ok(existsSync(join(one, subdir, p.fileName)) && listed(one, subdir).includes(p.fileName));
    }
    for (const subdir of ["noarch", "linux-64"])
      for (const fileName of listed(one, subdir))
        assert.ok(existsSync(join(one, subdir, fileName)), `${at}: ${fileName}`);
    await pruneAt(NOW + 2 * DAY, { channel: one, latest: 1, settings: options.settings });
    await pruneAt(Date.now() + 2 * DAY, { channel: one, settings: options.settings });
    assert.deepEqual(Object.keys(visible(one)), outcome, `killed before change ${at}`);
    assert.deepEqual(await everywhere(one, "linux-64"), names(lib2, big));
  }
});

test("runs that meet lose no record: two prunes, and a mirror that adds", async () => {
  const channel = await channelOf(all);
  const fresh = Array.from({ length: 20 }, (_, i) => buildConda({ name: `fresh${i % 5}`, version: `${i}`, ...linux }));
  const source = temporary();
  written(source, fresh);
  await Promise.all([
    pruneAt(NOW, { channel, exclude: ["a <2"] }),
    mirror({ sources: [source], target: channel, env: {} }),
    pruneAt(NOW, { channel, exclude: ["lib <2"] }),
  ]);
  assert.deepEqual(await everywhere(channel, "linux-64"), names(lib2, big, ...fresh));
  assert.deepEqual(await everywhere(channel, "noarch"), names(a2));
});

const rattler = needs(python, "py-rattler, to solve and install");

test("rattler installs what stays, from every form of the index", rattler, async () => {
  const channel = await channelOf(all);
  await pruneAt(NOW, { channel, latest: 1, settings: { delete_grace_days: 0 } });
  for (const form of ["json", "zst", "shards"]) {
    const { packages } = await installed(channel, form, "a");
    assert.deepEqual(
      packages.map(([name, version]) => `${name} ${version}`),
      ["a 2.0", "lib 2.0"],
    );
    await assert.rejects(installed(channel, form, "a <2"));
  }
});

test("a run that is interrupted says so, and changes nothing", async () => {
  const channel = await channelOf(all);
  const before = visible(channel);
  await assert.rejects(pruneAt(NOW, { channel, latest: 1, signal: AbortSignal.abort() }), { exitCode: 130 });
  assert.deepEqual(visible(channel), before);
});
