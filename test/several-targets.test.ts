import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { type MirrorOptions, mirror } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { channelOf } from "./support/channels.ts";
import type { FaultPlan } from "./support/faults.ts";
import { listed, repodata, temporary, visible, written } from "./support/folders.ts";

const packages = ["a", "b", "c"].map((name) => buildConda({ name, subdir: "linux-64" }));
const serve = () => fileServer(Object.fromEntries(packages.map((p) => [p.fileName, p.bytes])));
const fetches = (server: { requests: { path: string }[] }) =>
  server.requests.filter((r) => r.path.endsWith(".conda")).length;

test("each package is fetched once for all targets, and every target is whole by itself", async () => {
  const server = await serve();
  const [one, two, three] = [temporary(), temporary(), temporary()];
  const sources = packages.map((p) => `${server.url}/${p.fileName}`);
  const target = [one, two, three, one];
  const report = await mirror({ sources, target, env: {} });
  assert.equal(fetches(server), 3);
  assert.deepEqual([report.exitCode, report.added, report.targets.length], [0, 9, 3]);
  assert.equal(
    report.bytes,
    packages.reduce((sum, p) => sum + p.bytes.length, 0),
  );
  assert.ok(report.packages.every((p) => p.target !== undefined));
  for (const channel of [one, two, three]) {
    assert.deepEqual(
      listed(channel, "linux-64"),
      packages.map((p) => p.fileName),
    );
    for (const p of packages) assert.equal(statSync(join(channel, "linux-64", p.fileName)).size, p.bytes.length);
    assert.ok(!readdirSync(join(channel, ".meso-forge-mirror")).includes("incoming"), "nothing is left behind");
  }
  const before = [one, two, three].map(visible);
  const again = await mirror({ sources, target, env: {} });
  assert.deepEqual([again.added, again.kept], [0, 9]);
  assert.deepEqual([one, two, three].map(visible), before);
});

test("a target that lacks some packages gets those, and the others are kept", async () => {
  const server = await serve();
  const [one, two] = [temporary(), temporary()];
  const sources = packages.map((p) => `${server.url}/${p.fileName}#sha256:${p.sha256}`);
  await mirror({ sources: sources.slice(0, 2), target: one, env: {} });
  const before = fetches(server);
  const report = await mirror({ sources, target: [one, two], env: {} });
  assert.equal(fetches(server) - before, 3);
  assert.deepEqual(
    report.targets.map((t) => [t.added, t.kept]),
    [
      [1, 2],
      [3, 0],
    ],
  );
});

test("what one target refuses, the others take", async () => {
  const server = await serve();
  const [one, two] = [temporary(), temporary()];
  const [other] = [buildConda({ name: "a", subdir: "linux-64", depends: ["something"] })];
  written(two, [other as (typeof packages)[0]]);
  await mirror({ sources: [join(two, other?.fileName ?? "")], target: one, env: {} });
  const sources = packages.map((p) => `${server.url}/${p.fileName}`);
  const report = await mirror({ sources, target: [one, join(two, "channel")], env: {} });
  assert.equal(report.exitCode, 1);
  assert.deepEqual(
    report.targets.map((t) => [t.added, t.failed]),
    [
      [2, 1],
      [3, 0],
    ],
  );
  assert.equal(repodata(one, "linux-64")["packages.conda"][packages[0]?.fileName ?? ""]?.["sha256"], other?.sha256);
});

test("replacing in several targets replaces in each of them", async () => {
  const [source, one, two] = [temporary(), temporary(), temporary()];
  const [old, fresh] = [["x"], ["y"]].map((depends) => buildConda({ name: "a", depends }));
  for (const target of [one, two])
    await mirror({ sources: written(source, [old as (typeof packages)[0]]), target, env: {} });
  const sources = written(source, [fresh as (typeof packages)[0]]);
  const report = await mirror({ sources, target: [one, two], onConflict: "replace", env: {} });
  assert.deepEqual([report.exitCode, report.replaced], [0, 2]);
  for (const target of [one, two])
    assert.equal(repodata(target, "noarch")["packages.conda"][fresh?.fileName ?? ""]?.["sha256"], fresh?.sha256);
});

test("an index that can't be written keeps no other target from being indexed", async () => {
  const server = await serve();
  const [one, two] = [temporary(), temporary()];
  mkdirSync(join(one, "linux-64"), { recursive: true });
  writeFileSync(join(one, "linux-64/repodata.json"), '{"packages":{}}');
  // A folder in the place of a file: met when the packages are there and the index is written.
  mkdirSync(join(one, "linux-64/repodata.json.zst"));
  const sources = packages.map((p) => `${server.url}/${p.fileName}`);
  const report = await mirror({ sources, target: [one, two], env: {} });
  assert.equal(report.exitCode, 1);
  assert.deepEqual(
    report.targets.map((t) => t.error?.family),
    ["target", undefined],
  );
  assert.match(report.targets[0]?.error?.what ?? "", /can't be used/);
  assert.deepEqual(
    listed(two, "linux-64"),
    packages.map((p) => p.fileName),
  );
});

test("what one target refuses keeps removals back there, and nowhere else", async () => {
  const [one, two] = [temporary(), temporary()];
  const [a, b] = packages as [(typeof packages)[0], (typeof packages)[0]];
  const source = await channelOf([a]);
  await mirror({ sources: written(temporary(), [b]), target: [one, two], env: {} });
  await mirror({
    sources: written(temporary(), [buildConda({ name: "a", subdir: "linux-64", depends: ["x"] })]),
    target: one,
    env: {},
  });
  const warnings: string[] = [];
  const report = await mirror({
    sources: [`file://${source}`],
    target: [one, two],
    delete: true,
    maxDelete: "100%",
    env: {},
    onEvent: (e) => void (e.type === "warning" && warnings.push(e.message)),
  });
  assert.deepEqual(
    report.targets.map((t) => [t.added, t.failed, t.removed]),
    [
      [0, 1, 0],
      [1, 0, 1],
    ],
  );
  assert.deepEqual(listed(two, "linux-64"), [a.fileName]);
  assert.deepEqual(listed(one, "linux-64"), [a.fileName, b.fileName]);
  assert.equal(warnings.filter((w) => w.startsWith(`${one}: nothing is removed`)).length, 1);
});

/** A run in a process of its own, in whose folder something goes wrong. */
async function faulted(options: MirrorOptions, plan: Omit<FaultPlan, "log">) {
  const log = join(temporary(), "log");
  writeFileSync(log, "");
  const [faults, once] = ["faults", "mirror-once"].map((n) => new URL(`./support/${n}.ts`, import.meta.url).href);
  const args = [
    "--no-warnings",
    "--import",
    faults as string,
    new URL(once as string).pathname,
    JSON.stringify(options),
  ];
  const env = { ...process.env, FAULT: JSON.stringify({ ...plan, log }) };
  const ended = await promisify(execFile)(process.execPath, args, { env }).then(
    ({ stderr }) => ({ code: 0, stderr }),
    (e: { code: number; stderr: string }) => e,
  );
  return { code: ended.code, said: ended.stderr, log: readFileSync(log, "utf8").split("\n") };
}

test("a disk that is full keeps no package from the other targets, though packages wait on it", async () => {
  const many = Array.from({ length: 8 }, (_, i) => buildConda({ name: `p${i}`, files: { f: randomBytes(20_000) } }));
  const names = many.map((p) => p.fileName);
  const server = await fileServer(Object.fromEntries(many.map((p) => [p.fileName, p.bytes])));
  const sources = many.map((p) => `${server.url}/${p.fileName}#sha256:${p.sha256}`);
  const settings = { max_concurrent_downloads: 1 };
  const trial = temporary();
  const whole = await faulted(
    { sources, target: [trial, temporary()], settings },
    { folder: trial, at: 0, how: "full" },
  );
  assert.equal(whole.code, 0, whole.said);
  // When the fifth of the packages comes.
  const writes = whole.log.flatMap((line, i) => (/^write \S*TEMPORARY$/.test(line) ? [i] : []));
  assert.ok(writes.length >= 8, whole.log.join("\n"));
  const at = (writes[4] as number) + 1;
  for (const from of [1, at]) {
    const [full, other] = [temporary(), temporary()];
    const before = fetches(server);
    const { code, said } = await faulted(
      { sources, target: [full, other], settings },
      { folder: full, at: from, how: "full" },
    );
    assert.equal(code, 1, said);
    assert.deepEqual(listed(other, "noarch"), names, said);
    // One came to the full disk, and once more to the other.
    assert.ok(fetches(server) - before <= 9, `${fetches(server) - before}`);
    const again = await mirror({ sources, target: [full, other], env: {} });
    assert.deepEqual([again.exitCode, again.failed], [0, 0]);
    assert.deepEqual(listed(full, "noarch"), names);
  }
});
