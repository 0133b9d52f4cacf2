import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { test } from "node:test";
import { mirror } from "../src/main.ts";
import { type BuiltPackage, buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listed, temporary, written } from "./support/folders.ts";
import { needs, python } from "./support/needs.ts";
import { installed } from "./support/rattler.ts";

const linux = { subdir: "linux-64", build: "h0_0" };

const upstream = [
  buildConda({ name: "lib", version: "1.0", ...linux, depends: ["__glibc >=2.17", "data >=1"] }),
  buildConda({ name: "lib", version: "2.0", ...linux, depends: ["__glibc >=2.99"] }),
  buildConda({ name: "data", version: "1.0" }),
  buildConda({ name: "data", version: "3.0" }),
  buildConda({ name: "python", version: "3.12.0", ...linux }),
  buildConda({ name: "python", version: "3.13.0", ...linux }),
  buildConda({ name: "other", version: "1.0", ...linux, depends: ["nothing-that-is-there"] }),
];

/** A channel in a folder, and its files by path. */
async function channelOf(packages: readonly BuiltPackage[]) {
  const [source, channel] = [temporary(), temporary()];
  written(source, packages);
  await mirror({ sources: [source], target: channel, env: {} });
  const all = readdirSync(channel, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  const paths = all.map((f) => join(f.parentPath, f.name));
  const files = Object.fromEntries(paths.map((p) => [relative(channel, p).replaceAll("\\", "/"), readFileSync(p)]));
  return { channel, files };
}

const { channel, files } = await channelOf(upstream);
const app = buildConda({ name: "app", ...linux, depends: ["lib", "helper"] });
const helper = buildConda({ name: "helper", depends: ["data <3"] });

test("what packages need is taken from a channel too, the newest that fit, and nothing else", async () => {
  const server = await fileServer(files);
  const [source, target] = [temporary(), temporary()];
  written(source, [app, helper]);
  const options = { sources: [source], target, env: {}, withDeps: server.url };
  const planned = await mirror({ ...options, dryRun: true });
  assert.deepEqual(planned.plan?.map((s) => `${s.do} ${s.subdir}/${s.fileName}`).sort(), [
    `add linux-64/${app.fileName}`,
    "add linux-64/lib-1.0-h0_0.conda",
    "add noarch/data-1.0-0.conda",
    `add noarch/${helper.fileName}`,
  ]);
  assert.deepEqual(readdirSync(target), []);
  const { exitCode, added } = await mirror(options);
  assert.deepEqual([exitCode, added], [0, 4]);
  assert.deepEqual(listed(target, "linux-64"), [app.fileName, "lib-1.0-h0_0.conda"]);
  const before = server.requests.filter((r) => r.path.endsWith(".conda")).length;
  const again = await mirror(options);
  assert.deepEqual([again.exitCode, again.added, again.kept], [0, 0, 4]);
  assert.equal(server.requests.filter((r) => r.path.endsWith(".conda")).length, before);
});

test(
  "the target installs with no other channel, each of two packages that do not go together",
  needs(python, "py-rattler"),
  async () => {
    const [source, target] = [temporary(), temporary()];
    const tools = ["12", "13"].map((minor) =>
      buildConda({ name: "tool", subdir: "linux-64", build: `py3${minor}_0`, depends: [`python 3.${minor}.*`, "lib"] }),
    );
    written(source, tools);
    const report = await mirror({ sources: [source], target, env: {}, withDeps: channel });
    assert.deepEqual([report.exitCode, report.failed], [0, 0]);
    for (const minor of ["12", "13"]) {
      const { packages } = await installed(target, "json", `tool * py3${minor}_0`);
      const names = packages.map(([name, version]) => `${name} ${version}`);
      assert.deepEqual(names, ["data 3.0", "lib 1.0", `python 3.${minor}.0`, "tool 1.0"]);
    }
  },
);

test("packages for no platform in particular are solved for the platforms that are asked for", async () => {
  const [source, target] = [temporary(), temporary()];
  written(source, [buildConda({ name: "pure", depends: ["lib"] })]);
  const report = await mirror({ sources: [source], target, env: {}, withDeps: channel, platforms: ["linux-64"] });
  assert.equal(report.exitCode, 0);
  assert.deepEqual(listed(target, "linux-64"), ["lib-1.0-h0_0.conda"]);
});

test(
  "packages that came need each other, each its own build, and what their records say against others is held",
  needs(python, "py-rattler"),
  async () => {
    const [source, target] = [temporary(), temporary()];
    const outputs = ["12", "13"].flatMap((minor) => {
      const build = `py3${minor}_0`;
      return [
        buildConda({ name: "outer", subdir: "linux-64", build, depends: [`inner * ${build}`, `python 3.${minor}.*`] }),
        buildConda({ name: "inner", subdir: "linux-64", build, depends: [`python 3.${minor}.*`, "lib", "data"] }),
      ];
    });
    const picky = buildConda({
      name: "picky",
      ...linux,
      depends: ["data"],
      index: { constrains: ["data <3", "__cuda >=12"] },
    });
    const graphic = buildConda({ name: "graphic", ...linux, depends: ["__cuda", "python"] });
    const hopeless = buildConda({ name: "hopeless", ...linux, depends: ["other"] });
    written(source, [hopeless, ...outputs, picky, graphic]);
    const report = await mirror({ sources: [source], target, env: {}, withDeps: channel });
    assert.deepEqual(
      [report.exitCode, report.failed],
      [1, 1],
      "what one needs can't be had, which costs the others nothing",
    );
    assert.deepEqual(listed(target, "noarch"), ["data-1.0-0.conda", "data-3.0-0.conda"]);
    const solve = async (spec: string) => {
      const { packages } = await installed(target, "json", spec);
      return packages.map(([name, version, build]) => `${name} ${version} ${build}`);
    };
    for (const minor of ["12", "13"]) {
      const build = `py3${minor}_0`;
      const expected = [
        "data 3.0 0",
        `inner 1.0 ${build}`,
        "lib 1.0 h0_0",
        `outer 1.0 ${build}`,
        `python 3.${minor}.0 h0_0`,
      ];
      assert.deepEqual(await solve(`outer * ${build}`), expected);
    }
    assert.deepEqual(await solve("picky"), ["data 1.0 0", "picky 1.0 h0_0"]);
  },
);

test("dependencies that can't be had are told in the solver's words, and the packages themselves are there", async () => {
  const [source, target] = [temporary(), temporary()];
  written(source, [buildConda({ name: "needy", ...linux, depends: ["other"] })]);
  const report = await mirror({ sources: [source], target, env: {}, withDeps: channel });
  assert.deepEqual([report.exitCode, report.added, report.failed], [1, 1, 1]);
  const failure = report.packages.find((p) => p.outcome === "failed");
  assert.ok(failure?.outcome === "failed");
  assert.equal(failure.error.code, "UNSOLVABLE");
  assert.match(failure.error.why, /nothing-that-is-there/);
  assert.equal(listed(target, "linux-64").length, 1);
});

test("the channel's credentials are sent to it, and the solver never sees them", async () => {
  const server = await fileServer(files);
  const [source, target] = [temporary(), temporary()];
  written(source, [app, helper]);
  const messages: string[] = [];
  const withDeps = server.url.replace("http://", "http://someone:s3cret-word@");
  const report = await mirror({
    sources: [source],
    target,
    env: {},
    withDeps,
    onEvent: (e) => messages.push(JSON.stringify(e)),
  });
  assert.equal(report.exitCode, 0);
  const expected = `Basic ${Buffer.from("someone:s3cret-word").toString("base64")}`;
  assert.ok(server.requests.every((r) => r.headers.authorization === expected));
  assert.ok(!messages.join().includes("s3cret-word"));
});

test("a channel that can't be read fails the dependencies, not the packages", async () => {
  const server = await fileServer({});
  server.misdeeds.set("linux-64/repodata_shards.msgpack.zst", [{ status: 500 }]);
  const [source, target] = [temporary(), temporary()];
  written(source, [app, helper]);
  const report = await mirror({
    sources: [source],
    target,
    env: {},
    withDeps: server.url,
    settings: { retry_attempts: 0 },
  });
  assert.deepEqual([report.exitCode, report.added], [1, 2]);
  const failure = report.packages.find((p) => p.outcome === "failed");
  assert.ok(failure?.outcome === "failed" && /500/.test(failure.error.why), JSON.stringify(failure));
});

test("a target that follows its sources keeps what their packages need, and loses it with them", async () => {
  const [source, folder] = [temporary(), temporary()];
  written(source, [app, helper]);
  for (const target of [join(folder, "channel"), join(folder, "bundle.tar")]) {
    const options = { sources: [source], target, env: {}, withDeps: channel, delete: true };
    assert.deepEqual([(await mirror(options)).added, (await mirror(options)).removed], [4, 0]);
    const again = await mirror(options);
    assert.deepEqual([again.added, again.kept, again.removed], [0, 4, 0]);
    const unsolvable = await mirror({ ...options, withDeps: temporary() });
    assert.deepEqual([unsolvable.exitCode, unsolvable.removed], [1, 0]);
    const damaged = temporary();
    written(damaged, [{ ...app, bytes: Buffer.from("no package") }, helper]);
    const failed = await mirror({ ...options, sources: [damaged] });
    assert.deepEqual([failed.exitCode, failed.removed], [1, 0]);
    const only = { ...options, sources: [join(source, helper.fileName)], maxDelete: "100%" };
    const planned = await mirror({ ...only, dryRun: true });
    assert.equal(planned.plan?.filter((s) => s.do === "remove").length, 2);
    const left = await mirror(only);
    assert.deepEqual([left.exitCode, left.kept, left.removed], [0, 2, 2], target);
  }
});
