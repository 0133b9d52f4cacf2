import assert from "node:assert/strict";
import { test } from "node:test";
import { type MirrorOptions, mirror } from "../src/main.ts";
import { neededFrom } from "../src/needed-from.ts";
import { type Choosable, choosable } from "../src/solve/choosable.ts";
import { buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { channelOf, filesOf } from "./support/channels.ts";
import { listed, temporary, visible } from "./support/folders.ts";
import { needs, python } from "./support/needs.ts";
import { installedFor } from "./support/rattler.ts";

const on = (subdir: string) => ({ subdir, build: "h0_0" });
const linux = on("linux-64");
const pins = ["11", "12"].map((minor) =>
  buildConda({
    name: "tool",
    subdir: "linux-64",
    build: `py3${minor}_0`,
    depends: [`python 3.${minor}.*`, "lib", "data"],
  }),
);
const upstreamPackages = [
  ...pins,
  buildConda({ name: "tool", ...on("osx-64"), depends: ["data >=2"] }),
  ...["3.11.0", "3.12.0", "3.13.0"].map((version) => buildConda({ name: "python", version, ...linux })),
  // The newest lib goes with nothing: its dependency is missing, and the one before asks for an older data.
  buildConda({ name: "lib", version: "3.0", ...linux, depends: ["missing"] }),
  buildConda({
    name: "lib",
    version: "2.0",
    ...linux,
    depends: ["data <2", "__glibc >=2.17"],
    index: { constrains: ["python <3.12"] },
  }),
  buildConda({ name: "lib", version: "1.0", ...linux }),
  buildConda({ name: "data", version: "1.0" }),
  buildConda({ name: "data", version: "2.0" }),
  buildConda({ name: "data", version: "3.0", depends: ["__cuda"] }),
  buildConda({ name: "pure", depends: ["data", "lib"] }),
  buildConda({ name: "lost", ...linux, depends: ["nowhere"] }),
  buildConda({ name: "other", ...linux }),
];
const upstream = await channelOf(upstreamPackages);

function run(options: Partial<MirrorOptions> & { sources: string[]; target: string }) {
  return mirror({ env: {}, sourceType: "channel", withDeps: true, settings: { retry_attempts: 0 }, ...options });
}

test("what chosen packages of a channel need comes from the channel too, for each platform, and nothing else", async () => {
  for (const [subdirs, linuxFiles, osxFiles, noarch] of [
    [
      undefined,
      [
        "lib-1.0-h0_0.conda",
        "lib-2.0-h0_0.conda",
        "python-3.11.0-h0_0.conda",
        "python-3.12.0-h0_0.conda",
        "tool-1.0-py311_0.conda",
        "tool-1.0-py312_0.conda",
      ],
      ["tool-1.0-h0_0.conda"],
      ["data-1.0-0.conda", "data-2.0-0.conda"],
    ],
    [["linux-64", "noarch"], undefined, undefined, undefined],
  ] as const) {
    const target = temporary();
    const report = await run({ sources: [upstream], target, include: ["tool"], ...(subdirs ? { subdirs } : {}) });
    assert.deepEqual([report.exitCode, report.failed], [0, 0]);
    if (linuxFiles) assert.deepEqual(listed(target, "linux-64"), linuxFiles);
    if (osxFiles) assert.deepEqual(listed(target, "osx-64"), osxFiles);
    if (noarch) assert.deepEqual(listed(target, "noarch"), noarch);
  }
});

test("a channel that is followed with what its packages need keeps it, costs one request a subdir when nothing changed, and follows", async () => {
  const server = await fileServer(filesOf(upstream));
  const target = temporary();
  const options = { sources: [server.url], target, include: ["tool"], delete: true };
  const first = await run(options);
  assert.deepEqual([first.exitCode, first.failed], [0, 0]);
  const before = visible(target);
  server.requests.length = 0;
  const again = await run(options);
  assert.deepEqual([again.added, again.removed, again.kept], [0, 0, first.added]);
  assert.equal(server.requests.length, 3);
  assert.deepEqual(visible(target), before);
  const [one, ...rest] = upstreamPackages.slice(1);
  const changed = filesOf(await channelOf([one as (typeof upstreamPackages)[0], ...rest]));
  server.files.clear();
  for (const [path, bytes] of Object.entries(changed)) server.files.set(path, bytes);
  const report = await run(options);
  assert.deepEqual([report.exitCode, report.added], [0, 0]);
  assert.ok(!listed(target, "linux-64").includes("python-3.11.0-h0_0.conda"), "what only the other needed is gone");
  assert.ok(listed(target, "linux-64").includes("python-3.12.0-h0_0.conda"));
});

test("what rules exclude is not taken for what needs it, and a package that nothing goes with is told, and taken", async () => {
  const target = temporary();
  const report = await run({ sources: [upstream], target, include: ["lost", "other", "tool"], exclude: ["data >=2"] });
  assert.equal(report.exitCode, 1);
  const failures = report.packages.flatMap((p) => (p.outcome === "failed" ? [`${p.fileName} ${p.error.code}`] : []));
  assert.deepEqual(failures.sort(), ["lost-1.0-h0_0.conda UNSOLVABLE", "tool-1.0-h0_0.conda UNSOLVABLE"]);
  assert.ok(listed(target, "linux-64").includes("lost-1.0-h0_0.conda"));
  assert.deepEqual(listed(target, "noarch"), ["data-1.0-0.conda"]);
  await assert.rejects(run({ sources: [`${upstream}/linux-64`], sourceType: "local", target }), { code: "BAD_FLAG" });
});

test(
  "the target installs each chosen package with no other channel, on each platform",
  needs(python, "py-rattler"),
  async () => {
    const server = await fileServer(filesOf(upstream));
    const target = temporary();
    const report = await run({ sources: [server.url], target, include: ["tool", "pure"] });
    assert.equal(report.exitCode, 0);
    const solve = async (subdir: string, ...specs: string[]) => {
      const { packages } = await installedFor(subdir, target, "json", ...specs);
      return packages.map(([name, version]) => `${name} ${version}`);
    };
    assert.deepEqual(await solve("linux-64", "tool * py311_0"), ["data 1.0", "lib 2.0", "python 3.11.0", "tool 1.0"]);
    assert.ok((await solve("linux-64", "tool * py312_0")).includes("python 3.12.0"));
    assert.deepEqual(await solve("osx-64", "tool"), ["data 2.0", "tool 1.0"]);
    assert.ok((await solve("linux-64", "pure")).includes("pure 1.0"));
  },
);

test("what packages need stays where a subdir could not be read when that was asked, though it was read later", async () => {
  const settings = { write_shards: false };
  const needed = buildConda({ name: "needed" });
  const others = ["a", "b", "c"].map((name) => buildConda({ name }));
  const roots = ["1.0", "2.0"].map((version) => buildConda({ name: "root", version, ...linux, depends: ["needed"] }));
  const before = filesOf(await channelOf([needed, ...others, roots[0] as (typeof roots)[number]], settings));
  const after = filesOf(await channelOf([needed, ...others, ...roots], settings));
  for (let failing = 1; failing <= 6; failing++) {
    const server = await fileServer(before);
    const target = temporary();
    const options = { sources: [server.url], target, include: ["root", "a", "b"], delete: true };
    assert.equal((await run(options)).exitCode, 0);
    for (const [path, bytes] of Object.entries(after)) server.files.set(path, bytes);
    let asked = 0;
    server.onRequest = (path) =>
      path.startsWith("noarch/repodata") && ++asked === failing ? { status: 503 } : undefined;
    await run(options).catch(() => undefined);
    assert.ok(listed(target, "noarch").includes(needed.fileName), `the request ${failing} failed`);
    delete server.onRequest;
    assert.equal((await run(options)).exitCode, 0);
    assert.deepEqual(
      listed(target, "linux-64"),
      roots.map((r) => r.fileName),
    );
    assert.ok(listed(target, "noarch").includes(needed.fileName));
  }
});

test("whoever wants it to stop is heard while it solves", async () => {
  const record = Buffer.from(JSON.stringify({ name: "a", version: "1", build: "0", build_number: 0, depends: [] }));
  const root = choosable("noarch", "a-1-0.conda", record) as Choosable;
  const roots = Array.from({ length: 2_000_000 }, () => root);
  const stopping = new AbortController();
  const from = {
    subdirs: ["noarch"],
    open: async (subdir: string) => ({
      roots: subdir === "noarch" ? roots : [],
      byName: async () => [],
      incomplete: false,
    }),
    concurrency: 1,
    signal: stopping.signal,
  };
  setTimeout(() => stopping.abort(), 1);
  await assert.rejects(neededFrom(from, ["linux-64"]), { name: "AbortError" });
});

test("where all of a channel comes, nothing is solved", async () => {
  const target = temporary();
  const impossible = buildConda({ name: "impossible", depends: ["nowhere"] });
  const source = await channelOf([impossible]);
  const report = await mirror({ sources: [source], sourceType: "channel", target, withDeps: true, env: {} });
  assert.deepEqual([report.exitCode, report.added], [0, 1]);
  const rules = { include: ["impossible"], target: temporary() };
  const chosen = await mirror({ sources: [source], sourceType: "channel", withDeps: true, env: {}, ...rules });
  assert.deepEqual([chosen.exitCode, chosen.added, chosen.failed], [1, 1, 1]);
});
