import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { mirror, type VerifyOptions, verify } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { a, b, breakages, c, packages, rot, shardOf } from "./support/breakages.ts";
import { copyOf, everything, seen } from "./support/channel-copies.ts";
import { channelOf } from "./support/channels.ts";
import { listed, repodata, temporary, watchLeftovers, written } from "./support/folders.ts";

const leftovers = watchLeftovers();
const whole = await channelOf(packages, { write_bz2: true });
const source = temporary();
written(source, packages);

function repair(channel: string, options: Partial<VerifyOptions> = {}) {
  return verify({ channel, env: {}, threads: 1, repair: true, ...options });
}
const audit = (channel: string) => verify({ channel, env: {}, threads: 1 });

/** The channel's records, which no repair may change. */
function records(channel: string): unknown {
  return ["noarch", "linux-64"].map((subdir) => {
    const { packages: old, "packages.conda": conda, v3 } = repodata(channel, subdir);
    return { ...old, ...conda, ...(v3 as object) };
  });
}

for (const { what, make, found, mend } of breakages) {
  const how = { alone: "mended by the channel itself", source: "mended from a source", never: "left, and told" }[mend];
  test(`${what} is ${how}; a dry run changes nothing`, async () => {
    const channel = copyOf(whole);
    make(channel);
    const before = everything(channel);
    const from = [source];
    const dry = await repair(channel, { from, dryRun: true });
    assert.deepEqual([seen(dry), dry.exitCode, everything(channel)], [[...found].sort(), 1, before]);
    if (mend !== "never") assert.ok(dry.findings.every((f) => f.mended !== undefined));
    if (mend === "source") {
      const alone = await repair(channel);
      assert.deepEqual([alone.exitCode, alone.mended, alone.findings[0]?.left], [1, 0, "no --from names a source"]);
    }
    const report = await repair(channel, mend === "alone" ? {} : { from });
    assert.deepEqual(seen(report), [...found].sort());
    if (mend === "never") {
      assert.deepEqual([report.exitCode, seen(await audit(channel))], [1, [...found].sort()]);
      return;
    }
    assert.deepEqual(
      report.findings.filter((f) => f.mended === undefined),
      [],
    );
    assert.deepEqual([report.exitCode, report.mended], [0, report.found]);
    const after = await audit(channel);
    assert.deepEqual([seen(after), after.exitCode], [[], 0]);
    if (!/^a (package that no record|subdir's index)/.test(what)) assert.deepEqual(records(channel), records(whole));
    for (const p of packages) {
      const path = join(p === a || p === packages[3] ? "noarch" : "linux-64", p.fileName);
      assert.deepEqual(readFileSync(join(channel, path)), p.bytes);
    }
    assert.deepEqual(leftovers(), []);
  });
}

test("only what is wrong is written: a stale form leaves the others as they are", async () => {
  const channel = copyOf(whole);
  rot(join(channel, "linux-64/repodata.json.zst"));
  const before = everything(channel);
  const report = await repair(channel);
  assert.deepEqual(report.written, ["linux-64/repodata.json.zst"]);
  const changed = Object.entries(everything(channel)).filter(([path, stamp]) => before[path] !== stamp);
  const names = changed.map(([path]) => path).filter((path) => !path.startsWith(".meso") && path.includes("."));
  assert.deepEqual(names, ["linux-64/repodata.json.zst"]);
});

test("what shards know of run exports stays, where no run_exports.json keeps it", async () => {
  const channel = copyOf(whole);
  const path = join(channel, "noarch", shardOf(channel, "noarch", "a"));
  const before = readFileSync(path);
  for (const file of readdirSync(join(channel, "noarch")))
    if (file.startsWith("run_exports")) rmSync(join(channel, "noarch", file));
  rot(join(channel, "noarch", shardOf(channel, "noarch", "n")));
  assert.equal((await repair(channel)).exitCode, 0);
  assert.deepEqual(readFileSync(path), before);
  assert.deepEqual(seen(await audit(channel)), []);
});

test("a source with other bytes of that name mends nothing, and one that lies of its hash neither", async () => {
  const channel = copyOf(whole);
  rot(join(channel, "linux-64", c.fileName));
  const damaged = readFileSync(join(channel, "linux-64", c.fileName));
  const other = temporary();
  writeFileSync(join(other, c.fileName), buildConda({ name: "c", subdir: "linux-64", depends: ["other"] }).bytes);
  const first = await repair(channel, { from: [other] });
  assert.match(first.findings[0]?.left ?? "", /(sha256|size) differs/);
  // A channel whose record is right and whose file is not.
  const upstream = copyOf(whole);
  rot(join(upstream, "linux-64", c.fileName), 5);
  const second = await repair(channel, { from: [upstream] });
  assert.deepEqual([second.exitCode, second.mended], [1, 0]);
  assert.deepEqual(
    readFileSync(join(channel, "linux-64", c.fileName)),
    damaged,
    "the damaged file stays until it can be replaced",
  );
  // The next source has it.
  const third = await repair(channel, { from: [other, upstream, source] });
  assert.deepEqual([third.exitCode, third.mended], [0, 1]);
});

test("a whole channel as a source gives packages by their records, and a source that can't be read stops nothing", async () => {
  const channel = copyOf(whole);
  rmSync(join(channel, "linux-64", c.fileName));
  rot(join(channel, "noarch", a.fileName));
  const warnings: string[] = [];
  const report = await repair(channel, {
    from: ["https://127.0.0.1:9/nowhere.zip", whole],
    settings: { retry_attempts: 0 },
    onEvent: (e) => e.type === "warning" && warnings.push(e.message),
  });
  assert.deepEqual([report.exitCode, report.mended], [0, 2]);
  assert.match(warnings.join("\n"), /nowhere/);
});

test("records whose file nothing brings back go only with --remove-broken, guarded; what is left of a file is in quarantine", async () => {
  const many = Array.from({ length: 12 }, (_, i) => buildConda({ name: `m${i}` }));
  const channel = await channelOf(many);
  for (const p of many.slice(0, 11)) rmSync(join(channel, "noarch", p.fileName));
  const tooMany = await repair(channel, { removeBroken: true });
  assert.equal(tooMany.exitCode, 1);
  assert.match(tooMany.findings[0]?.left ?? "", /11 of 12 from noarch, more than --max-delete 10% allows/);
  assert.equal(listed(channel, "noarch").length, 12);
  written(join(channel, "noarch"), many.slice(2, 11));
  const [gone, damaged] = many.map((p) => p.fileName) as [string, string];
  writeFileSync(join(channel, "noarch", damaged), "half a file");
  const report = await repair(channel, { removeBroken: true, maxDelete: "2" });
  assert.deepEqual([report.exitCode, report.mended], [0, 2]);
  assert.deepEqual(
    listed(channel, "noarch"),
    many
      .slice(2)
      .map((p) => p.fileName)
      .sort(),
  );
  assert.deepEqual(repodata(channel, "noarch").removed, [], "nobody took them back");
  assert.equal(report.quarantined.length, 1);
  assert.equal(readFileSync(join(channel, report.quarantined[0] as string), "utf8"), "half a file");
  assert.ok(!existsSync(join(channel, "noarch", damaged)));
  assert.deepEqual(seen(await audit(channel)), []);
  // Whoever finds a good copy puts it back, and it is as any new package.
  written(join(channel, "noarch"), many.slice(0, 2));
  const back = await repair(channel);
  assert.deepEqual(
    [seen(back), back.exitCode],
    [[`PACKAGE_UNLISTED noarch/${gone}`, `PACKAGE_UNLISTED noarch/${damaged}`].sort(), 0],
  );
  assert.equal(listed(channel, "noarch").length, 12);
});

test("a package that no record names and that is none is told with the reason, and stays where it is", async () => {
  const channel = copyOf(whole);
  writeFileSync(join(channel, "noarch/x-1-0.conda"), "no package");
  writeFileSync(join(channel, "noarch/y-1-0.conda"), buildConda({ name: "y", version: "1" }).bytes);
  const report = await repair(channel);
  const fate = Object.fromEntries(report.findings.map((f) => [f.fileName, f.mended ?? f.left]));
  assert.match(fate["x-1-0.conda"] ?? "", /not a conda package/);
  assert.equal(fate["y-1-0.conda"], "read in");
  assert.equal(readFileSync(join(channel, "noarch/x-1-0.conda"), "utf8"), "no package");
  assert.ok(listed(channel, "noarch").includes("y-1-0.conda"));
});

test("attestations come again from a channel that has them, or from those under their hash", async () => {
  const channel = copyOf(whole);
  const sigs = Buffer.from('[{"mediaType":"bundle"}]');
  const { hash } = await import("node:crypto");
  const sha256 = hash("sha256", sigs, "hex");
  const path = join(channel, "noarch/repodata.json");
  const index = JSON.parse(readFileSync(path, "utf8"));
  index["packages.conda"][a.fileName].attestations_sha256 = sha256;
  writeFileSync(path, JSON.stringify(index));
  const [hashed, plain] = [`noarch/${a.fileName}.sigs.${sha256}`, `noarch/${a.fileName}.sigs`];
  writeFileSync(join(channel, hashed), sigs);
  const first = await repair(channel);
  assert.deepEqual([first.exitCode, readFileSync(join(channel, plain))], [0, sigs]);
  const upstream = copyOf(channel);
  rmSync(join(channel, plain));
  writeFileSync(join(channel, hashed), "[{}]");
  const second = await repair(channel);
  assert.deepEqual([second.exitCode, second.findings[0]?.left], [1, "no --from names a source"]);
  const third = await repair(channel, { from: [upstream] });
  assert.deepEqual(
    [third.exitCode, readFileSync(join(channel, plain)), readFileSync(join(channel, hashed))],
    [0, sigs, sigs],
  );
});

test("flags that mean nothing without another are refused", async () => {
  for (const options of [{ from: ["x"] }, { dryRun: true }, { removeBroken: true }] as const)
    await assert.rejects(verify({ channel: whole, env: {}, ...options }), { code: "BAD_FLAG", exitCode: 2 });
  await assert.rejects(repair(whole, { maxDelete: "3" }), { code: "BAD_FLAG" });
  await assert.rejects(repair(whole, { removeBroken: true, maxDelete: "many" }), { code: "BAD_FLAG" });
});

test("a repair and a mirror meet in one channel, and nothing is lost", async () => {
  const channel = copyOf(whole);
  const more = Array.from({ length: 10 }, (_, i) => buildConda({ name: `m${i}` }));
  const paths = written(temporary(), more);
  const mirrors = (async () => {
    for (const path of paths) assert.equal((await mirror({ sources: [path], target: channel, env: {} })).exitCode, 0);
  })();
  for (let i = 0; i < 4; i++) {
    rot(join(channel, "linux-64", b.fileName));
    rot(join(channel, "noarch/repodata.json.zst"));
    await repair(channel, { from: [source] });
  }
  await mirrors;
  await repair(channel, { from: [source] });
  assert.deepEqual(seen(await audit(channel)), []);
  assert.equal(listed(channel, "noarch").length, 11);
});
