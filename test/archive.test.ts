import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { mock, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { type MirrorOptions, mirror } from "../src/main.ts";
import { type BuiltPackage, buildConda, buildTarBz2, bzip2, infoOf, tar, zip } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listening } from "./servers/listening.ts";
import { sparseServer, sparseZip } from "./servers/sparse-server.ts";
import { listed, temporary, watchLeftovers } from "./support/folders.ts";

const one = buildConda({ name: "one", subdir: "linux-64", files: { "share/one.txt": "1" } });
const two = buildTarBz2({ name: "two", subdir: "osx-arm64" });
const three = buildConda({ name: "three" });
/** Larger than what is handed over in one piece. */
const large = buildConda({ name: "large", subdir: "linux-64", files: { "share/l.bin": randomBytes(3_000_000) } });

const at = (folder: string, p: BuiltPackage) => ({ name: `${folder}/${p.fileName}`, content: p.bytes });
const deflated = (folder: string, p: BuiltPackage) => ({ ...at(folder, p), method: 8 });
const names = (...packages: BuiltPackage[]) => packages.map((p) => p.fileName);

/** As a staged-recipes artifact is nested: an artifact zip around another, deflated both. */
const inner = zip([deflated("build_artifacts/linux-64", one), deflated("build_artifacts/noarch", three)]);
const artifact = zip([
  { name: "conda_artifacts_1.zip", content: inner, method: 8 },
  { name: "logs/build.txt", content: Buffer.from("built") },
]);

async function run(source: string, options: Partial<MirrorOptions> = {}) {
  const target = join(temporary(), "channel");
  const warnings: string[] = [];
  const onEvent: MirrorOptions["onEvent"] = (e) => void (e.type === "warning" && warnings.push(e.message));
  const settings = { retry_attempts: 2 };
  const report = await mirror({ sources: [source], target, env: {}, settings, onEvent, ...options });
  const failed = report.packages.flatMap((p) => (p.outcome === "failed" ? [p] : []));
  return { report, target, failed, warnings, listed: (subdir: string) => listed(target, subdir) };
}

function file(name: string, bytes: Uint8Array): string {
  const path = join(temporary(), name);
  writeFileSync(path, bytes);
  return path;
}

const leftovers = watchLeftovers();

test("a zip's packages are taken, each into the subdir that it names itself, stored or deflated", async () => {
  const path = file(
    "packages.zip",
    zip([at("any/where", one), deflated("noarch", two), at("x", three), deflated("y", large)]),
  );
  const { report, listed } = await run(path);
  assert.deepEqual([report.exitCode, report.added], [0, 4]);
  assert.deepEqual(listed("linux-64"), names(large, one));
  assert.deepEqual(listed("osx-arm64"), names(two));
  assert.deepEqual(listed("noarch"), names(three));
});

test("every form of compressed tar is read, at its own pace", async () => {
  const members = [at("noarch", one), at("deep/er", two), { name: "notes.txt", content: "x" }, at(".", large)];
  const plain = tar(members);
  const forms: Record<string, Uint8Array> = {
    "a.tgz": gzipSync(plain),
    "a.tar.gz": Buffer.concat([gzipSync(plain.subarray(0, 3000)), gzipSync(plain.subarray(3000))]),
    "a.tar": plain,
    "a.tar.zst": zstdCompressSync(plain),
    "a.tbz2": bzip2(plain),
  };
  for (const [name, bytes] of Object.entries(forms)) {
    const { report, listed } = await run(file(name, bytes), { sourceType: "tgz" });
    assert.deepEqual([name, report.exitCode, report.added], [name, 0, 3]);
    assert.deepEqual(listed("linux-64"), names(large, one));
  }
});

test("archives in archives are looked into, however they are packed", async () => {
  const path = file(
    "artifact.zip",
    zip([
      { name: "a.zip", content: inner },
      { name: "b.tar.gz", content: gzipSync(tar([at("osx-arm64", two)])), method: 8 },
      { name: "c.tgz", content: gzipSync(tar([{ name: "d.zip", content: zip([at("x", large)]) }])) },
    ]),
  );
  const { report, listed } = await run(path);
  assert.deepEqual([report.exitCode, report.added], [0, 4]);
  assert.deepEqual(listed("linux-64"), names(large, one));
  assert.deepEqual(leftovers(), [], "nothing is left of what was unpacked on the way");
});

test("--src-path is searched for in the whole inner path, and every match is taken", async () => {
  const server = await fileServer({ "artifact.zip": artifact });
  const url = `${server.url}/artifact.zip`;
  const added = async (sourcePath: string) => {
    const { report } = await run(url, { sourcePath });
    return report.packages.flatMap((p) => (p.outcome === "added" ? [p.fileName] : [])).sort();
  };
  assert.deepEqual(await added("^conda_artifacts_1\\.zip/build_artifacts/linux-64/"), names(one));
  assert.deepEqual(await added("\\.conda$"), names(one, three));
  assert.deepEqual(await added("noarch"), names(three));
  assert.deepEqual(await added("(?i)NOARCH"), names(three));
  assert.deepEqual(await added("\\A(?P<inner>conda_\\w+)\\.zip/.*/one.*\\.conda\\z"), names(one));
});

test("when nothing matches, the error lists what is there, and no more than is good to read", async () => {
  const many = Array.from({ length: 50 }, (_, i) => ({ name: `noarch/p${i}-1-0.conda`, content: three.bytes }));
  const { report, failed } = await run(file("many.zip", zip(many)), { sourcePath: "linux-aarch64" });
  assert.equal(report.exitCode, 3);
  assert.match(failed[0]?.error.what ?? "", /many\.zip: no package matches linux-aarch64$/);
  assert.match(failed[0]?.error.why ?? "", /^it holds noarch\/p0-1-0\.conda, .*noarch\/p19-1-0\.conda and 30 more$/);
  const none = await run(file("none.zip", zip([{ name: "logs/build\u001b[31m.txt", content: Buffer.from("x") }])));
  assert.equal(none.failed[0]?.error.why, "it holds no .conda or .tar.bz2, but logs/build\\u{1b}[31m.txt");
  const empty = await run(file("empty.zip", zip([])));
  assert.equal(empty.failed[0]?.error.why, "it is empty");
});

test("of a zip of 1 GB on a server, one wanted member of 1 MB costs no more than itself and the directory", async () => {
  const wanted = buildConda({ name: "wanted", files: { "share/w.bin": randomBytes(1_000_000) } });
  const server = await sparseServer(
    sparseZip([
      { name: "before.bin", content: 600_000_000 },
      ...Array.from({ length: 200 }, (_, i) => ({ name: `logs/${i}.txt`, content: 1000 })),
      at("build/noarch", wanted),
      { name: "after.bin", content: 400_000_000 },
    ]),
  );
  assert.ok(server.size > 1_000_000_000);
  const { report, listed } = await run(`${server.url}/big.zip`);
  assert.equal(report.exitCode, 0);
  assert.deepEqual(listed("noarch"), names(wanted));
  assert.ok(server.sent < wanted.bytes.length + 100_000, String(server.sent));
  assert.equal(server.requests, 3, "what it is, its directory, and the member");
});

test("a zip of more than 4 GiB is read by its 64-bit numbers, at offsets behind 4 GiB", async () => {
  const server = await sparseServer(
    sparseZip([
      { name: "filler.bin", content: 5_000_000_000 },
      { name: "in.zip", content: zip([at("x", one)]) },
      at("y", three),
    ]),
  );
  const { report, failed } = await run(`${server.url}/huge.zip`);
  assert.deepEqual([report.exitCode, report.added], [0, 2], String(failed[0]?.error));
  assert.ok(server.sent < 200_000, String(server.sent));
});

test("a member goes on from where its transfer broke, stored or deflated", async () => {
  for (const method of [0, 8]) {
    const bytes = zip([
      { ...at("x", large), method },
      { name: "filler", content: randomBytes(100_000) },
    ]);
    const server = await fileServer({ "a.zip": bytes });
    // The first two requests find out what it is and read its directory; the third is the member's.
    let requests = 0;
    const get = server.misdeeds.get.bind(server.misdeeds);
    server.misdeeds.get = (path: string) => (++requests === 3 ? [{ cutAfter: 2_000_000 }] : get(path));
    const { report } = await run(`${server.url}/a.zip`);
    assert.deepEqual([report.exitCode, report.added], [0, 1]);
    assert.ok((server.sent.get("a.zip") ?? 0) < bytes.length + 200_000, String(server.sent.get("a.zip")));
    assert.equal(server.requests.length, 4);
  }
});

test("a server without ranges, or that tells no size, is read once from start to end", async () => {
  for (const misdeed of [{ noRanges: true }, { bare: true }] as const) {
    const server = await fileServer({ "a.zip": artifact });
    server.misdeeds.set("a.zip", Array(10).fill(misdeed));
    const { report } = await run(`${server.url}/a.zip`);
    assert.deepEqual([report.exitCode, report.added], [0, 2], report.packages.map((p) => JSON.stringify(p)).join());
    assert.ok(server.requests.length <= 2, String(server.requests.length));
  }
});

test("an archive that is replaced while it is read is not mixed with the new one", async () => {
  const first = zip([at("x", large)]);
  const server = await fileServer({ "a.zip": first });
  let requests = 0;
  const get = server.files.get.bind(server.files);
  server.files.get = (path: string) => {
    if (++requests === 3) server.files.set("a.zip", zip([{ name: "y", content: randomBytes(70) }, at("x", large)]));
    return get(path);
  };
  const { report, failed } = await run(`${server.url}/a.zip`);
  assert.deepEqual([report.exitCode, report.added], [1, 0]);
  assert.match(failed[0]?.error.why ?? "", /replaced while it was read/);
});

test("a run repeated fetches no member again, and equal copies of a package are one", async () => {
  const server = await fileServer({ "a.zip": zip([at("x", one), at("y", one), deflated("z", large)]) });
  const { report, target } = await run(`${server.url}/a.zip`);
  assert.deepEqual([report.exitCode, report.added, report.failed], [0, 2, 0]);
  server.requests.length = 0;
  const again = await mirror({ sources: [`${server.url}/a.zip`], target, env: {} });
  assert.deepEqual([again.exitCode, again.added, again.failed], [0, 0, 0]);
  assert.equal(server.requests.length, 2, "what it is, and its directory");
});

test("a dry run tells what is inside, and changes nothing", async () => {
  const server = await fileServer({
    "a.zip": zip([at("x", one), deflated("z", three)]),
    "b.tgz": gzipSync(tar([at("x", two)])),
  });
  const target = join(temporary(), "channel");
  const sources = [`${server.url}/a.zip`, `${server.url}/b.tgz`];
  const report = await mirror({ sources, target, env: {}, dryRun: true });
  assert.deepEqual(
    report.plan?.map((s) => [s.do, s.subdir, s.fileName]),
    [
      ["add", "linux-64", one.fileName],
      ["add", "noarch", three.fileName],
      ["add", "osx-arm64", two.fileName],
    ],
  );
  assert.deepEqual(leftovers(), []);
});

test("what has to be read before the plan can be made is told as it comes, each byte once", async () => {
  const tgz = gzipSync(tar([at("x", one), at("y", large)]));
  const server = await fileServer({ "a.zip": artifact, "b.tgz": tgz, "c.zip": zip([at("x", three)]) });
  const read = async (source: string): Promise<Record<string, { bytes: number; size: number | undefined }>> => {
    const told: Record<string, { bytes: number; size: number | undefined }> = {};
    const onEvent: MirrorOptions["onEvent"] = (e) => {
      if (e.type === "planned") assert.notEqual(Object.keys(told).length, 0);
      if (e.type !== "reading") return;
      const name = e.source.replace(server.url, "");
      told[name] = { bytes: (told[name]?.bytes ?? 0) + e.bytes, size: e.size };
    };
    const clock = { now: () => 0, random: () => 0, sleep: async () => undefined };
    await mirror({ sources: [source], target: temporary(), env: {}, onEvent, clock });
    return told;
  };
  const size = inner.length;
  assert.deepEqual(await read(`${server.url}/a.zip`), { "/a.zip/conda_artifacts_1.zip": { bytes: size, size } });
  assert.deepEqual(await read(`${server.url}/b.tgz`), { "/b.tgz": { bytes: tgz.length, size: tgz.length } });
  // A server without ranges that breaks off once: what came is taken back, and counted again.
  let requests = 0;
  const rude = createServer((_, response) => {
    response.writeHead(200, { "content-length": tgz.length });
    if (++requests > 1) response.end(tgz);
    else response.write(tgz.subarray(0, 400_000), () => setTimeout(() => response.destroy(), 20));
  });
  const url = `${await listening(rude)}/b.tgz`;
  const twice = { bytes: tgz.length * 2, size: tgz.length };
  assert.deepEqual(await read(url), { [url]: twice }, "fetched to a file, and read there");
  assert.equal(requests, 2);
});

test("reading an archive is shown on the way to the plan, and forgotten with it", async () => {
  mock.timers.enable({ apis: ["setInterval"] });
  const { makeProgress } = await import("../src/cli/progress.ts");
  let text = "";
  const progress = makeProgress("lines", { columns: 100, write: (t) => (text += t) }, () => 0);
  progress.event({ type: "reading", source: "a.zip/in.zip", bytes: 2048, size: 4096 });
  mock.timers.tick(10_000);
  progress.event({ type: "planned", packages: 2, bytes: 4096, unknownSizes: 0 });
  mock.timers.tick(10_000);
  progress.stop();
  mock.timers.reset();
  assert.match(text, /^reading archives, 2\.0 KiB\n0\/2 packages, 0 B\/4\.0 KiB/);
});

test("the spellings of the Rust tool work: paths and file URLs for every type", async () => {
  const bytes = { zip: zip([at("x", one)]), tgz: gzipSync(tar([at("x", one)])) };
  const server = await fileServer({ download: bytes.zip, download2: bytes.tgz });
  const folder = temporary();
  mkdirSync(join(folder, "with space"));
  const paths = { zip: join(folder, "with space/a.bin"), tgz: join(folder, "with space/b.bin") };
  writeFileSync(paths.zip, bytes.zip);
  writeFileSync(paths.tgz, bytes.tgz);
  const spellings: [string, string][] = [
    ["zip", paths.zip],
    ["zip-url", paths.zip],
    ["zip-url", new URL(`file://${paths.zip}`).toString()],
    ["zip-url", `${server.url}/download`],
    ["tgz", paths.tgz],
    ["tgz-url", paths.tgz],
    ["tgz-url", new URL(`file://${paths.tgz}`).toString()],
    ["tgz-url", `${server.url}/download2`],
  ];
  for (const [sourceType, source] of spellings) {
    const { report } = await run(source, { sourceType, sourcePath: ".*\\.conda$" });
    assert.deepEqual([sourceType, source, report.exitCode, report.added], [sourceType, source, 0, 1]);
  }
});

test("a zip of 300 MB, deflated, takes hardly more memory than a small one", async () => {
  const folder = temporary();
  writeFileSync(join(folder, "info"), zstdCompressSync(tar(infoOf({ name: "x" }))));
  // Deflated without being made smaller, as packages are; Python writes it piece by piece.
  const make = `
import os, sys, zipfile
path, megabytes = sys.argv[1], int(sys.argv[2])
block = os.urandom(1000000)
with zipfile.ZipFile("x", "w") as z:
    z.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
    with z.open("pkg-x-1.0-0.tar.zst", "w") as f:
        for _ in range(megabytes): f.write(block)
    z.write("info", "info-x-1.0-0.tar.zst")
with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=0) as z: z.write("x", "build/x-1.0-0.conda")
`;
  const script = join(folder, "run.mjs");
  writeFileSync(
    script,
    `const { mirror } = await import(${JSON.stringify(new URL("../src/main.ts", import.meta.url).href)});
    let most = 0;
    const look = () => (most = Math.max(most, process.memoryUsage.rss()));
    const timer = setInterval(look, 10);
    const [, , path, target] = process.argv;
    const { added } = await mirror({ sources: [path], target, env: {}, onEvent: look });
    clearInterval(timer);
    console.log(JSON.stringify([added, most]));`,
  );
  const peak = (megabytes: number): number => {
    const path = join(folder, `${megabytes}.zip`);
    const made = spawnSync("python3", ["-c", make, path, String(megabytes)], { cwd: folder, encoding: "utf8" });
    assert.equal(made.status, 0, made.stderr);
    const ran = spawnSync(process.execPath, [script, path, join(folder, String(megabytes))], { encoding: "utf8" });
    const [added, bytes] = JSON.parse(ran.stdout) as [number, number];
    assert.equal(added, 1, ran.stderr);
    return bytes / 1024 ** 2;
  };
  const [little, much] = [peak(1), peak(300)];
  assert.ok(much - little < 120, `${little} MiB for 1 MB, ${much} MiB for 300 MB`);
});

test("a token goes to the host it is for and to no other, and a URL's own secrets are shown nowhere", async () => {
  const server = await fileServer({ "a.zip": zip([at("x", one), deflated("y", three)]) });
  const env = { GITHUB_TOKEN: "ghp_secret", AZURE_DEVOPS_TOKEN: "azure_secret" };
  const { report } = await run(`${server.url}/a.zip`, { env });
  assert.equal(report.added, 2);
  assert.ok(server.requests.every((r) => r.headers.authorization === undefined));
  const secret = `${server.url.replace("//", "//user:pass-word@")}/a.zip?sig=hidden`;
  const { report: again, warnings } = await run(secret, { sourceType: "zip-url" });
  const basic = `Basic ${Buffer.from("user:pass-word").toString("base64")}`;
  assert.ok(server.requests.slice(-4).every((r) => r.headers.authorization === basic));
  const gone = await run(secret.replace("a.zip", "gone.zip"), { sourceType: "zip-url" });
  const said = JSON.stringify([again, warnings, gone.report, gone.failed.map((f) => f.error.message)]);
  assert.equal(gone.report.exitCode, 1);
  assert.doesNotMatch(said, /pass-word|hidden|secret/);
});

test("what is not there is asked for once; what may pass is asked for again", async () => {
  const server = await fileServer({ "a.zip": zip([at("x", one)]) });
  await run(`${server.url}/gone.zip`);
  assert.equal(server.requests.length, 1);
  server.misdeeds.set("a.zip", [{ status: 503 }, { status: 429 }]);
  const { report } = await run(`${server.url}/a.zip`, {
    clock: { now: () => 0, random: () => 0, sleep: async () => undefined },
  });
  assert.deepEqual([report.exitCode, report.added], [0, 1]);
});

test("a member that is no package fails by its name in every kind of archive, and the others are taken", async () => {
  const broken = { name: "x/broken-1.0-0.conda", content: Buffer.from("PK\u0003\u0004 nothing of the kind") };
  for (const [name, bytes] of [
    ["a.zip", zip([broken, at("y", one)])],
    ["a.tgz", gzipSync(tar([broken, at("y", one)]))],
  ] as const) {
    const { report, failed, listed } = await run(file(name, bytes));
    assert.deepEqual([name, report.exitCode, report.added, listed("linux-64")], [name, 1, 1, names(one)]);
    assert.equal(failed[0]?.fileName, "broken-1.0-0.conda");
    assert.match(failed[0]?.origin ?? "", /a\.(?:zip|tgz)\/x\/broken/);
  }
});

test("an interrupted run stops while an archive is read, and leaves nothing of it behind", async () => {
  const server = await fileServer({ "a.tgz": gzipSync(tar([at("x", large), at("y", one)])) });
  server.misdeeds.set("a.tgz", [{ cutAfter: 262 }, { stallAfter: 1_000_000 }]);
  const stopping = new AbortController();
  const target = join(temporary(), "channel");
  const onEvent: MirrorOptions["onEvent"] = (e) => void (e.type === "reading" && stopping.abort());
  const report = await mirror({ sources: [`${server.url}/a.tgz`], target, env: {}, signal: stopping.signal, onEvent });
  assert.deepEqual([report.exitCode, report.added, report.interrupted], [130, 0, true]);
  assert.equal(existsSync(join(target, ".meso-forge-mirror/incoming")), false);
});

test("what a killed run had unpacked goes with the next one", async () => {
  const folder = temporary();
  const path = join(folder, "a.zip");
  writeFileSync(path, zip([{ name: "in.zip", content: zip([at("x", large)]), method: 8 }]));
  const target = join(folder, "channel");
  const script = join(folder, "killed.mjs");
  writeFileSync(
    script,
    `const { mirror } = await import(${JSON.stringify(new URL("../src/main.ts", import.meta.url).href)});
    const onEvent = (e) => e.type === "planned" && process.kill(process.pid, "SIGKILL");
    await mirror({ sources: [${JSON.stringify(path)}], target: ${JSON.stringify(target)}, env: {}, onEvent });`,
  );
  assert.equal(spawnSync(process.execPath, [script]).signal, "SIGKILL");
  const incoming = join(target, ".meso-forge-mirror/incoming");
  const left = readdirSync(incoming, { recursive: true, encoding: "utf8" });
  assert.ok(
    left.some((f) => /archive-\w+/.test(f)),
    String(left),
  );
  const { exitCode, added } = await mirror({ sources: [path], target, env: {} });
  assert.deepEqual([exitCode, added, existsSync(incoming)], [0, 1, false]);
});
