import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type MirrorOptions, mirror } from "../src/main.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { temporary, written } from "./support/folders.ts";
import { fixtures, needs } from "./support/needs.ts";

const env = { PATH: process.env["PATH"] };
const intoPkgs = (pkgs: string, sources: string[], more: Partial<MirrorOptions> = {}) =>
  mirror({ sources, target: pkgs, targetType: "conda-pkgs", env, ...more });

interface CondaRecord {
  readonly fn: string;
  readonly url: string;
  readonly channel: string;
  readonly name: string;
  readonly md5: string;
  readonly sha256: string;
  readonly size: number;
  readonly [key: string]: unknown;
}
const stemOf = (fileName: string) => fileName.replace(/\.conda$|\.tar\.bz2$/, "");
const recordOf = (pkgs: string, fileName: string): CondaRecord =>
  JSON.parse(readFileSync(join(pkgs, stemOf(fileName), "info/repodata_record.json"), "utf8"));

/** Conda takes what is unpacked when name, size and MD5 are those it looks for and a URL is recorded. */
function condaTakes(pkgs: string, fileName: string, wanted: { name: string; size: number; md5: string }): boolean {
  const r = recordOf(pkgs, fileName);
  const isCache = existsSync(join(pkgs, "urls.txt"));
  return isCache && r.name === wanted.name && r.size === wanted.size && r.md5 === wanted.md5 && r.url !== "";
}

/** Mamba takes it when size, SHA-256 and the URL without scheme and credentials are those it looks for. */
function mambaTakes(pkgs: string, fileName: string, wanted: { size: number; sha256: string; url: string }): boolean {
  const bare = (url: string) => url.replace(/^[a-z]+:\/\/(?:[^@/]*@)?/, "");
  const r = recordOf(pkgs, fileName);
  const isCache = existsSync(join(pkgs, "urls.txt"));
  return isCache && r.size === wanted.size && r.sha256 === wanted.sha256 && bare(r.url) === bare(wanted.url);
}

/** The archive too is what it must be. */
function archiveIs(pkgs: string, p: BuiltPackage): void {
  const bytes = readFileSync(join(pkgs, p.fileName));
  assert.equal(createHash("sha256").update(bytes).digest("hex"), p.sha256);
}

test("archive, unpacked package, its record and urls.txt are what conda and mamba look for", async () => {
  const [source, channel, pkgs] = [temporary(), temporary(), temporary()];
  const packages = [
    buildConda({ name: "a", subdir: "linux-64", files: { "lib/a": "a" }, index: { custom: { kept: [1, null] } } }),
    buildTarBz2({ name: "b", files: { b: "b" } }),
  ];
  written(source, packages);
  await mirror({ sources: [source], target: channel, env });
  const paths = readdirSync(channel, { recursive: true, encoding: "utf8" }).filter((f) =>
    /repodata.json$|a-1|b-1/.test(f),
  );
  const server = await fileServer(
    Object.fromEntries(paths.map((f) => [`t/tok-en123/conda-x/${f}`, readFileSync(join(channel, f))])),
  );
  const base = `${server.url}/t/tok-en123/conda-x`;
  const urls = packages.map((p, i) => `${base}/${i === 0 ? "linux-64" : "noarch"}/${p.fileName}`);
  const report = await intoPkgs(pkgs, urls, { settings: { max_concurrent_downloads: 1 } });
  assert.deepEqual([report.exitCode, report.added], [0, 2]);
  for (const [i, p] of packages.entries()) {
    const subdir = i === 0 ? "linux-64" : "noarch";
    const url = `${server.url}/conda-x/${subdir}/${p.fileName}`;
    const wanted = { name: i === 0 ? "a" : "b", size: p.bytes.length, md5: p.md5, sha256: p.sha256, url };
    assert.ok(condaTakes(pkgs, p.fileName, wanted));
    assert.ok(mambaTakes(pkgs, p.fileName, wanted));
    archiveIs(pkgs, p);
    const r = recordOf(pkgs, p.fileName);
    assert.deepEqual([r.fn, r.url, r.channel], [p.fileName, url, `${server.url}/conda-x`]);
    assert.ok(!JSON.stringify(r).includes("tok-en123"), "the token is written nowhere");
  }
  assert.deepEqual(recordOf(pkgs, packages[0]?.fileName as string)["custom"], { kept: [1, null] });
  assert.equal(readFileSync(join(pkgs, "a-1.0-0/lib/a"), "utf8"), "a");
  assert.deepEqual(readFileSync(join(pkgs, "urls.txt"), "utf8").split(/\r?\n/), [
    ...packages.map((p, i) => `${server.url}/conda-x/${i === 0 ? "linux-64" : "noarch"}/${p.fileName}`),
    "",
  ]);
  const sent = [...server.sent.entries()].filter(([path]) => /conda$|bz2$/.test(path)).map(([, n]) => n);
  const again = await intoPkgs(pkgs, urls);
  assert.deepEqual([again.added, again.kept], [0, 2]);
  const sentNow = [...server.sent.entries()].filter(([path]) => /conda$|bz2$/.test(path)).map(([, n]) => n);
  assert.deepEqual(sentNow, sent);
  assert.equal(readFileSync(join(pkgs, "urls.txt"), "utf8").trim().split(/\r?\n/).length, 2);
});

test("packages from a folder are recorded with file URLs, and a run repeated changes nothing", async () => {
  const [source, pkgs] = [temporary(), temporary()];
  const p = buildConda({ name: "a" });
  const [path] = written(source, [p]) as [string];
  await intoPkgs(pkgs, [path]);
  assert.equal(recordOf(pkgs, p.fileName).url, `file://${path}`);
  assert.equal(recordOf(pkgs, p.fileName).channel, `file://${source}`);
  assert.equal((await intoPkgs(pkgs, [path])).kept, 1);
  assert.ok(!existsSync(join(pkgs, ".meso-forge-mirror/incoming")));
});

test("what is missing or damaged is mended: an archive that was cut, no record, nothing unpacked; cleaned archives are no damage", async () => {
  const [source] = [temporary()];
  const p = buildConda({ name: "a", files: { f: "content" } });
  const sources = written(source, [p]);
  const spoilt: [string, (pkgs: string) => void, "added" | "kept"][] = [
    ["archive cut", (pkgs) => truncateSync(join(pkgs, p.fileName), 10), "added"],
    ["no record", (pkgs) => rmSync(join(pkgs, "a-1.0-0/info/repodata_record.json")), "added"],
    ["not unpacked", (pkgs) => rmSync(join(pkgs, "a-1.0-0"), { recursive: true }), "added"],
    ["archives cleaned", (pkgs) => rmSync(join(pkgs, p.fileName)), "kept"],
  ];
  for (const [what, spoil, outcome] of spoilt) {
    const pkgs = temporary();
    await intoPkgs(pkgs, sources);
    spoil(pkgs);
    const report = await intoPkgs(pkgs, sources);
    assert.deepEqual([report.exitCode, report[outcome]], [0, 1], what);
    assert.ok(condaTakes(pkgs, p.fileName, { name: "a", size: p.bytes.length, md5: p.md5 }), what);
    if (outcome === "added") archiveIs(pkgs, p);
  }
});

test("another package of the same name, version and build is refused, skipped or put in its place, as asked", async () => {
  const pkgs = temporary();
  const [one, two] = ["one", "two"].map((f) => buildConda({ name: "a", files: { f } })) as [BuiltPackage, BuiltPackage];
  const bz2 = buildTarBz2({ name: "a", files: { f: "three" } });
  await intoPkgs(pkgs, written(temporary(), [one]));
  for (const other of [two, bz2]) {
    const sources = written(temporary(), [other]);
    const refused = await intoPkgs(pkgs, sources);
    const [outcome] = refused.packages;
    assert.ok(outcome?.outcome === "failed" && outcome.error.code === "CONFLICT", other.fileName);
    assert.equal((await intoPkgs(pkgs, sources, { onConflict: "skip" })).skipped, 1);
    archiveIs(pkgs, one);
    assert.equal(readFileSync(join(pkgs, "a-1.0-0/f"), "utf8"), "one");
  }
  assert.equal((await intoPkgs(pkgs, written(temporary(), [two]), { onConflict: "replace" })).replaced, 1);
  archiveIs(pkgs, two);
  assert.equal(readFileSync(join(pkgs, "a-1.0-0/f"), "utf8"), "two");
  assert.equal(recordOf(pkgs, two.fileName).sha256, two.sha256);
  // An archive that nothing is unpacked of, and that is not ours.
  const left = temporary();
  writeFileSync(join(left, one.fileName), "something else");
  const refused = await intoPkgs(left, written(temporary(), [one]));
  assert.equal(refused.exitCode, 1);
  assert.equal(readFileSync(join(left, one.fileName), "utf8"), "something else");
});

test("runs that fill one cache at once both succeed, and every package is whole", async () => {
  const [source, pkgs] = [temporary(), temporary()];
  const packages = Array.from({ length: 30 }, (_, i) => buildConda({ name: `p${i}`, files: { f: "x".repeat(2000) } }));
  written(source, packages);
  const both = await Promise.all([intoPkgs(pkgs, [source]), intoPkgs(pkgs, [source])]);
  for (const report of both) assert.deepEqual([report.added + report.kept, report.failed], [30, 0]);
  for (const [i, p] of packages.entries()) {
    assert.ok(condaTakes(pkgs, p.fileName, { name: `p${i}`, size: p.bytes.length, md5: p.md5 }));
    archiveIs(pkgs, p);
  }
});

test("a package can't lead the record out of its folder", async () => {
  const [source, pkgs, outside] = [temporary(), temporary(), temporary()];
  const victim = join(outside, "victim");
  writeFileSync(victim, "safe");
  const link = { name: "info/repodata_record.json", type: "2", link: victim };
  const folder = { name: "info/repodata_record.json/x", content: "x" };
  const packages = [buildConda({ name: "a", infoLast: [link] }), buildConda({ name: "b", infoLast: [folder] })];
  const report = await intoPkgs(pkgs, written(source, packages));
  assert.deepEqual([report.exitCode, report.added], [0, 2]);
  assert.equal(readFileSync(victim, "utf8"), "safe");
  for (const p of packages) assert.equal(recordOf(pkgs, p.fileName).fn, p.fileName);
});

test(
  "every shared fixture is taken by the rules of conda and mamba",
  needs(join(fixtures, "packages"), "shared fixtures"),
  async () => {
    const pkgs = temporary();
    const folder = join(fixtures, "packages");
    const report = await intoPkgs(pkgs, [folder]);
    assert.equal(report.exitCode, 0);
    assert.ok(report.added >= 43);
    for (const p of report.packages) {
      if (p.outcome !== "added") continue;
      const bytes = readFileSync(join(folder, p.fileName));
      const hash = (kind: string) => createHash(kind).update(bytes).digest("hex");
      const { name } = JSON.parse(readFileSync(join(pkgs, stemOf(p.fileName), "info/index.json"), "utf8"));
      const url = `file://${join(folder, p.fileName)}`;
      const wanted = { name, size: bytes.length, md5: hash("md5"), sha256: hash("sha256"), url };
      assert.ok(condaTakes(pkgs, p.fileName, wanted), p.fileName);
      assert.equal(recordOf(pkgs, p.fileName).sha256, wanted.sha256);
    }
  },
);
