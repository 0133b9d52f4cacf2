import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { decode, encode } from "@msgpack/msgpack";
import { type IndexReport, indexChannel, MirrorError } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { listed, repodata, temporary, visible, written } from "./support/folders.ts";
import { gistOf } from "./support/index-gist.ts";

const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;
const all = ["a", "b", "c"].map((name) => buildConda({ name, runExports: { weak: [name] } }));
const names = all.map((p) => p.fileName);
const warnings: string[] = [];

function index(channel: string): Promise<IndexReport> {
  warnings.length = 0;
  const onEvent = (e: { type: string; message?: string }) => e.type === "warning" && warnings.push(e.message as string);
  return indexChannel({ channel, env: {}, threads: 1, onEvent });
}

async function indexed(): Promise<string> {
  const channel = temporary();
  mkdirSync(join(channel, "noarch"));
  written(join(channel, "noarch"), all);
  await index(channel);
  return channel;
}

/** Every file that clients see, with its bytes. */
function contents(channel: string): Record<string, string> {
  return Object.fromEntries(Object.keys(visible(channel)).map((f) => [f, readFileSync(join(channel, f), "latin1")]));
}

/** A seeded source of numbers from 0 up to a bound. */
function randoms(seed: number): (below: number) => number {
  return (below) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
}

/** Expects one of our errors, with all it has to say, and its exit code. */
async function refused(run: Promise<unknown>, code: string, what: RegExp, exitCode = 3): Promise<void> {
  await assert.rejects(run, (e) => {
    assert.ok(e instanceof MirrorError, (e as Error).stack);
    assert.deepEqual([e.code, e.exitCode], [code, exitCode], e.message);
    assert.match(e.what, what);
    assert.ok(e.why.length > 5 && e.next.length > 20, e.message);
    return true;
  });
}

const good = JSON.stringify({
  info: { subdir: "noarch" },
  "packages.conda": { "a-1.0-0.conda": { name: "a", version: "1.0", build: "0", build_number: 0 } },
});
const nested = (n: number) => `${"[".repeat(n)}${"]".repeat(n)}`;

const UNREADABLE: Readonly<Record<string, string | Uint8Array>> = {
  "an empty file": "",
  "zero bytes": Buffer.alloc(5000),
  "zero bytes at its end": Buffer.concat([Buffer.from(good), Buffer.alloc(512)]),
  "a page of HTML": "<html><body>502 Bad Gateway</body></html>",
  "a list": "[]",
  null: "null",
  "the same section twice": '{"packages":{},"packages":{}}',
  "the same section twice, once with escapes": '{"packages":{},"\\u0070ackages":{}}',
  "a file name twice": '{"packages":{"a-1-0.tar.bz2":{},"b-1-0.tar.bz2":{},"a-1-0.tar.bz2":{}}}',
  "a section that is no map": '{"packages":[]}',
  "a record that is none": '{"packages":{"a-1-0.tar.bz2":5}}',
  "a removed that is no list": '{"removed":{"a":1}}',
  "nesting without end": `{"x":${nested(200_000)}}`,
  "nesting that is only opened": `{"x":${"[".repeat(3_000_000)}`,
  "nesting in a record": `{"packages":{"a-1-0.tar.bz2":{"depends":${nested(1000)}}}}`,
  "text that is not UTF-8": Buffer.concat([
    Buffer.from('{"info":{"x":"'),
    Buffer.from([0xff, 0xfe]),
    Buffer.from('"}}'),
  ]),
  "half a character of UTF-8": Buffer.concat([Buffer.from('{"info":{"x":"'), Buffer.from([0xc3]), Buffer.from('"}}')]),
  UTF_16: Buffer.from(good, "utf16le"),
  "two documents": good + good,
  "a string without end": `{"info":{"subdir":"${"x".repeat(10_000_000)}`,
  "a git merge": `<<<<<<< HEAD\n${good}`,
};

for (const [damage, bytes] of Object.entries(UNREADABLE)) {
  test(`a repodata.json that holds ${damage} is named, with exit 3, and nothing is written`, {
    timeout: 60_000,
  }, async () => {
    const channel = await indexed();
    writeFileSync(join(channel, "noarch/repodata.json"), bytes);
    written(join(channel, "noarch"), [buildConda({ name: "new" })]);
    const before = visible(channel);
    await refused(index(channel), "BAD_INDEX", /noarch\/repodata\.json/);
    assert.deepEqual(visible(channel), before);
  });
}

test("a folder in the place of repodata.json is named, with exit 3, and nothing is written", async () => {
  const channel = await indexed();
  rmSync(join(channel, "noarch/repodata.json"));
  mkdirSync(join(channel, "noarch/repodata.json"));
  const before = visible(channel);
  await refused(index(channel), "BAD_INDEX", /noarch\/repodata\.json/);
  assert.deepEqual(visible(channel), before);
});

test("repodata.json cut at 60 places is never taken for an index, and never written over", async () => {
  const channel = await indexed();
  const path = join(channel, "noarch/repodata.json");
  const whole = readFileSync(path);
  const before = contents(channel);
  for (let i = 0; i < 60; i++) {
    writeFileSync(path, whole.subarray(0, Math.floor((i * whole.length) / 60)));
    await refused(index(channel), "BAD_INDEX", /noarch\/repodata\.json/);
    assert.equal(readFileSync(path).length, Math.floor((i * whole.length) / 60));
  }
  writeFileSync(path, whole);
  await index(channel);
  assert.deepEqual(contents(channel), before);
});

test("with one of its bytes flipped, at 150 places, repodata.json is refused and left alone, or the index comes out right", async () => {
  const channel = await indexed();
  const path = join(channel, "noarch/repodata.json");
  const whole = readFileSync(path);
  const random = randoms(1);
  let refusals = 0;
  for (let i = 0; i < 150; i++) {
    const bytes = Buffer.from(whole);
    const at = random(bytes.length);
    bytes[at] = (bytes[at] as number) ^ (1 << random(8));
    writeFileSync(path, bytes);
    let report: IndexReport;
    try {
      report = await index(channel);
    } catch (e) {
      assert.ok(e instanceof MirrorError && e.code === "BAD_INDEX", (e as Error).stack);
      assert.deepEqual(readFileSync(path), bytes);
      refusals++;
      continue;
    }
    assert.equal(report.exitCode, 0);
    assert.deepEqual(listed(channel, "noarch"), names, `byte ${at}`);
    const index_ = repodata(channel, "noarch");
    for (const p of all) {
      const record = index_["packages.conda"][p.fileName] as Record<string, unknown>;
      // One that is no hash at all counts as absent.
      const sha256 = String(record["sha256"]).toLowerCase();
      assert.ok(sha256 === p.sha256 || !/^[0-9a-f]{64}$/.test(sha256), `byte ${at}`);
    }
    gistOf(channel);
  }
  assert.ok(refusals > 20 && refusals < 150, `${refusals} refused`);
});

test("a byte order mark, ten million bytes in one string, and doubled keys in a record don't stop a run", async () => {
  const channel = await indexed();
  const path = join(channel, "noarch/repodata.json");
  const text = readFileSync(path, "utf8");
  for (const odd of [
    `\ufeff${text}`,
    text.replace('"license":"MIT"', `"license":"${"x".repeat(10_000_000)}"`),
    text.replace('"license":"MIT"', '"license":"MIT","license":"MIT"'),
  ]) {
    writeFileSync(path, odd);
    rmSync(join(channel, "noarch/new-1.0-0.conda"), { force: true });
    assert.equal((await index(channel)).exitCode, 0);
    written(join(channel, "noarch"), [buildConda({ name: "new" })]);
    assert.equal((await index(channel)).exitCode, 0);
    assert.deepEqual(listed(channel, "noarch"), [...names, "new-1.0-0.conda"]);
    gistOf(channel);
  }
  assert.match(warnings.join("\n"), /noarch\/repodata\.json: the record of a-1\.0-0\.conda/);
});

test("a damaged shard index is made anew, whatever the damage, and says so", async () => {
  const channel = await indexed();
  const path = join(channel, "noarch/repodata_shards.msgpack.zst");
  const whole = readFileSync(path);
  const before = contents(channel);
  const said = decode(zstdDecompressSync(whole)) as { shards: Record<string, Uint8Array> };
  const packed = (value: unknown) => zstdCompressSync(encode(value));
  const random = randoms(2);
  const flipped = Array.from({ length: 20 }, () => {
    const bytes = Buffer.from(whole);
    const at = random(bytes.length);
    bytes[at] = (bytes[at] as number) ^ (1 << random(8));
    return bytes;
  });
  const unreadable = [
    Buffer.alloc(0),
    Buffer.from("<html>"),
    whole.subarray(0, whole.length - 5),
    packed(null),
    packed([]),
    packed({ shards: 5 }),
    packed({ shards: { a: Buffer.from("short") } }),
    packed({ shards: { a: `../../${"x".repeat(58)}` } }),
    // Lists and bytes that claim to be four billion long.
    zstdCompressSync(Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])),
    zstdCompressSync(Buffer.from([0xc6, 0xff, 0xff, 0xff, 0xff])),
    zstdCompressSync(Buffer.alloc(1_000_000, 0x91)),
  ];
  const wrong = [packed({ shards: {} }), packed({ ...said, shards: { a: Buffer.alloc(32), gone: Buffer.alloc(32) } })];
  for (const [i, bytes] of [...unreadable, ...wrong, ...flipped].entries()) {
    writeFileSync(path, bytes);
    assert.equal((await index(channel)).exitCode, 0, `${i}`);
    assert.deepEqual(contents(channel), before, `${i}`);
    if (i < unreadable.length)
      assert.match(warnings.join(), /repodata_shards\.msgpack\.zst can't be read and is made anew/);
  }
});

test("a damaged repodata.json.zst or current_repodata.json is made anew; a damaged run_exports.json is named, exit 3", async () => {
  const channel = await indexed();
  const before = contents(channel);
  for (const name of ["repodata.json.zst", "current_repodata.json"]) {
    for (const bytes of ["", "<html>", before[`noarch/${name}`]?.slice(0, 100) as string]) {
      writeFileSync(join(channel, "noarch", name), bytes, "latin1");
      await index(channel);
      assert.deepEqual(contents(channel), before);
    }
  }
  for (const bytes of ["", "<html>", "[]"]) {
    writeFileSync(join(channel, "noarch/run_exports.json"), bytes);
    written(join(channel, "noarch"), [buildConda({ name: "new" })]);
    await refused(index(channel), "BAD_INDEX", /noarch\/run_exports\.json/);
    assert.equal(readFileSync(join(channel, "noarch/run_exports.json"), "utf8"), bytes);
  }
});

test("a run that fails after packages went leaves nothing behind that hides it: the next one takes their records out", async () => {
  const channel = await indexed();
  const exported = readFileSync(join(channel, "noarch/run_exports.json"));
  writeFileSync(join(channel, "noarch/run_exports.json"), "damaged");
  rmSync(join(channel, "noarch", names[1] as string));
  await refused(index(channel), "BAD_INDEX", /run_exports/);
  writeFileSync(join(channel, "noarch/run_exports.json"), exported);
  assert.equal((await index(channel)).removed, 1);
  assert.deepEqual(listed(channel, "noarch"), [names[0], names[2]]);
});

test("a damaged index-state.json costs time, never a file", async () => {
  const channel = await indexed();
  const path = join(channel, ".meso-forge-mirror/index-state.json");
  const text = readFileSync(path, "utf8");
  const before = contents(channel);
  const victim = join(channel, "noarch/victim.msgpack.zst");
  const state = JSON.parse(text) as Record<string, Record<string, unknown>>;
  const withUnreferenced = (unreferenced: unknown) => JSON.stringify({ noarch: { ...state["noarch"], unreferenced } });
  for (const damaged of [
    "",
    "null",
    "[]",
    "{",
    text.slice(0, -20),
    '{"noarch":null,"__proto__":{}}',
    '{"noarch":{"versions":{},"unreferenced":{},"made":"","records":0}}',
    JSON.stringify({ noarch: { ...state["noarch"], versions: { "repodata.json": 5 } } }),
    JSON.stringify({ noarch: { ...state["noarch"], versions: { "../../x": "1" } } }),
    withUnreferenced({ "../victim": 0 }),
    withUnreferenced({ ["a".repeat(64)]: "yesterday" }),
    withUnreferenced({ ["a".repeat(64)]: 0 }),
  ]) {
    writeFileSync(victim, "not ours");
    writeFileSync(path, damaged);
    assert.equal((await index(channel)).exitCode, 0, damaged);
    assert.equal(readFileSync(victim, "utf8"), "not ours", damaged);
    rmSync(victim);
    assert.deepEqual(contents(channel), before, damaged);
  }
});

test("a damaged files.db is begun anew: packages are read again, and the index stays as it is", async () => {
  const channel = await indexed();
  const path = join(channel, ".meso-forge-mirror/files.db");
  const whole = readFileSync(path);
  const random = randoms(3);
  const torn = Array.from({ length: 12 }, () => {
    const bytes = Buffer.from(whole);
    const page = 512 * random(bytes.length / 512);
    for (let i = 0; i < 512; i++) bytes[page + i] = random(256);
    return bytes;
  });
  const other = join(temporary(), "other.db");
  const db = new DatabaseSync(other);
  db.exec("CREATE TABLE files (something); CREATE TABLE indexes (else_); PRAGMA user_version = 1");
  db.close();
  const damages = [
    Buffer.alloc(0),
    Buffer.from("damaged"),
    whole.subarray(0, 4096),
    whole.subarray(0, 5000),
    readFileSync(other),
    ...torn,
  ];
  for (const [i, bytes] of damages.entries()) {
    writeFileSync(path, bytes);
    rmSync(`${path}-journal`, { force: true });
    written(join(channel, "noarch"), [buildConda({ name: "new" })]);
    assert.equal((await index(channel)).exitCode, 0, `${i}`);
    assert.deepEqual(listed(channel, "noarch"), [...names, "new-1.0-0.conda"], `${i}`);
    rmSync(join(channel, "noarch/new-1.0-0.conda"));
    writeFileSync(path, bytes);
    assert.equal((await index(channel)).exitCode, 0, `${i}`);
    assert.deepEqual(listed(channel, "noarch"), names, `${i}`);
  }
});

test("a journal without its database, a folder as files.db: told or begun anew, never a stack", async () => {
  const channel = await indexed();
  const path = join(channel, ".meso-forge-mirror/files.db");
  rmSync(path);
  writeFileSync(`${path}-journal`, "left behind");
  assert.equal((await index(channel)).exitCode, 0);
  rmSync(path);
  mkdirSync(path);
  await refused(index(channel), "UNWRITABLE", /files\.db/);
});

test("a file in the place of shards is named, with exit 3, and the index stays as it is", async () => {
  const channel = await indexed();
  rmSync(join(channel, "noarch/shards"), { recursive: true });
  writeFileSync(join(channel, "noarch/shards"), "a file");
  written(join(channel, "noarch"), [buildConda({ name: "new" })]);
  const json = readFileSync(join(channel, "noarch/repodata.json"));
  await refused(index(channel), "UNWRITABLE", /./);
  assert.deepEqual(readFileSync(join(channel, "noarch/repodata.json")), json);
  const run = spawnSync(process.execPath, [cli, "index", channel], { encoding: "utf8" });
  assert.equal(run.status, 3, run.stderr);
  assert.match(run.stderr, /^error: .*\n {2}.*noarch\/shards/);
});

test("a subdir that is a link to elsewhere is indexed there; one that leads nowhere is named, with exit 3", async () => {
  const [channel, elsewhere] = [temporary(), temporary()];
  written(elsewhere, all);
  symlinkSync(elsewhere, join(channel, "noarch"), "junction");
  await index(channel);
  assert.deepEqual(listed(channel, "noarch"), names);
  assert.ok(readdirSync(elsewhere).includes("repodata.json"));
  const again = await index(channel);
  assert.deepEqual([again.read, again.written], [0, []]);
  renameSync(elsewhere, `${elsewhere}-gone`);
  await refused(index(channel), "UNWRITABLE", /./);
  rmSync(`${elsewhere}-gone`, { recursive: true });
});

test("a folder that may not be written is named, with exit 3, and nothing is written", async (t) => {
  if (process.platform === "win32") return t.skip("Windows has no modes");
  const channel = await indexed();
  written(join(channel, "noarch"), [buildConda({ name: "new" })]);
  const before = contents(channel);
  // Root may write everywhere: then the run is somebody else's.
  const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  const may = spawnSync(process.execPath, [cli, "--version"], { cwd: "/", ...user });
  if (may.status !== 0 && process.env["CI"] !== "true") return t.skip("nobody else may run what is in this folder");
  const folders = [".", "noarch", "noarch/shards", ".meso-forge-mirror"].map((f) => join(channel, f));
  const as = (mode: number) => folders.map((f) => chmodSync(f, mode));
  as(0o555);
  const run = () => spawnSync(process.execPath, [cli, "index", channel], { encoding: "utf8", cwd: "/", ...user });
  const cornered = run();
  assert.deepEqual([cornered.status, contents(channel)], [3, before], cornered.stderr);
  assert.match(cornered.stderr, /^error: .*the target folder can't be used\n {2}.*\n {2}.*\n$/);
  rmSync(join(channel, ".meso-forge-mirror"), { recursive: true });
  folders.pop();
  as(0o555);
  const without = run();
  assert.deepEqual([without.status, contents(channel)], [3, before], without.stderr);
  assert.match(without.stderr, /^error: .*the target folder can't be used\n {2}.*\n {2}.*\n$/);
  as(0o755);
  truncateSync(join(channel, "noarch/repodata.json"), 10);
  const cut = spawnSync(process.execPath, [cli, "index", channel, "--json"], { encoding: "utf8" });
  assert.deepEqual([cut.status, JSON.parse(cut.stdout).error.code], [3, "BAD_INDEX"]);
});
