import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { test } from "node:test";
import { type MirrorOptions, mirror } from "../src/main.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listed, repodata, temporary, written } from "./support/folders.ts";

const linux = { subdir: "linux-64", build: "h0_0" };
const a = buildConda({ name: "a", ...linux });
const b = buildTarBz2({ name: "b" });
const other = buildConda({ name: "a", ...linux, depends: ["other"] });

/** A channel's files by path, with `a` hot-fixed. */
async function channelFiles(): Promise<Record<string, Buffer>> {
  const [source, channel] = [temporary(), temporary()];
  await mirror({ sources: written(source, [a, b]), target: channel, env: {} });
  const path = join(channel, "linux-64/repodata.json");
  writeFileSync(
    path,
    readFileSync(path, "utf8").replace(
      '"depends":[]',
      '"depends":["hotfix >=1"],"x_unknown":{"n":12345678901234567890}',
    ),
  );
  for (const derived of ["repodata.json.zst", "repodata_shards.msgpack.zst"])
    writeFileSync(join(channel, "linux-64", derived), "");
  const files = readdirSync(channel, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  const paths = files.map((f) => join(f.parentPath, f.name)).filter((p) => readFileSync(p).length > 0);
  return Object.fromEntries(paths.map((p) => [`c/${relative(channel, p).replaceAll("\\", "/")}`, readFileSync(p)]));
}
const files = await channelFiles();

const pixi = (base: string, packages: readonly { url: string; sha256?: string; env?: string }[]) =>
  `version: 6
environments:
${[...new Set(packages.map((p) => p.env ?? "default"))]
  .map((env) => {
    const own = packages.filter((p) => (p.env ?? "default") === env);
    const lines = own.map((p) => `        - conda: ${base}${p.url}`).join("\n");
    return `  ${env}:\n    channels: []\n    packages:\n      linux-64:\n${lines}\n        - pypi: https://pypi.example/x-1.whl`;
  })
  .join("\n")}
packages:
${packages.map((p) => `  - conda: ${base}${p.url}${p.sha256 ? `\n    sha256: ${p.sha256}` : ""}`).join("\n")}
  - pypi: https://pypi.example/x-1.whl
`;

async function run(options: Partial<MirrorOptions> & { sources: readonly string[] }) {
  const warnings: string[] = [];
  const target = join(temporary(), "channel");
  const report = await mirror({
    target,
    env: {},
    settings: { retry_attempts: 0 },
    ...options,
    onEvent: (e) => {
      if (e.type === "warning") warnings.push(e.message);
    },
  });
  return { report, warnings, target: typeof options.target === "string" ? options.target : target };
}

function fileOf(name: string, text: string): string {
  const path = join(temporary(), name);
  writeFileSync(path, text);
  return path;
}

test("a pixi.lock is recognised; its packages come with the channel's record of today, PyPI packages are told of", async () => {
  const server = await fileServer(files);
  const lock = fileOf(
    "pixi.lock",
    pixi(`${server.url}/c/`, [
      { url: `linux-64/${a.fileName}`, sha256: a.sha256 },
      { url: `noarch/${b.fileName}`, sha256: b.sha256 },
    ]),
  );
  const { report, warnings, target } = await run({ sources: [lock] });
  assert.deepEqual([report.exitCode, report.added], [0, 2], JSON.stringify(report));
  assert.deepEqual([listed(target, "linux-64"), listed(target, "noarch")], [[a.fileName], [b.fileName]]);
  const text = readFileSync(join(target, "linux-64/repodata.json"), "utf8");
  assert.ok(text.includes('"depends":["hotfix >=1"],"x_unknown":{"n":12345678901234567890}'), text);
  assert.ok(report.packages.every((p) => "verified" in p && p.verified));
  assert.equal(warnings.filter((w) => /1 left out, since PyPI packages/.test(w)).length, 1, warnings.join("\n"));
  const again = await run({ sources: [lock], target });
  assert.deepEqual([again.report.added, again.report.kept], [0, 2]);
  // A later hot-fix takes the place of the earlier.
  const index = "c/linux-64/repodata.json";
  server.files.set(index, Buffer.from(String(server.files.get(index)).replace("hotfix >=1", "hotfix >=2")));
  await run({ sources: [lock], target });
  assert.deepEqual(repodata(target, "linux-64")["packages.conda"][a.fileName]?.["depends"], ["hotfix >=2"]);
});

test("the hashes bind: what the channel holds today under the name is refused, and its record is not used", async () => {
  const server = await fileServer(files);
  const lock = fileOf("pixi.lock", pixi(`${server.url}/c/`, [{ url: `linux-64/${a.fileName}`, sha256: other.sha256 }]));
  const changed = await run({ sources: [lock] });
  assert.deepEqual([changed.report.exitCode, changed.report.failed], [1, 1]);
  const [failure] = changed.report.packages;
  assert.ok(failure?.outcome === "failed" && failure.error.code === "HASH_MISMATCH");
  assert.ok(changed.warnings.some((w) => /other bytes today/.test(w)));
  server.files.set(`c/linux-64/${a.fileName}`, other.bytes);
  const { report, target } = await run({ sources: [lock] });
  assert.equal(report.exitCode, 0);
  assert.deepEqual(repodata(target, "linux-64")["packages.conda"][a.fileName]?.["depends"], ["other"]);
});

test("a channel without an index, or with one that can't be read, costs the hot-fixes, not the packages", async () => {
  const server = await fileServer({ [`c/linux-64/${a.fileName}`]: a.bytes, [`d/noarch/${b.fileName}`]: b.bytes });
  server.misdeeds.set("d/noarch/repodata_shards.msgpack.zst", [{ status: 500 }]);
  const text = ["@EXPLICIT", `${server.url}/c/linux-64/${a.fileName}#${a.md5}`, `${server.url}/d/noarch/${b.fileName}`];
  const { report, warnings } = await run({ sources: [fileOf("list.txt", text.join("\n"))] });
  assert.deepEqual([report.exitCode, report.added], [0, 2], JSON.stringify(report.packages));
  assert.equal(warnings.filter((w) => /records are made from the packages/.test(w)).length, 1);
  assert.deepEqual(
    report.packages.map((p) => "verified" in p && p.verified),
    [true, false],
  );
});

test("several lock files are merged: each package once, and a name with two hashes is taken from none", async () => {
  const server = await fileServer({ ...files, [`d/linux-64/${a.fileName}`]: other.bytes });
  const one = fileOf(
    "pixi.lock",
    pixi(`${server.url}/c/`, [
      { url: `linux-64/${a.fileName}`, sha256: a.sha256 },
      { url: `noarch/${b.fileName}`, sha256: b.sha256 },
    ]),
  );
  const same = fileOf(
    "same.txt",
    `@EXPLICIT\n${server.url}/c/linux-64/${a.fileName}#${a.md5}\n${server.url}/c/noarch/${b.fileName}#${b.md5}\n`,
  );
  const merged = await run({ sources: [one, same] });
  assert.deepEqual([merged.report.exitCode, merged.report.added, merged.report.packages.length], [0, 2, 2]);
  const differs = fileOf("other.txt", `@EXPLICIT\n${server.url}/d/linux-64/${a.fileName}#${other.md5}\n`);
  const { report, target } = await run({
    sources: [
      differs,
      fileOf(
        "third.txt",
        `@EXPLICIT\n${server.url}/c/linux-64/${a.fileName}#${a.md5}\n${server.url}/c/noarch/${b.fileName}#${b.md5}\n`,
      ),
    ],
  });
  assert.deepEqual([report.exitCode, report.added, report.failed], [1, 1, 2]);
  assert.deepEqual(listed(target, "noarch"), [b.fileName]);
  assert.ok(!readdirSync(target).includes("linux-64"));
});

test("environments are chosen, and one that is not there is told with those that are", async () => {
  const server = await fileServer(files);
  const packages = [
    { url: `linux-64/${a.fileName}`, env: "default" },
    { url: `noarch/${b.fileName}`, env: "docs" },
  ];
  const lock = fileOf("pixi.lock", pixi(`${server.url}/c/`, packages));
  const { report } = await run({ sources: [lock], environments: ["docs"], platforms: ["linux-64"] });
  assert.deepEqual(
    report.packages.map((p) => p.fileName),
    [b.fileName],
  );
  const missing = await run({ sources: [lock], environments: ["prod"] });
  const [failure] = missing.report.packages;
  assert.ok(failure?.outcome === "failed" && /default, docs/.test(failure.error.why));
});

test("an environment's conda-meta folder is the best of lists", async () => {
  const server = await fileServer(files);
  const prefix = temporary();
  mkdirSync(join(prefix, "conda-meta"));
  const meta = (p: BuiltPackage, subdir: string) => ({
    fn: p.fileName,
    url: `${server.url}/c/${subdir}/${p.fileName}`,
    md5: p.md5,
    sha256: p.sha256,
    size: p.bytes.length,
    subdir,
  });
  writeFileSync(join(prefix, "conda-meta/a.json"), JSON.stringify(meta(a, "linux-64")));
  writeFileSync(join(prefix, "conda-meta/b.json"), JSON.stringify(meta(b, "noarch")));
  writeFileSync(join(prefix, "conda-meta/history"), "==> 2025 <==");
  writeFileSync(join(prefix, "conda-meta/own.json"), JSON.stringify({ fn: "own-1-0.conda", url: "<unknown>" }));
  for (const [source, type] of [
    [join(prefix, "conda-meta"), undefined],
    [prefix, "lock"],
  ] as const) {
    const { report, warnings } = await run({ sources: [source], ...(type ? { sourceType: type } : {}) });
    assert.deepEqual([report.exitCode, report.added], [0, 2]);
    assert.ok(warnings.some((w) => /own-1-0.conda/.test(w)));
  }
});

test("paths start at the lock file, in a list at the working directory, with ~ and variables; never in one from elsewhere", async () => {
  const folder = temporary();
  mkdirSync(join(folder, "pkgs/noarch"), { recursive: true });
  written(join(folder, "pkgs/noarch"), [b]);
  const lock = join(folder, "pixi.lock");
  writeFileSync(lock, pixi("./pkgs/noarch/", [{ url: b.fileName, sha256: b.sha256 }]));
  assert.equal((await run({ sources: [lock] })).report.added, 1);
  const list = fileOf("list.txt", `@EXPLICIT\n$PKGS/noarch/${b.fileName}#${b.md5}\n`);
  assert.equal((await run({ sources: [list], env: { PKGS: join(folder, "pkgs") } })).report.added, 1);
  const odd = fileOf("odd.txt", `@EXPLICIT\nfile:///x%2Fy/${b.fileName}\n`);
  const [nowhere] = (await run({ sources: [odd] })).report.packages;
  assert.ok(nowhere?.outcome === "failed" && /names no file of this machine/.test(nowhere.error.why));
  const server = await fileServer({
    "x/pixi.lock": readFileSync(lock),
    [`x/pkgs/noarch/${b.fileName}`]: b.bytes,
    "evil.lock": Buffer.from(`@EXPLICIT\n/etc/a-1-0.conda\n`),
    "env.lock": Buffer.from(`@EXPLICIT\n${"http://127.0.0.1:9"}/$SECRET/noarch/a-1-0.conda\n`),
  });
  const remote = await run({ sources: [`${server.url}/x/pixi.lock`] });
  assert.deepEqual([remote.report.exitCode, remote.report.added], [0, 1]);
  const refused = await run({ sources: [`${server.url}/evil.lock`] });
  const [failure] = refused.report.packages;
  assert.ok(failure?.outcome === "failed" && /another machine may not name/.test(failure.error.why));
  const secret = await run({ sources: [`${server.url}/env.lock`], env: { SECRET: "s3cret" } });
  assert.ok(!JSON.stringify(secret.report).includes("s3cret"));
});

test("user names, passwords and tokens of URLs are sent to their host, and told nowhere", async () => {
  const server = await fileServer({ [`t/s3cret-token/c/noarch/${b.fileName}`]: b.bytes });
  const url = `${server.url.replace("//", "//someone:s3cret-word@")}/t/s3cret-token/c/noarch`;
  const events: string[] = [];
  const list = fileOf("l.lock", `@EXPLICIT\n${url}/${b.fileName}#${b.md5}\n${url}/gone-1-0.conda#${b.md5}\n`);
  const report = await mirror({
    sources: [list],
    target: temporary(),
    env: {},
    settings: { retry_attempts: 0 },
    onEvent: (e) => events.push(JSON.stringify(e)),
  });
  assert.deepEqual([report.added, report.failed], [1, 1]);
  const expected = `Basic ${Buffer.from("someone:s3cret-word").toString("base64")}`;
  assert.ok(server.requests.every((r) => r.headers.authorization === expected));
  const told = `${events.join("\n")}${JSON.stringify(report)}${report.packages.map((p) => (p.outcome === "failed" ? p.error.stack : "")).join()}`;
  assert.ok(!told.includes("s3cret"), told);
});

test("conda list --json is enough where the channel lists what it names, in either format", async () => {
  const server = await fileServer(files);
  const entry = (dist_name: string, platform: string) => ({
    base_url: `${server.url}/c`,
    platform,
    dist_name,
    channel: "c",
  });
  const text = JSON.stringify([
    entry("a-1.0-h0_0", "linux-64"),
    entry("b-1.0-0", "noarch"),
    entry("gone-1.0-0", "noarch"),
    { ...entry("x-1-pypi_0", "pypi"), channel: "pypi" },
  ]);
  const { report, warnings, target } = await run({ sources: [fileOf("list.json", text)] });
  assert.deepEqual([report.exitCode, report.added, report.failed], [1, 2, 1], JSON.stringify(report.packages));
  assert.ok(report.packages.every((p) => p.outcome === "failed" || ("verified" in p && p.verified)));
  assert.deepEqual(listed(target, "linux-64"), [a.fileName]);
  assert.ok(warnings.some((w) => /x-1-pypi_0/.test(w)));
});
