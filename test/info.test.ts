import assert from "node:assert/strict";
import { hash, randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { parse } from "yaml";
import { infoText } from "../src/cli/info-text.ts";
import {
  type InfoOptions,
  type InfoReport,
  info,
  mirror,
  type Offered,
  type PackageRow,
  UsageError,
} from "../src/main.ts";
import { type BuiltPackage, buildConda, buildTarBz2, built, bzip2, infoOf, tar, zip } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { cliRun } from "./support/cli.ts";
import { listed, temporary, watchLeftovers, written } from "./support/folders.ts";

const small = buildConda({
  name: "small",
  subdir: "linux-64",
  depends: ["python >=3.12"],
  files: { "share/s.txt": "s" },
});
const old = buildTarBz2({ name: "old", version: "0.9", build: "py_1" });
const large = buildConda({
  name: "large",
  files: { "share/l.bin": randomBytes(4_000_000) },
  runExports: { weak: ["large >=1"] },
});

async function rowsOf(options: InfoOptions): Promise<PackageRow[]> {
  const { rows } = await info({ env: {}, ...options });
  return rows.map((row) => {
    assert.equal(row.kind, "package");
    return row as PackageRow;
  });
}

const factsOf = (rows: readonly PackageRow[]) => rows.map((r) => [r.subdir, r.name, r.version, r.build, r.depends]);

/** Runs the arguments of a row as `mirror` would get them, and gives what came into the channel. */
async function taken(take: readonly string[] | undefined): Promise<string[]> {
  assert.ok(take);
  const flag = (name: string) => (take.includes(name) ? (take[take.indexOf(name) + 1] as string) : undefined);
  const [sourceType, sourcePath] = [flag("--src-type"), flag("--src-path")];
  const target = temporary();
  const report = await mirror({
    sources: [take[0] as string],
    ...(sourceType === undefined ? {} : { sourceType }),
    ...(sourcePath === undefined ? {} : { sourcePath }),
    target,
    env: {},
  });
  assert.equal(report.exitCode, 0);
  return ["linux-64", "noarch"].flatMap((subdir) => {
    try {
      return listed(target, subdir);
    } catch {
      return [];
    }
  });
}

const leftovers = watchLeftovers();

test("a folder's packages are listed with what they say of themselves, each with the arguments that take it alone", async () => {
  const folder = temporary();
  written(folder, [small, old]);
  const rows = await rowsOf({ source: folder });
  assert.deepEqual(factsOf(rows), [
    ["noarch", "old", "0.9", "py_1", []],
    ["linux-64", "small", "1.0", "0", ["python >=3.12"]],
  ]);
  assert.deepEqual(await taken(rows[1]?.take), [small.fileName]);
});

test("of one package everything is told, by range requests where it is remote", async () => {
  const server = await fileServer({ [large.fileName]: large.bytes });
  const [row] = await rowsOf({ source: `${server.url}/${large.fileName}` });
  assert.deepEqual(
    row?.details?.files.map((f) => [f.path, f.size]),
    [["share/l.bin", 4_000_000]],
  );
  assert.deepEqual(row?.details?.runExports, { weak: ["large >=1"] });
  assert.equal(row?.details?.index["license"], "MIT");
  assert.equal(row?.details?.about?.["summary"], "large, built for a test");
  assert.equal(row?.size, large.bytes.length);
  assert.ok((server.sent.get(large.fileName) ?? 0) < 200_000, String(server.sent.get(large.fileName)));
  assert.deepEqual(await taken(row?.take), [large.fileName]);
});

test("a file here is hashed, and packages from before paths.json have their files told too", async () => {
  const folder = temporary();
  const before = infoOf({ name: "before" }).filter((m) => m.name !== "info/paths.json");
  const ancient = built(
    "before-1.0-0.tar.bz2",
    bzip2(tar([...before, { name: "info/files", content: "bin/x\nlib/y\n" }])),
  );
  const [path] = written(folder, [ancient]) as [string];
  const [row] = await rowsOf({ source: path });
  assert.deepEqual([row?.sha256, row?.md5], [ancient.sha256, ancient.md5]);
  assert.deepEqual(row?.details?.files, [{ path: "bin/x" }, { path: "lib/y" }]);
});

test("an archive's members are told without fetching it whole, each with the arguments that take it alone", async () => {
  const at = (folder: string, p: BuiltPackage) => ({ name: `${folder}/${p.fileName}`, content: p.bytes });
  const twin = buildConda({ name: "small", version: "1.0.0" });
  const bytes = zip([
    at("a+b (1)", small),
    { name: "in.zip", content: zip([{ ...at("x", old), method: 8 }, at("y", large)]) },
    at("a+b (1)", twin),
  ]);
  const server = await fileServer({ "a.zip": bytes });
  const rows = await rowsOf({ source: `${server.url}/a.zip` });
  assert.deepEqual(
    rows.map((r) => [r.member, r.subdir, r.name, r.version]),
    [
      [`a+b (1)/${small.fileName}`, "linux-64", "small", "1.0"],
      [`in.zip/x/${old.fileName}`, "noarch", "old", "0.9"],
      [`in.zip/y/${large.fileName}`, "noarch", "large", "1.0"],
      [`a+b (1)/${twin.fileName}`, "noarch", "small", "1.0.0"],
    ],
  );
  assert.deepEqual(rows[0]?.depends, ["python >=3.12"]);
  assert.ok((server.sent.get("a.zip") ?? 0) < 600_000, String(server.sent.get("a.zip")));
  assert.deepEqual(leftovers(), []);
  for (const [i, p] of [small, old, large, twin].entries()) assert.deepEqual(await taken(rows[i]?.take), [p.fileName]);
  assert.deepEqual(
    (await rowsOf({ source: `${server.url}/a.zip`, sourcePath: "in\\.zip" })).map((r) => r.name),
    ["old", "large"],
  );
  const tgz = join(temporary(), "b.tgz");
  writeFileSync(tgz, gzipSync(tar([at("x", small), at("y", old)])));
  assert.deepEqual(factsOf(await rowsOf({ source: tgz })), factsOf([rows[0] as PackageRow, rows[1] as PackageRow]));
});

test("what can be seen only by fetching it whole is named as such, and is no failure", async () => {
  const huge = buildConda({ name: "huge", files: { "share/h.bin": randomBytes(9_000_000) } });
  const bytes = zip([
    { name: huge.fileName, content: huge.bytes, method: 8 },
    { name: small.fileName, content: small.bytes },
  ]);
  const server = await fileServer({ "a.zip": bytes, [large.fileName]: large.bytes });
  const report = await info({ source: `${server.url}/a.zip`, env: {} });
  const [row, other] = report.rows as PackageRow[];
  assert.match(row?.note ?? "", /shows only when it is fetched/);
  assert.deepEqual([row?.size, row?.name, other?.name, report.exitCode], [huge.bytes.length, undefined, "small", 0]);
  assert.ok((server.sent.get("a.zip") ?? 0) < 300_000);
  server.misdeeds.set(large.fileName, Array(5).fill({ noRanges: true }));
  const [bare] = await rowsOf({ source: `${server.url}/${large.fileName}` });
  assert.match(bare?.note ?? "", /range requests/);
});

test("a package that mirror would refuse is listed with why, and the exit code is 1", async () => {
  const folder = temporary();
  written(folder, [small, { ...old, fileName: "renamed-1-0.tar.bz2" }]);
  const report = await info({ source: folder, env: {} });
  assert.equal(report.exitCode, 1);
  assert.equal((report.rows[0] as PackageRow).error?.code, "NAME_MISMATCH");
  await assert.rejects(info({ source: join(folder, "nowhere"), env: {} }), /no such file or folder/);
});

test("filters leave out by name, and a list from a channel needs no look into its packages", async () => {
  const channel = temporary();
  const [source] = [temporary()];
  written(source, [small, old, large]);
  await mirror({ sources: [source], target: channel, env: {} });
  for (const p of [small, old, large]) {
    // What is listed is what the index says: the files could be anything.
    const folder = join(channel, p === small ? "linux-64" : "noarch");
    writeFileSync(join(folder, p.fileName), "");
  }
  const rows = await rowsOf({ source: channel, sourceType: "channel", nameFilter: "^(small|old)" });
  assert.deepEqual(rows.map((r) => [r.subdir, r.name, r.sha256]).sort(), [
    ["linux-64", "small", small.sha256],
    ["noarch", "old", old.sha256],
  ]);
});

test("exactly one source is looked at, and a wrong expression is named", async () => {
  const wrong: [InfoOptions, RegExp][] = [
    [{}, /no source/],
    [{ source: "x", pr: "1" }, /SOURCE and --pr/],
    [{ github: "a/b", azure: "a/b" }, /--github and --azure/],
    [{ github: "a/b", buildId: 1 }, /--build-id 1/],
    [{ source: ".", nameFilter: "(" }, /--name-filter \(/],
    [{ source: ".", descriptionFilter: "(" }, /--description-filter \(/],
    [{ source: ".", sourcePath: "(" }, /--src-path \(/],
    [{ source: ".", sourceType: "zipp" }, /--src-type zipp/],
  ];
  for (const [options, told] of wrong) {
    await assert.rejects(info({ env: {}, ...options }), (e) => {
      assert.ok(e instanceof UsageError, String(e));
      assert.match(e.what, told);
      return true;
    });
  }
});

const artifact: Offered = {
  kind: "artifact",
  id: "11",
  name: "conda_pkgs_linux",
  size: 2_000_000,
  created: "2026-11-20T10:00:00Z",
  expires: "2027-02-18T10:00:00Z",
  expired: false,
  take: ["owner/repo#11"],
  record: {
    id: 11,
    name: "conda_pkgs_linux",
    size_in_bytes: 2_000_000,
    expired: false,
    workflow_run: { head_branch: "main" },
  },
};
const build: Offered = {
  kind: "build",
  id: "7",
  name: "staged-recipes",
  take: ["conda-forge/feedstock-builds#7"],
  columns: {
    "Build Number": "20261120.1",
    Status: "completed",
    Result: "succeeded",
    Definition: "staged-recipes",
    "Source Branch": "refs/pull/1/merge",
    "Finish Time": "2026-11-20 10:00 UTC",
  },
  record: { id: 7, buildNumber: "20261120.1", definition: { id: 1, name: "staged-recipes" } },
};
const reportOf = (type: string, ...rows: Offered[]): InfoReport => ({ source: "owner/repo", type, rows, exitCode: 0 });
const NOW = Date.parse("2026-11-25T10:00:00Z");

test("services' rows keep the names that the service and the Rust tool gave them", async () => {
  const [json] = JSON.parse(await infoText(reportOf("github", artifact), "json", NOW)) as [Record<string, unknown>];
  assert.deepEqual([json["id"], json["size_in_bytes"], json["expired"]], [11, 2_000_000, false]);
  assert.deepEqual(json["workflow_run"], { head_branch: "main" });
  assert.equal(json["mirror"], "meso-forge-mirror mirror 'owner/repo#11' --tgt ./my-channel");
  const yaml = await infoText(reportOf("github", artifact), "yaml", NOW);
  assert.match(yaml, /^# GitHub Artifacts\n# Total artifacts found: 1\n# .*--name-filter.*\n\n- /);
  assert.deepEqual(parse(yaml), [json]);
  const table = await infoText(reportOf("github", artifact, { ...artifact, id: "12", expired: true }), "table", NOW);
  const [found, , heading, first, second] = table.split("\n");
  assert.equal(found, "Found 2 artifacts:");
  assert.deepEqual(heading?.split(/ {2,}/), ["ID", "Name", "Size", "Created", "Expires", "Expired", "Mirror Command"]);
  assert.match(
    first ?? "",
    /^11 {2}conda_pkgs_linux {2}1\.9 MiB {2}2026-11-20 10:00 UTC \(5 d ago\) {2}2027-02-18 10:00 UTC \(in 85 d\) {2}No {7}meso-forge-mirror/,
  );
  assert.match(second ?? "", /^12 .* Yes /);
  assert.match(
    await infoText(reportOf("azure", build), "yaml", NOW),
    /^# Azure DevOps Builds for owner\/repo\n# Total builds found: 1\n/,
  );
  const builds = (await infoText(reportOf("azure", build), "table", NOW)).split("\n")[2];
  assert.deepEqual(builds?.split(/ {2,}/), [
    "Build ID",
    "Build Number",
    "Status",
    "Result",
    "Definition",
    "Source Branch",
    "Finish Time",
    "Mirror Command",
  ]);
  assert.equal(await infoText(reportOf("github"), "table", NOW), "No artifacts found.");
  assert.deepEqual(parse(await infoText(reportOf("azure"), "yaml", NOW)), []);
});

test("a list too long to be told whole at first says how long it was at the end, in every form, in the source's order", async () => {
  const channel = temporary();
  mkdirSync(join(channel, "noarch"));
  const names = Array.from({ length: 1203 }, (_, i) => `p${i}`).sort();
  const records = names.map((name) => [
    `${name}-1-0.conda`,
    {
      name,
      version: "1",
      build: "0",
      build_number: 0,
      depends: name === "p7" ? ["a-very-long-dependency >=1"] : [],
      sha256: hash("sha256", name),
    },
  ]);
  const index = { info: { subdir: "noarch" }, packages: {}, "packages.conda": Object.fromEntries(records) };
  writeFileSync(join(channel, "noarch/repodata.json"), JSON.stringify(index));
  const told = (...args: string[]) => cliRun(["info", channel, "--src-type", "channel", ...args], {}, [], channel);
  const json = await told("--json");
  const rows = JSON.parse(json.out) as Record<string, unknown>[];
  assert.deepEqual(
    rows.map((row) => row["name"]),
    names,
  );
  const yaml = await told();
  assert.deepEqual(parse(yaml.out), rows);
  assert.match(
    yaml.out,
    /^# Packages of .*\n# The command .*\n\n- kind: package\n[\s\S]*\n\n# Total packages found: 1203\n$/,
  );
  const table = (await told("--encode", "table")).out.trimEnd().split("\n");
  assert.deepEqual([table.length, table.at(-1)], [3 + 1203 + 2, "Found 1203 packages."]);
  assert.match(table[3] as string, /^noarch {2}p0 {5}1 /);
  assert.match(table.find((line) => / p7 /.test(line)) as string, / a-very-long-dependency >=1$/);
  assert.deepEqual([json.code, yaml.code], [0, 0]);
});

test("foreign names can't steer a terminal, in any form", async () => {
  const evil = { ...artifact, name: "a\u001b[2Jb\nc\u202ed", record: {} };
  for (const form of ["table", "yaml", "json"] as const) {
    const text = await infoText({ ...reportOf("x", evil), source: "s\n\u001b[31m" }, form, NOW);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f]/, form);
  }
});

test("on the command line: yaml where nobody reads along, table and json on demand, failures in the log", async () => {
  const cwd = temporary();
  mkdirSync(join(cwd, "in"));
  written(join(cwd, "in"), [small, old]);
  const yaml = await cliRun(["info", "in"], {}, [], cwd);
  const json = await cliRun(["info", "--src", "in", "--encode", "json"], {}, [], cwd);
  const alsoJson = await cliRun(["info", "in", "--json"], {}, [], cwd);
  const table = await cliRun(["info", "in", "--encode", "table"], {}, [], cwd);
  assert.deepEqual([yaml.code, json.code, alsoJson.code, table.code], [0, 0, 0, 0], yaml.err + json.err + table.err);
  assert.match(yaml.out, /^# Packages of in\n# Total packages found: 2\n/);
  assert.equal(yaml.err, "");
  const rows = JSON.parse(json.out) as { fileName: string; mirror: string }[];
  assert.deepEqual(parse(yaml.out), rows);
  assert.equal(alsoJson.out, json.out);
  assert.match(
    table.out,
    /^Found 2 packages:\n\nSubdir +Name +Version +Build +Size +Built +Mirror Command +Depends\nnoarch +old +0\.9 +py_1/,
  );
  const one = await cliRun(["info", join("in", small.fileName), "--encode", "table"], {}, [], cwd);
  assert.match(
    one.out,
    /^file +small-1\.0-0\.conda\n[\s\S]*\ndepends +python >=3\.12\n[\s\S]*\n1 files, 1 B:\n1 {2}share\/s\.txt\n$/,
  );
  written(join(cwd, "in"), [{ ...old, fileName: "renamed-1-0.tar.bz2" }]);
  const failing = await cliRun(["info", "in", "--encode", "json"], {}, [], cwd);
  assert.equal(failing.code, 1);
  assert.equal((JSON.parse(failing.out) as unknown[]).length, 3);
  assert.match(failing.err, /error: renamed-1-0\.tar\.bz2: the file's name and its content don't agree/);
  assert.equal((await cliRun(["info"], {}, [], cwd)).code, 2);
  assert.equal((await cliRun(["info", "nowhere"], {}, [], cwd)).code, 3);
  assert.equal((await cliRun(["info", "in", "--encode", "xml"], {}, [], cwd)).code, 2);
  // The very command of a row, as a shell reads it.
  const command = rows.find((r) => r.fileName === small.fileName)?.mirror.replace(/^meso-forge-mirror/, "") ?? "";
  const ran = await cliRun(command.trim().split(" "), {}, [], cwd);
  assert.equal(ran.code, 0, ran.err);
  assert.deepEqual(listed(join(cwd, "my-channel"), "linux-64"), [small.fileName]);
});
