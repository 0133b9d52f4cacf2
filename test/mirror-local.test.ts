import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import type { UsageError } from "../src/errors.ts";
import { info, type MirrorOptions, type MirrorReport, mirror } from "../src/main.ts";
import { buildConda, buildTarBz2 } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listed, repodata, temporary, visible, written } from "./support/folders.ts";

const take = (target: string, sources: readonly string[], more: Partial<MirrorOptions> = {}): Promise<MirrorReport> =>
  mirror({ target, sources, env: {}, ...more });
const a = buildConda({ name: "a", files: { "share/a.txt": "a" } });
const b = buildTarBz2({ name: "b", subdir: "linux-64", depends: ["a"], files: { "share/b.txt": "b" } });
const otherA = buildConda({ name: "a", files: { "share/a.txt": "something else" } });

test("the library works in a program that node was given as text, and its threads load what the process loads", async () => {
  const [source, target, more] = [temporary(), temporary(), temporary()];
  const [path] = written(source, [a]) as [string];
  const [loaded, told] = [join(more, "loaded.mjs"), join(more, "told")];
  writeFileSync(
    loaded,
    `import { appendFileSync } from "node:fs"; import { isMainThread } from "node:worker_threads";
     appendFileSync(${JSON.stringify(told)}, isMainThread ? "main " : "thread ");`,
  );
  const main = new URL("../src/main.ts", import.meta.url).href;
  const text = `import { indexChannel, mirror } from ${JSON.stringify(main)};
    const { exitCode } = await mirror({ sources: [${JSON.stringify(path)}], target: ${JSON.stringify(target)}, env: {} });
    const indexed = await indexChannel({ channel: ${JSON.stringify(target)}, env: {} });
    process.exitCode = exitCode + indexed.exitCode;`;
  const flags = [
    "--max-old-space-size=500",
    "--import",
    loaded,
    "--no-warnings",
    "--input-type=module",
    "--eval",
    text,
  ];
  const child = spawn(process.execPath, flags, { stdio: ["ignore", "inherit", "pipe"], env: {} });
  let err = "";
  child.stderr.on("data", (d) => {
    err += String(d);
  });
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  assert.equal(code, 0, err);
  assert.deepEqual(listed(target, "noarch"), [a.fileName]);
  assert.match(readFileSync(told, "utf8"), /^main .*thread /);
});

test("both formats go to the subdir that they name themselves, and noarch always has an index", async () => {
  const [source, target] = [temporary(), temporary()];
  written(source, [b]);
  const report = await take(target, [source]);
  assert.deepEqual([report.added, report.failed, report.exitCode], [1, 0, 0]);
  assert.deepEqual(listed(target, "linux-64"), [b.fileName]);
  assert.deepEqual(listed(target, "noarch"), []);
  const record = repodata(target, "linux-64").packages[b.fileName];
  assert.equal(record?.["sha256"], b.sha256);
  assert.equal(record?.["md5"], b.md5);
  assert.equal(record?.["size"], b.bytes.length);
  assert.deepEqual(readFileSync(join(target, "linux-64", b.fileName)), b.bytes);
  for (const subdir of ["linux-64", "noarch"]) {
    const json = readFileSync(join(target, subdir, "repodata.json"));
    assert.deepEqual(zstdDecompressSync(readFileSync(join(target, subdir, "repodata.json.zst"))), json);
  }
});

test("two runs with one package each: both are there", async () => {
  const [source, target] = [temporary(), temporary()];
  const [pathA, pathB] = written(source, [a, b]) as [string, string];
  await take(target, [pathA]);
  await take(target, [pathB]);
  assert.deepEqual(listed(target, "noarch"), [a.fileName]);
  assert.deepEqual(listed(target, "linux-64"), [b.fileName]);
});

test("a run repeated keeps everything and rewrites nothing", async () => {
  const [source, target] = [temporary(), temporary()];
  written(source, [a, b]);
  await take(target, [source]);
  const before = visible(target);
  const report = await take(target, [source]);
  assert.deepEqual([report.added, report.kept, report.bytes], [0, 2, 0]);
  assert.deepEqual(visible(target), before);
});

test("records that were there stay byte for byte, unknown fields and numbers above 2^53 and all", async () => {
  const [source, target] = [temporary(), temporary()];
  written(source, [a]);
  mkdirSync(join(target, "noarch"));
  const foreign =
    '{"depends":[ "x  >=1" ],"name":"zz","big":12345678901234567890,"e":1.0,"u":"\\u00e9","nested":{"k":[1,{"a":null}]}}';
  const index = `{"info":{"subdir":"noarch","more":1},"packages":{},"packages.conda":{"zz-1-0.conda":${foreign}},"removed":["gone-1-0.conda"],"signatures":{"k":"v"},"repodata_version":1}`;
  writeFileSync(join(target, "noarch/repodata.json"), index);
  await take(target, [source]);
  const text = readFileSync(join(target, "noarch/repodata.json"), "utf8");
  assert.ok(text.includes(`"zz-1-0.conda":${foreign}`), text);
  const after = repodata(target, "noarch");
  assert.deepEqual(after.removed, ["gone-1-0.conda"]);
  assert.deepEqual(after["signatures"], { k: "v" });
  assert.deepEqual(after.info, { subdir: "noarch", more: 1 });
  assert.ok(after["packages.conda"][a.fileName]);
});

test("an index that can't be read is not written over", async () => {
  const [source, target] = [temporary(), temporary()];
  written(source, [a]);
  mkdirSync(join(target, "noarch"));
  writeFileSync(join(target, "noarch/repodata.json"), '{"packages":{"x-1-0.tar.bz2":{"name":"x"');
  await assert.rejects(
    take(target, [source]),
    (e: { code: string; exitCode: number }) => e.code === "BAD_INDEX" && e.exitCode === 3,
  );
  assert.equal(readFileSync(join(target, "noarch/repodata.json"), "utf8"), '{"packages":{"x-1-0.tar.bz2":{"name":"x"');
});

test("other bytes under the same name: refused, skipped or replaced, as --on-conflict says", async () => {
  const [source, target] = [temporary(), temporary()];
  await take(target, written(source, [a]));
  const sources = written(temporary(), [otherA]);
  const before = visible(target);
  const refused = await take(target, sources);
  assert.equal(refused.exitCode, 1);
  const [failure] = refused.packages;
  assert.ok(failure?.outcome === "failed" && failure.error.code === "CONFLICT");
  assert.deepEqual(visible(target), before);
  const skipped = await take(target, sources, { onConflict: "skip" });
  assert.deepEqual([skipped.skipped, skipped.exitCode], [1, 0]);
  assert.deepEqual(visible(target), before);
  const replaced = await take(target, sources, { onConflict: "replace" });
  assert.deepEqual([replaced.replaced, replaced.exitCode], [1, 0]);
  assert.deepEqual(readFileSync(join(target, "noarch", a.fileName)), otherA.bytes);
  assert.equal(repodata(target, "noarch")["packages.conda"][a.fileName]?.["sha256"], otherA.sha256);
});

test("two sources of one run with the same name and other bytes: the second is refused", async () => {
  const target = temporary();
  const report = await take(target, [...written(temporary(), [a]), ...written(temporary(), [otherA])]);
  assert.deepEqual([report.added, report.failed, report.exitCode], [1, 1, 1]);
});

test("a package left in place by a killed run is taken into the index", async () => {
  const [source, target] = [temporary(), temporary()];
  const [path] = written(source, [a]) as [string];
  mkdirSync(join(target, "noarch"), { recursive: true });
  copyFileSync(path, join(target, "noarch", a.fileName));
  const report = await take(target, [path]);
  assert.equal(report.exitCode, 0);
  assert.deepEqual(listed(target, "noarch"), [a.fileName]);
});

test("a listed file that is cut or missing is brought again", async () => {
  const [source, target] = [temporary(), temporary()];
  const sources = written(source, [a]);
  await take(target, sources);
  for (const damage of [
    () => writeFileSync(join(target, "noarch", a.fileName), "half"),
    () => rmSync(join(target, "noarch", a.fileName)),
  ]) {
    damage();
    const report = await take(target, sources);
    assert.equal(report.exitCode, 0);
    assert.deepEqual(readFileSync(join(target, "noarch", a.fileName)), a.bytes);
  }
});

test("--dry-run says what would be done and changes nothing", async () => {
  const [source, target] = [temporary(), join(temporary(), "not-there-yet")];
  written(source, [a, b]);
  const report = await take(target, [source], { dryRun: true });
  assert.deepEqual(
    report.plan?.map((s) => [s.do, s.subdir, s.fileName, s.bytes]),
    [
      ["add", "noarch", a.fileName, a.bytes.length],
      ["add", "linux-64", b.fileName, b.bytes.length],
    ],
  );
  assert.equal(existsSync(target), false);
  await take(target, [source]);
  const before = visible(target);
  assert.deepEqual(
    (await take(target, [source], { dryRun: true })).plan?.map((s) => s.do),
    ["keep", "keep"],
  );
  const conflicting = await take(target, written(temporary(), [otherA]), { dryRun: true });
  assert.deepEqual([conflicting.plan?.[0]?.do, conflicting.exitCode], ["refuse", 1]);
  assert.deepEqual(visible(target), before);
});

test("a folder, a glob and a file are sources; what is no package is refused by name, the rest goes on", async () => {
  const [source, target] = [temporary(), temporary()];
  written(source, [a, b]);
  mkdirSync(join(source, "deep/er"), { recursive: true });
  const c = buildConda({ name: "c" });
  written(join(source, "deep/er"), [c]);
  writeFileSync(join(source, "broken-1.0-0.conda"), a.bytes.subarray(0, 300));
  writeFileSync(join(source, "notes.txt"), "no package");
  symlinkSync("nowhere", join(source, "dangling-1.0-0.conda"));
  const report = await take(target, [join(source, "*.conda"), join(source, "deep"), join(source, b.fileName)]);
  assert.deepEqual([report.added, report.failed, report.exitCode], [3, 1, 1]);
  const failure = report.packages.find((p) => p.outcome === "failed");
  assert.equal(failure?.fileName, "broken-1.0-0.conda");
});

test("a file URL that names no file of this machine is refused in words, whatever it may be of", async () => {
  const odd = process.platform === "win32" ? "file:///nowhere" : "file://server/share";
  for (const source of [odd, `${odd}/x.zip`, `${odd}/pixi.lock`, `${odd}/x.tar`])
    await assert.rejects(take(temporary(), [source]), (e: UsageError) => {
      return e.code === "BAD_SOURCE" && /names no file of this machine/.test(e.what);
    });
});

test("a source that does not exist ends in 3, with nothing made", async () => {
  const target = join(temporary(), "t");
  const report = await take(target, [join(temporary(), "nowhere")]);
  assert.deepEqual([report.exitCode, report.failed], [3, 1]);
  assert.equal(existsSync(target), false);
});

test("index files that would tell of a state that is gone are removed, with a warning, or written anew", async () => {
  const [source, target] = [temporary(), temporary()];
  const [pathA] = written(source, [a]) as [string];
  mkdirSync(join(target, "noarch"));
  writeFileSync(join(target, "noarch/repodata.json"), '{"packages":{}}');
  for (const name of ["repodata.jlap", "repodata.json.bz2", "current_repodata.json", "repodata_shards.msgpack.zst"])
    writeFileSync(join(target, "noarch", name), "old");
  const warnings: string[] = [];
  await take(target, [pathA], { onEvent: (e) => e.type === "warning" && warnings.push(e.message) });
  assert.deepEqual(warnings.map((w) => w.split(" ")[0]).sort(), [
    "noarch/repodata.jlap",
    "noarch/repodata.json.bz2",
    "noarch/repodata_shards.msgpack.zst",
  ]);
  assert.deepEqual(readdirSync(join(target, "noarch")).sort(), [
    a.fileName,
    "current_repodata.json",
    "repodata.json",
    "repodata.json.zst",
    "repodata_shards.msgpack.zst",
    "run_exports.json",
    "shards",
  ]);
  for (const name of ["current_repodata.json", "repodata_shards.msgpack.zst"])
    assert.notEqual(readFileSync(join(target, "noarch", name), "utf8"), "old");
});

test("an interrupted run has indexed what was finished, and leaves nothing half-done", async () => {
  const [source, target] = [temporary(), temporary()];
  const packages = Array.from({ length: 30 }, (_, i) => buildConda({ name: `p${i}` }));
  written(source, packages);
  const stop = new AbortController();
  let finished = 0;
  const report = await take(target, [source], {
    signal: stop.signal,
    settings: { max_concurrent_downloads: 2 },
    onEvent: (e) => {
      if (e.type === "finished" && ++finished === 5) stop.abort();
    },
  });
  assert.equal(report.exitCode, 130);
  assert.ok(report.added >= 4 && report.added < 30, String(report.added));
  assert.deepEqual(
    listed(target, "noarch").length,
    readdirSync(join(target, "noarch")).filter((f) => f.endsWith(".conda")).length,
  );
  assert.equal(existsSync(join(target, ".meso-forge-mirror/incoming")), false);
  const again = await take(target, [source]);
  assert.deepEqual([again.exitCode, listed(target, "noarch").length], [0, 30]);
});

test("six processes at the same moment, a package each, into one folder: all six are there", async () => {
  const [source, target] = [temporary(), temporary()];
  const paths = written(
    source,
    Array.from({ length: 6 }, (_, i) => buildConda({ name: `together${i}` })),
  );
  const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;
  const codes = await Promise.all(
    paths.map((path) => {
      const child = spawn(process.execPath, [cli, "mirror", path, "--target-path", target, "-q"], {
        stdio: ["ignore", "ignore", "inherit"],
      });
      return new Promise((resolve) => child.on("exit", resolve));
    }),
  );
  assert.deepEqual(codes, [0, 0, 0, 0, 0, 0]);
  assert.equal(listed(target, "noarch").length, 6);
});

test("a process killed while it holds the lock does not hold up the next one", async () => {
  const [source, target] = [temporary(), temporary()];
  const sources = written(source, [a]);
  mkdirSync(join(target, ".meso-forge-mirror"));
  const lock = new URL("../src/target/folder-lock.ts", import.meta.url).pathname;
  const script = `import { withFileLock } from ${JSON.stringify(lock)}; await withFileLock(process.argv[1], () => { console.log("held"); return new Promise(() => setInterval(() => {}, 1000)); });`;
  const child = spawn(
    process.execPath,
    ["--input-type=module", "-e", script, join(target, ".meso-forge-mirror/lock")],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  await new Promise((resolve) => child.stdout.once("data", resolve));
  const running = take(target, sources);
  child.kill("SIGKILL");
  assert.equal((await running).exitCode, 0);
});

test("what a run keeps of a package is its record, not the buffers that it came in", async () => {
  const [from, target] = [temporary(), temporary()];
  const packages = Array.from({ length: 150 }, (_, i) =>
    buildConda({ name: `many-${i}`, files: { "share/a": `${i}` } }),
  );
  written(from, packages);
  const kept: number[] = [];
  const report = await mirror({
    sources: [from],
    target,
    env: {},
    settings: { max_concurrent_downloads: 1 },
    onEvent: (e) => {
      if (e.type === "finished") kept.push(process.memoryUsage().arrayBuffers);
    },
  });
  assert.equal(report.added, packages.length);
  const grown = (kept.at(-1) as number) - (kept[0] as number);
  assert.ok(grown < packages.length * 8_000, `${Math.round(grown / packages.length)} bytes a package`);
});

test("--subdir narrows down what files and addresses offer, as it does channels", async () => {
  const [source, target] = [temporary(), temporary()];
  const [here, there] = [buildConda({ name: "here" }), buildConda({ name: "there", subdir: "linux-64" })];
  written(source, [here, there]);
  const server = await fileServer({ [there.fileName]: there.bytes });
  const options = { sources: [source, `${server.url}/${there.fileName}`], subdirs: ["linux-64"], target, env: {} };
  const report = await mirror(options);
  assert.deepEqual([report.added, report.exitCode], [1, 0]);
  assert.deepEqual([listed(target, "linux-64"), listed(target, "noarch")], [[there.fileName], []]);
  const { rows } = await info({ source, subdirs: ["linux-64"], env: {} });
  assert.deepEqual(
    rows.map((row) => row.kind === "package" && row.fileName),
    [there.fileName],
  );
});

test("a lock file that something else wrote to is told as that, with what to do", async () => {
  const [source, target] = [temporary(), temporary()];
  written(source, [a]);
  const lock = join(target, ".meso-forge-mirror/lock");
  mkdirSync(join(target, ".meso-forge-mirror"));
  writeFileSync(lock, "x".repeat(5000));
  await assert.rejects(take(target, [source]), { code: "UNWRITABLE", exitCode: 3, next: /delete the file/ });
  rmSync(lock);
  assert.equal((await take(target, [source])).exitCode, 0);
});
