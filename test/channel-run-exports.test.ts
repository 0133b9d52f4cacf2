import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { DEFAULTS } from "../src/config/defaults.ts";
import { indexFilesOf } from "../src/config/index-files.ts";
import { readShardJson } from "../src/index/shard-json.ts";
import { readShardIndex, shardPath } from "../src/index/shards.ts";
import { indexChannel, type MirrorOptions, type MirrorReport, mirror } from "../src/main.ts";
import { publish } from "../src/target/channel.ts";
import { openFolder } from "../src/target/folder.ts";
import type { Store } from "../src/target/store.ts";
import { buildConda, buildTarBz2 } from "./packages/builder.ts";
import { type FileServer, fileServer } from "./servers/file-server.ts";
import { channelOf, filesOf } from "./support/channels.ts";
import { temporary } from "./support/folders.ts";

const [own, fixed] = [{ weak: ["a >=1"] }, { weak: ["a >=1,<2"], strong: ["a-base"] }];
const a = buildConda({ name: "a", runExports: own });
const b = buildTarBz2({ name: "b", runExports: own });
const c = buildConda({ name: "c", runExports: own });
const d = buildConda({ name: "d" });
const channel = await channelOf([a, b, c, d]);

/** A value, or the text of a damaged file, instead of the entries. */
type Entries = Record<string, unknown> | string;

/** The channel without shards, on a server, whose run_exports.json says something else. */
async function served(entries: Entries | undefined, zst = false): Promise<FileServer> {
  const files = filesOf(channel);
  for (const path of Object.keys(files)) if (/shard/.test(path)) delete files[path];
  const server = await fileServer(files);
  say(server, entries, zst);
  return server;
}

function say({ files }: FileServer, entries: Entries | undefined, zst = false): void {
  files.delete("noarch/run_exports.json");
  if (entries === undefined) return;
  const of = (extension: string): object =>
    Object.fromEntries(Object.entries(entries).filter(([fileName]) => fileName.endsWith(extension)));
  const value = { info: { subdir: "noarch" }, packages: of(".tar.bz2"), "packages.conda": of(".conda") };
  const bytes = Buffer.from(typeof entries === "string" ? entries : JSON.stringify(value));
  if (zst) files.set("noarch/run_exports.json.zst", zstdCompressSync(bytes));
  else files.set("noarch/run_exports.json", bytes);
}

async function run(
  { url }: FileServer,
  target: string,
  more: Partial<MirrorOptions> = {},
): Promise<{ report: MirrorReport; warnings: string[] }> {
  const warnings: string[] = [];
  const report = await mirror({
    sources: [url],
    target,
    env: {},
    settings: { retry_attempts: 0 },
    onEvent: (e) => e.type === "warning" && warnings.push(e.message),
    ...more,
  });
  return { report, warnings };
}

/** What a channel says of run exports, in run_exports.json and in its shards: the same. */
async function saidBy(target: string): Promise<Record<string, unknown>> {
  const { packages, "packages.conda": conda } = JSON.parse(
    readFileSync(join(target, "noarch/run_exports.json"), "utf8"),
  ) as Record<string, Record<string, { run_exports: unknown }>>;
  const said = Object.fromEntries(
    Object.entries({ ...packages, ...conda }).map(([fileName, { run_exports }]) => [fileName, run_exports]),
  );
  const inShards: Record<string, unknown> = {};
  for (const sha256 of (
    await readShardIndex(readFileSync(join(target, "noarch/repodata_shards.msgpack.zst")))
  ).values()) {
    const content = await readShardJson(readFileSync(join(target, "noarch", shardPath(sha256))), sha256);
    for (const { start, value, runExports } of content.records)
      inShards[JSON.parse(Buffer.from(content.json.subarray(start, value - 1)).toString())] = JSON.parse(
        runExports as string,
      );
  }
  assert.deepEqual(inShards, said);
  return said;
}

const asked = ({ requests }: FileServer): string[] =>
  requests.splice(0).flatMap(({ path }) => (/run_exports/.test(path) ? [path] : []));

const said = {
  [a.fileName]: { run_exports: fixed },
  [b.fileName]: { run_exports: {} },
  [d.fileName]: { run_exports: own },
};
const wanted = { [a.fileName]: fixed, [b.fileName]: {}, [c.fileName]: own, [d.fileName]: own };

test("what a channel without shards says of run exports wins over what its packages say", async () => {
  for (const zst of [false, true]) {
    for (const packages_per_round of [20_000, 1]) {
      const [server, target] = [await served(said, zst), temporary()];
      const { report, warnings } = await run(server, target, { settings: { packages_per_round } });
      assert.deepEqual([report.added, report.exitCode, warnings], [4, 0, []]);
      assert.deepEqual(await saidBy(target), wanted);
    }
  }
});

test("run exports are asked for where packages come, and not where nothing changed, where some go, or in a dry run", async () => {
  const [server, target] = [await served(said), temporary()];
  await run(server, target, { dryRun: true });
  assert.deepEqual(asked(server), []);
  await run(server, target, { settings: { write_run_exports: false, write_shards: false }, target: temporary() });
  assert.deepEqual(asked(server), []);
  await run(server, target);
  assert.deepEqual(asked(server), ["noarch/run_exports.json.zst", "noarch/run_exports.json"]);
  await run(server, target);
  assert.deepEqual(asked(server), []);
  change(server, (conda) => delete conda[c.fileName]);
  const { report } = await run(server, target, { delete: true, maxDelete: "1" });
  assert.deepEqual(asked(server), []);
  assert.equal(report.removed, 1);
});

/** Changes the channel's records. */
// biome-ignore lint/suspicious/noExplicitAny: tests put anything into it
function change({ files }: FileServer, work: (conda: any) => void): void {
  files.delete("noarch/repodata.json.zst");
  const index = JSON.parse(Buffer.from(files.get("noarch/repodata.json") as Uint8Array).toString());
  work(index["packages.conda"]);
  files.set("noarch/repodata.json", Buffer.from(JSON.stringify(index)));
}

test("a hot-fixed record takes its run exports along, and no package is fetched again", async () => {
  const [server, target] = [await served(undefined), temporary()];
  const first = await run(server, target);
  assert.deepEqual(first.warnings, []);
  assert.deepEqual(await saidBy(target), {
    [a.fileName]: own,
    [b.fileName]: own,
    [c.fileName]: own,
    [d.fileName]: {},
  });
  say(server, said);
  change(server, (conda) => {
    conda[a.fileName].depends = ["d"];
    conda[c.fileName].depends = ["d"];
  });
  const { report } = await run(server, target);
  assert.deepEqual([report.bytes, report.kept, report.exitCode], [0, 4, 0]);
  // Of `c` it says nothing; the records of `b` and `d` did not change.
  const now = { [a.fileName]: fixed, [b.fileName]: own, [c.fileName]: own, [d.fileName]: {} };
  assert.deepEqual(await saidBy(target), now);
});

test("damaged run exports are told, and what the packages themselves say is taken", async () => {
  const ours = { [a.fileName]: own, [b.fileName]: own, [c.fileName]: own, [d.fileName]: {} };
  const one = (run_exports: unknown): Entries => ({ ...said, [a.fileName]: { run_exports } });
  const others = { ...wanted, [a.fileName]: own };
  const cases: readonly [Entries, RegExp, object][] = [
    ['{"packages":{', /noarch\/run_exports.json can't be read: .*themselves/, ours],
    ["[]", /noarch\/run_exports.json can't be read/, ours],
    ["\u0000\u00ff", /noarch\/run_exports.json can't be read/, ours],
    ['{"info":{"subdir":"linux-64"},"packages":{}}', /says that it is of "linux-64"/, ours],
    [one({ weak: "a" }), /of 1 packages, such as a-1.0-0.conda/, others],
    [one("text"), /of 1 packages/, others],
    [one(null), /of 1 packages/, others],
    [{ ...said, [a.fileName]: [] }, /of 1 packages/, others],
    [{ ...said, [a.fileName]: {} }, /of 1 packages/, others],
    [JSON.stringify({ "packages.conda": said }).replace("{", `{"packages.conda":{},`), /stands twice/, ours],
    [
      `{"packages.conda":{"${a.fileName}":{"run_exports":{}},"${a.fileName}":{"run_exports":{}}}}`,
      /of 1 packages/,
      ours,
    ],
  ];
  for (const [entries, warning, expected] of cases) {
    const [server, target] = [await served(entries), temporary()];
    const { report, warnings } = await run(server, target);
    assert.deepEqual([report.added, report.exitCode, warnings.length], [4, 0, 1], String(warning));
    assert.match(warnings[0] as string, warning);
    assert.deepEqual(await saidBy(target), expected, String(warning));
  }
});

test("a bare list is weak run exports, as it is in packages", async () => {
  const server = await served({ ...said, [a.fileName]: { run_exports: ["x", "y"] } });
  const target = temporary();
  assert.deepEqual((await run(server, target)).warnings, []);
  assert.deepEqual((await saidBy(target))[a.fileName], { weak: ["x", "y"] });
});

test("a server that fails to give run exports costs no package, one that refuses them has none", async () => {
  for (const [status, told] of [
    [500, 1],
    [403, 0],
  ] as const) {
    const [server, target] = [await served(said), temporary()];
    server.misdeeds.set("noarch/run_exports.json", [{ status }]);
    const { report, warnings } = await run(server, target);
    assert.deepEqual([report.added, report.exitCode, warnings.length], [4, 0, told]);
    assert.deepEqual((await saidBy(target))[a.fileName], own);
  }
});

test("targets without an index of ours have no use for run exports, and ask for none", async () => {
  const [server, target] = [await served(said), temporary()];
  await run(server, `bundle:${join(target, "b.tar")}`.replace("bundle:", ""));
  assert.ok(existsSync(join(target, "b.tar")));
  assert.deepEqual(asked(server), []);
});

test("another's shard index that comes after run exports were read is made anew with the run exports of all", async () => {
  const target = await channelOf([a, b, c, d]);
  const store = await openFolder(target);
  let asked = 0;
  const meeting: Store = {
    ...store,
    get: async (path, signal) => {
      // At the first question: it was looked at before, and was ours.
      if (path.endsWith("shards.msgpack.zst") && asked++ === 0) writeFileSync(join(target, path), "another's");
      return store.get(path, signal);
    },
  };
  const wish = { additions: [], remove: new Set([c.fileName]) };
  const options = { files: indexFilesOf(DEFAULTS), warn: () => undefined, now: Date.now() };
  await publish(meeting, new Map([["noarch", wish]]), options);
  await store.close();
  assert.equal(asked, 2);
  assert.deepEqual(await saidBy(target), { [a.fileName]: own, [b.fileName]: own, [d.fileName]: {} });
});

test("a hot-fix of run exports alone is not noticed; a package that is taken out and comes anew has it", async () => {
  const server = await served({ [a.fileName]: { run_exports: own }, [d.fileName]: { run_exports: {} } });
  const target = temporary();
  await run(server, target);
  await indexChannel({ channel: target, env: {}, threads: 1 });
  assert.deepEqual((await saidBy(target))[a.fileName], own);
  say(server, { [a.fileName]: { run_exports: fixed }, [d.fileName]: { run_exports: {} } });
  server.requests.splice(0);
  const { report } = await run(server, target);
  assert.deepEqual([report.added, report.kept, asked(server)], [0, 4, []]);
  assert.deepEqual((await saidBy(target))[a.fileName], own);
  rmSync(join(target, "noarch", a.fileName));
  await indexChannel({ channel: target, env: {}, threads: 1 });
  assert.equal((await run(server, target)).report.added, 1);
  assert.deepEqual((await saidBy(target))[a.fileName], fixed);
});
