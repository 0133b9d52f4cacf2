import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { RECORD_MAPS } from "../src/index/repodata.ts";
import { type MirrorEvent, type MirrorReport, mirror } from "../src/main.ts";
import { type PendingEntry, readPending, writePending } from "../src/pending.ts";
import { buildConda } from "./packages/builder.ts";
import { type FileServer, fileServer } from "./servers/file-server.ts";
import { channelOf, filesOf } from "./support/channels.ts";
import { listed, temporary } from "./support/folders.ts";

const linux = { subdir: "linux-64", build: "h0_0" };
const many = Array.from({ length: 11 }, (_, i) => buildConda({ name: `m${i}`, ...linux }));
const some = [buildConda({ name: "n0" }), buildConda({ name: "n1" })];

async function serve(packages = [...many, ...some]): Promise<FileServer> {
  return fileServer(filesOf(await channelOf(packages, { write_shards: false })));
}

/** Three packages a round. */
function follow(url: string, target: string, events: MirrorEvent[] = [], more = {}): Promise<MirrorReport> {
  return mirror({
    sources: [url],
    target,
    env: {},
    settings: { packages_per_round: 3, retry_attempts: 0 },
    onEvent: (e) => events.push(e),
    ...more,
  });
}

test("more packages than fit into a round are published round by round, and counted once", async () => {
  const [server, target, events] = [await serve(), temporary(), [] as MirrorEvent[]];
  const report = await follow(server.url, target, events);
  assert.deepEqual([report.added, report.kept, report.failed, report.exitCode], [13, 0, 0, 0]);
  assert.equal(
    report.bytes,
    [...many, ...some].reduce((sum, p) => sum + p.bytes.length, 0),
  );
  assert.equal(report.packages.length, 13);
  assert.equal(listed(target, "linux-64").length, 11);
  const rounds = events.flatMap((e) => (e.type === "planned" ? [e.packages] : []));
  assert.deepEqual(rounds, [3, 3, 3, 3, 1]);
  const published = events.flatMap((e) => (e.type === "published" && e.subdir === "linux-64" ? [e.records] : []));
  assert.equal(published.length, 5);
  assert.deepEqual(
    published,
    [...published].sort((a, b) => a - b),
  );
  assert.deepEqual(
    readdirSync(join(target, ".meso-forge-mirror")).filter((f) => /scratch|incoming/.test(f)),
    [],
  );
  // What was read of the channel holds for all rounds together: the next run has one question a subdir.
  server.requests.length = 0;
  const again = await follow(server.url, target);
  assert.deepEqual([again.added, again.kept], [0, 13]);
  assert.equal(server.requests.length, 2);
});

test("what a round could not bring is tried again by the next run, and keeps the channel from counting as followed", async () => {
  const [server, target] = [await serve(), temporary()];
  const broken = many[4] as (typeof many)[number];
  server.misdeeds.set(`linux-64/${broken.fileName}`, [{ status: 500 }]);
  const report = await follow(server.url, target);
  assert.deepEqual([report.added, report.failed, report.exitCode], [12, 1, 1]);
  assert.ok(!listed(target, "linux-64").includes(broken.fileName));
  const again = await follow(server.url, target);
  assert.deepEqual([again.added, again.kept, again.exitCode], [1, 12, 0]);
});

test("what goes, goes after the last round", async () => {
  const target = temporary();
  const old = Array.from({ length: 4 }, (_, i) => buildConda({ name: `old${i}`, ...linux }));
  await follow((await serve([...old, ...some])).url, target);
  const events: MirrorEvent[] = [];
  const report = await follow((await serve()).url, target, events, { delete: true, maxDelete: "100%" });
  assert.deepEqual([report.added, report.removed, report.kept], [11, 4, 2]);
  const published = events.flatMap((e) => (e.type === "published" && e.subdir === "linux-64" ? [e.records] : []));
  assert.deepEqual(published.slice(0, -1), [7, 10, 13].slice(0, published.length - 1));
  assert.equal(published.at(-1), 11);
});

test("an interrupted run has the rounds before in its index, and takes nothing away", async () => {
  const target = temporary();
  const old = buildConda({ name: "old", ...linux });
  await follow((await serve([old, ...some])).url, target);
  const stop = new AbortController();
  let rounds = 0;
  const onEvent = (e: MirrorEvent) => {
    if (e.type === "planned" && ++rounds === 3) stop.abort();
  };
  const more = { delete: true, maxDelete: "100%", signal: stop.signal, onEvent };
  const report = await follow((await serve()).url, target, [], more);
  assert.deepEqual([report.exitCode, report.added, report.removed], [130, 6, 0]);
  assert.equal(listed(target, "linux-64").length, 7);
});

test("a dry run tells the plan of all rounds", async () => {
  const [server, target] = [await serve(), temporary()];
  const report = await follow(server.url, target, [], { dryRun: true });
  assert.equal(report.plan?.filter((s) => s.do === "add").length, 13);
  assert.equal(new Set(report.plan?.map((s) => s.fileName)).size, 13);
});

test("what waits in a file comes out as it went in", async () => {
  const folder = temporary();
  let n = 0;
  const entry = fc.record({
    map: fc.constantFrom(...RECORD_MAPS),
    fileName: fc.string({ maxLength: 300 }),
    record: fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.integer({ min: 1, max: 3_000_000 }).map((size) => new Uint8Array(size)),
    ),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 12 }), async (entries) => {
      const path = join(folder, String(n++));
      assert.equal(await writePending(path, entries), entries.length);
      const back: PendingEntry[] = [];
      for await (const e of readPending(path)) back.push({ ...e, record: Uint8Array.from(e.record) });
      assert.deepEqual(
        back,
        entries.map((e) => ({ ...e, fileName: Buffer.from(e.fileName).toString("utf8") })),
      );
    }),
    { numRuns: 40 },
  );
});
