import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { indexFilesOf } from "../src/config/index-files.ts";
import { loadSettings } from "../src/config/load.ts";
import { indexChannel, type VerifyEvent, type VerifyOptions, verify } from "../src/main.ts";
import { publish } from "../src/target/channel.ts";
import { openFolder } from "../src/target/folder.ts";
import type { Store } from "../src/target/store.ts";
import { buildConda } from "./packages/builder.ts";
import { a, b, c, packages, rot } from "./support/breakages.ts";
import { copyOf, seen } from "./support/channel-copies.ts";
import { channelOf } from "./support/channels.ts";
import { cliRun } from "./support/cli.ts";
import { listed, repodata, temporary } from "./support/folders.ts";

const whole = await channelOf(packages);
const all = listed(whole, "linux-64");
const giveUp = (channel: string, options: Partial<VerifyOptions> = {}) =>
  verify({ channel, env: {}, threads: 1, repair: true, removeBroken: true, maxDelete: "100%", ...options });
const audit = (channel: string) => verify({ channel, env: {}, threads: 1 });

test("what another run mended after it was looked at keeps its record and its file", async () => {
  for (const mended of [b, c]) {
    const channel = copyOf(whole);
    const [missing, damaged] = [join(channel, "linux-64", b.fileName), join(channel, "linux-64", c.fileName)];
    rmSync(missing);
    rot(damaged);
    const onEvent = (e: VerifyEvent) => {
      if (e.type === "audited" && e.subdir === "linux-64")
        writeFileSync(mended === b ? missing : damaged, mended.bytes);
    };
    const report = await giveUp(channel, { onEvent });
    assert.deepEqual([listed(channel, "linux-64"), report.exitCode], [[mended.fileName], 0]);
    assert.deepEqual(readFileSync(join(channel, "linux-64", mended.fileName)), mended.bytes);
    assert.equal(report.quarantined.length, mended === b ? 1 : 0);
    assert.equal(report.findings.find((f) => f.fileName === mended.fileName)?.mended, "it is right now");
    assert.deepEqual(seen(await audit(channel)), []);
  }
});

test("a package that is put in the place of a broken one while its record goes is not removed", async () => {
  const channel = copyOf(whole);
  const path = join(channel, "linux-64", c.fileName);
  rot(path);
  const folder = await openFolder(channel);
  const other = join(temporary(), c.fileName);
  const record = Buffer.from(JSON.stringify(repodata(channel, "linux-64")["packages.conda"][c.fileName]));
  const version = (await folder.stat(`linux-64/${c.fileName}`))?.version;
  const files = indexFilesOf(await loadSettings({ env: {}, flags: {} }));
  const give = async (broken: { record: Uint8Array; version: string | undefined }, store: Store = folder) => {
    const wish = { additions: [], broken: new Map([[c.fileName, broken]]) };
    const options = { files, warn: () => undefined, now: Date.now(), alone: true } as const;
    const [done] = await publish(store, new Map([["linux-64", wish]]), options);
    return [...(done?.dropped ?? [])];
  };
  assert.deepEqual(await give({ record, version: "another" }), [], "the file is another");
  assert.deepEqual(await give({ record: Buffer.from("{}"), version }), [], "its record is another");
  assert.deepEqual(listed(channel, "linux-64"), all);
  const racing: Store = {
    ...folder,
    async put(at, ...rest) {
      const put = await folder.put(at, ...rest);
      if (at === "linux-64/repodata.json") {
        writeFileSync(other, c.bytes);
        renameSync(other, path);
      }
      return put;
    },
  };
  assert.deepEqual(await give({ record, version }, racing), [c.fileName]);
  assert.ok(!listed(channel, "linux-64").includes(c.fileName));
  assert.deepEqual(readFileSync(path), c.bytes);
  await folder.close();
});

test("a disk that fails costs no record, and whoever looks is told so", async () => {
  const files = { blob: randomBytes(5 * 1024 * 1024) };
  const bad = [buildConda({ name: "bad0" }), buildConda({ name: "bad1", files }), buildConda({ name: "bad2", files })];
  const channel = await channelOf([a, ...bad]);
  const flags = ["--import", new URL("./support/failing-disk.ts", import.meta.url).href];
  const args = ["--repair", "--remove-broken", "--max-delete", "100%", "--json", "--threads", "1"];
  const { code, out, err } = await cliRun(["verify", channel, ...args], {}, flags);
  assert.equal(code, 1, err);
  const report = JSON.parse(out) as Awaited<ReturnType<typeof verify>>;
  assert.deepEqual(
    seen(report),
    bad.map((p) => `PACKAGE_UNREADABLE noarch/${p.fileName}`),
  );
  for (const f of report.findings) {
    assert.match(f.why, /EIO/);
    assert.match(f.left ?? "", /its record stays/);
  }
  // The same of `index`, which drops the records of what it finds to be none.
  const past = new Date(0);
  for (const p of bad) utimesSync(join(channel, "noarch", p.fileName), past, past);
  assert.equal((await cliRun(["index", channel, "--threads", "1"], {}, flags)).code, 1);
  assert.equal(listed(channel, "noarch").length, 4);
  assert.deepEqual(seen(await audit(channel)), []);
});

test("links to nothing, as to a disk that is not mounted, cost no record", async () => {
  for (const quick of [false, true]) {
    const channel = copyOf(whole);
    const path = (file: string) => join(channel, "linux-64", file);
    renameSync(path(c.fileName), `${channel}-aside`);
    symlinkSync(`${channel}-unmounted`, path(c.fileName));
    rmSync(path(b.fileName));
    symlinkSync(b.fileName, path(b.fileName));
    symlinkSync("round-1-0.conda", path("round-1-0.conda"));
    const report = await giveUp(channel, { quick });
    assert.deepEqual([seen(report), report.exitCode], [all.map((f) => `PACKAGE_UNREADABLE linux-64/${f}`), 1]);
    assert.match(report.findings[0]?.why ?? "", /a link that leads nowhere/);
    assert.deepEqual(listed(channel, "linux-64"), all);
    const indexed = await indexChannel({ channel, env: {}, threads: 1 });
    assert.deepEqual(
      [indexed.exitCode, indexed.failed.map((f) => `${f.error.code} ${f.fileName}`), listed(channel, "linux-64")],
      [1, all.map((f) => `UNREADABLE ${f}`), all],
    );
    rmSync(path(c.fileName));
    renameSync(`${channel}-aside`, path(c.fileName));
    rmSync(path(b.fileName));
    assert.equal((await indexChannel({ channel, env: {}, threads: 1 })).exitCode, 0);
    assert.deepEqual(listed(channel, "linux-64"), [c.fileName]);
  }
});

test("what a quick look has not seen to be damaged changes no record where other files of the index are mended", async () => {
  const channel = copyOf(whole);
  const record = () => repodata(channel, "linux-64")["packages.conda"][c.fileName];
  const before = record();
  writeFileSync(
    join(channel, "linux-64/run_exports.json"),
    '{"info":{"subdir":"linux-64"},"packages":{},"packages.conda":{}}',
  );
  // A byte of its payload: what it says of itself can be read all the same.
  const other = buildConda({ name: "c", subdir: "linux-64", depends: ["a"], files: { "x.txt": "y" } });
  writeFileSync(join(channel, "linux-64", c.fileName), other.bytes);
  const path = join(channel, "linux-64/repodata.json");
  writeFileSync(path, readFileSync(path, "utf8").replace(`"size":${c.bytes.length}`, `"size":${other.bytes.length}`));
  const sized = { ...before, size: other.bytes.length };
  await verify({ channel, env: {}, quick: true, repair: true });
  assert.deepEqual(record(), sized);
  assert.ok(seen(await audit(channel)).includes(`PACKAGE_DAMAGED linux-64/${c.fileName}`));
});

test("a folder in a package's place keeps no other file from being set aside, and stays", async () => {
  const channel = copyOf(whole);
  const path = (file: string) => join(channel, "linux-64", file);
  rmSync(path(b.fileName));
  mkdirSync(path(b.fileName));
  writeFileSync(path(c.fileName), "half a file");
  const report = await giveUp(channel);
  assert.deepEqual([report.exitCode, report.quarantined.length, listed(channel, "linux-64")], [0, 1, []]);
  assert.deepEqual([existsSync(path(b.fileName)), existsSync(path(c.fileName))], [true, false]);
  assert.deepEqual(seen(await audit(channel)), []);
});

test("what was found is told also where mending goes no further", async () => {
  const channel = copyOf(whole);
  rmSync(join(channel, "linux-64", c.fileName));
  const findings: string[] = [];
  const onEvent = (e: VerifyEvent) => {
    if (e.type === "finding") findings.push(`${e.finding.code} ${e.finding.fileName}`);
    if (e.type !== "audited" || e.subdir !== "linux-64") return;
    rmSync(join(channel, "linux-64/repodata.json"));
    mkdirSync(join(channel, "linux-64/repodata.json"));
  };
  await assert.rejects(verify({ channel, env: {}, threads: 1, repair: true, onEvent }), { code: "UNWRITABLE" });
  assert.deepEqual(findings, [`PACKAGE_MISSING ${c.fileName}`]);
});
