import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { basename, dirname, join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { openBundle, verifyBundle } from "../src/bundle/read-bundle.ts";
import { SourceError } from "../src/errors.ts";
import { type MirrorOptions, type MirrorReport, mirror } from "../src/main.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listening } from "./servers/listening.ts";
import { listed, temporary, visible, written } from "./support/folders.ts";
import { needs, python } from "./support/needs.ts";
import { installed } from "./support/rattler.ts";

const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;
const linux = { subdir: "linux-64", build: "h0_0" };
const a = buildConda({ name: "a", ...linux, files: { "share/a.bin": randomBytes(1_500_000) } });
const b = buildTarBz2({ name: "b" });
const c = buildConda({ name: "c" });
const d = buildConda({ name: "d", ...linux });
const never = new AbortController().signal;

/** A channel in a folder, the record of `a` hot-fixed as only upstream can. */
async function upstream(packages: readonly BuiltPackage[], hotfix = "hotfix >=1"): Promise<string> {
  const channel = temporary();
  const sources = written(temporary(), packages);
  await mirror({ sources, target: channel, env: {} });
  fix(channel, hotfix);
  return channel;
}

function fix(channel: string, hotfix: string): void {
  const path = join(channel, "linux-64/repodata.json");
  const text = readFileSync(path, "utf8");
  const own = /("a-1\.0-h0_0\.conda":\{.*?)"depends":\[.*?\](?:,"x_unknown":\{.*?\})?/;
  writeFileSync(path, text.replace(own, `$1"depends":["${hotfix}"],"x_unknown":{"n":12345678901234567890}`));
  for (const name of readdirSync(join(channel, "linux-64")))
    if (/\.zst$/.test(name)) rmSync(join(channel, "linux-64", name));
}

const run = (options: Partial<MirrorOptions> & Pick<MirrorOptions, "sources" | "target">) =>
  mirror({ env: {}, settings: { retry_attempts: 0 }, ...options });
const channel = (folder: string) => ({ sources: [folder], sourceType: "channel" });
const recordText = (folder: string, name: string) =>
  new RegExp(`"${name}[^"]*":(\\{.*?\\})(?=[,}]"|\\})`).exec(
    readFileSync(join(folder, "linux-64/repodata.json"), "utf8"),
  )?.[1];
const codes = (report: Awaited<ReturnType<typeof mirror>>) =>
  report.packages.map((p) => (p.outcome === "failed" ? p.error.code : p.outcome));

test("a channel goes through a bundle whole: packages, and records byte for byte", async () => {
  const from = await upstream([a, b, c]);
  const bundle = join(temporary(), "bundle.tar");
  const packed = await run({ ...channel(from), target: bundle });
  assert.deepEqual([packed.exitCode, packed.added], [0, 3]);
  assert.deepEqual(readdirSync(dirname(bundle)).sort(), ["bundle.manifest.json", "bundle.tar"]);
  const target = join(temporary(), "inside");
  const applied = await run({ sources: [bundle], target });
  assert.deepEqual([applied.exitCode, applied.added], [0, 3]);
  assert.ok(applied.packages.every((p) => "verified" in p && p.verified));
  assert.deepEqual([listed(target, "linux-64"), listed(target, "noarch")], [[a.fileName], [b.fileName, c.fileName]]);
  const record = recordText(from, "a");
  assert.ok(record?.includes("12345678901234567890"), record);
  assert.equal(recordText(target, "a"), record);
  assert.deepEqual(readFileSync(join(target, "linux-64", a.fileName)), a.bytes);
  const before = visible(target);
  const again = await run({ sources: [bundle], target });
  assert.deepEqual([again.added, again.kept, visible(target)], [0, 3, before]);
});

test("the same content gives the same bundle, whatever the order and the way it came; any tar can open it", async () => {
  const from = await upstream([a, b, c]);
  const server = await fileServer(
    Object.fromEntries(Object.keys(visible(from)).map((path) => [`x/${path}`, readFileSync(join(from, path))])),
  );
  const [one, two] = [join(temporary(), "one.tar"), join(temporary(), "two.tar")];
  await run({ ...channel(from), target: one });
  const urls = [`noarch/${c.fileName}`, `linux-64/${a.fileName}`, `noarch/${b.fileName}`];
  for (const url of urls) assert.equal((await run({ sources: [`${server.url}/x/${url}`], target: two })).exitCode, 0);
  assert.ok(readFileSync(one).equals(readFileSync(two)), "they differ");
  const out = temporary();
  const ended = spawnSync("python3", [
    "-c",
    `import tarfile; tarfile.open(${JSON.stringify(one)}).extractall(${JSON.stringify(out)})`,
  ]);
  assert.equal(ended.status, 0, String(ended.stderr));
  assert.deepEqual(readFileSync(join(out, "noarch", b.fileName)), b.bytes);
  assert.deepEqual(listed(out, "linux-64"), [a.fileName]);
  assert.equal(recordText(out, "a"), recordText(from, "a"));
});

test("a difference holds what is new and what was hot-fixed, and needs what came before it", async () => {
  const from = await upstream([a, b]);
  const folder = temporary();
  const [full, next] = [join(folder, "full.tar"), join(folder, "next.tar")];
  await run({ ...channel(from), target: full });
  const inside = join(temporary(), "inside");
  await run({ sources: [full], target: inside });

  await run({ sources: written(temporary(), [d]), target: from });
  fix(from, "hotfix >=2");
  const packed = await run({ ...channel(from), target: next, sinceManifest: join(folder, "full.manifest.json") });
  assert.deepEqual([packed.exitCode, packed.added, packed.kept], [0, 1, 2]);
  const bundle = await openBundle(next);
  assert.deepEqual([...bundle.members.keys()], ["bundle.json", "linux-64/repodata.json", `linux-64/${d.fileName}`]);
  assert.deepEqual(
    [...bundle.manifest.entries.values()].map((e) => [e.fileName, e.here]),
    [
      [a.fileName, false],
      [d.fileName, true],
      [b.fileName, false],
    ],
  );
  // The bundle itself serves as well as its manifest.
  const twin = join(temporary(), "next.tar");
  await run({ ...channel(from), target: twin, sinceManifest: full });
  assert.ok(readFileSync(twin).equals(readFileSync(next)));

  const applied = await run({ sources: [next], target: inside });
  assert.deepEqual([applied.exitCode, applied.added, applied.kept], [0, 1, 2]);
  assert.deepEqual(listed(inside, "linux-64"), [a.fileName, d.fileName]);
  assert.ok(recordText(inside, "a")?.includes("hotfix >=2"));
  assert.equal(recordText(inside, "a"), recordText(from, "a"));

  const elsewhere = join(temporary(), "elsewhere");
  const lacking = await run({ sources: [next], target: elsewhere });
  assert.deepEqual([lacking.exitCode, codes(lacking).sort()], [1, ["NOT_FOUND", "NOT_FOUND", "added"]]);
  const why = lacking.packages.find((p) => p.outcome === "failed");
  assert.ok(why?.outcome === "failed" && /apply the bundles that were made before/.test(why.error.next));
});

test("a repeated run fetches nothing and leaves the bundle as it is; more is added to it", async () => {
  const server = await fileServer({ [a.fileName]: a.bytes, [c.fileName]: c.bytes });
  const bundle = join(temporary(), "bundle.tar");
  const urls = [a, c].map((p) => `${server.url}/${p.fileName}#sha256:${p.sha256}`);
  await run({ sources: [urls[0] as string], target: bundle });
  const before = visible(dirname(bundle));
  const again = await run({ sources: [urls[0] as string], target: bundle });
  assert.deepEqual([again.kept, visible(dirname(bundle)), server.requests.length], [1, before, 1]);
  const more = await run({ sources: urls, target: bundle });
  assert.deepEqual([more.added, more.kept, server.requests.length], [1, 1, 2]);
  await verifyBundle(await openBundle(bundle), never);
  assert.deepEqual(
    [...(await openBundle(bundle)).manifest.entries.keys()],
    [`linux-64/${a.fileName}`, `noarch/${c.fileName}`],
  );
  const other = buildConda({ name: "c", depends: ["x"] });
  const changed = await run({ sources: written(temporary(), [other]), target: bundle });
  assert.deepEqual(codes(changed), ["CONFLICT"]);
  const replaced = await run({ sources: written(temporary(), [other]), target: bundle, onConflict: "replace" });
  assert.deepEqual(codes(replaced), ["replaced"]);
  const { manifest } = await openBundle(bundle);
  assert.equal(manifest.entries.get(`noarch/${c.fileName}`)?.sha256, other.sha256);
});

test("a bundle is one target among others, and a file that is none is not written over", async () => {
  const [folder, bundle] = [join(temporary(), "channel"), join(temporary(), "bundle.tar")];
  const both = await run({ sources: written(temporary(), [a, b]), target: [folder, bundle] });
  assert.deepEqual([both.exitCode, both.added], [0, 4]);
  const foreign = join(temporary(), "foreign.tar");
  writeFileSync(foreign, "precious");
  await assert.rejects(run({ sources: written(temporary(), [a]), target: foreign }), { code: "UNWRITABLE" });
  assert.equal(readFileSync(foreign, "utf8"), "precious");
  await assert.rejects(run({ sources: written(temporary(), [a]), target: folder, sinceManifest: bundle }), {
    code: "BAD_FLAG",
  });
  await assert.rejects(run({ sources: written(temporary(), [a]), target: bundle, sinceManifest: foreign }), {
    code: "BAD_BUNDLE",
  });
});

test("wherever a byte is changed, cut off or added, the bundle is refused and nothing is applied", async () => {
  const bundle = join(temporary(), "bundle.tar");
  await run({ sources: written(temporary(), [b, c, d]), target: bundle });
  const whole = readFileSync(bundle);
  const damaged = join(temporary(), "damaged.tar");
  const damage = fc.oneof(
    fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, flip]) => {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] as number) ^ flip;
      return bytes;
    }),
    fc.nat(whole.length - 1).map((length) => whole.subarray(0, length)),
    fc.uint8Array({ minLength: 1, maxLength: 2000 }).map((more) => Buffer.concat([whole, more])),
  );
  await fc.assert(
    fc.asyncProperty(damage, async (bytes) => {
      writeFileSync(damaged, bytes);
      const check = async () => verifyBundle(await openBundle(damaged), never);
      await assert.rejects(check, (e: SourceError) => e instanceof SourceError && e.code === "BAD_BUNDLE");
    }),
    { numRuns: 400 },
  );
  const target = join(temporary(), "inside");
  for (const at of [0, 600, Math.floor(whole.length / 2), whole.length - 1]) {
    const bytes = Buffer.from(whole);
    bytes[at] = (bytes[at] as number) ^ 1;
    writeFileSync(damaged, bytes);
    const report = await run({ sources: [damaged], sourceType: "bundle", target });
    assert.deepEqual([report.exitCode, codes(report)], [3, ["BAD_BUNDLE"]]);
    assert.deepEqual(existsSync(target) ? Object.keys(visible(target)) : [], []);
  }
});

test("what the sources no longer have goes from the bundle, and then inside, where both are told to follow", async () => {
  const folder = temporary();
  const [full, next, most] = [join(folder, "full.tar"), join(folder, "next.tar"), join(folder, "most.tar")];
  const many = Array.from({ length: 12 }, (_, i) => buildConda({ name: `m${i}`, ...linux }));
  await run({ ...channel(await upstream([a, b, ...many])), target: full });
  const inside = join(temporary(), "inside");
  await run({ sources: [full], target: inside });

  // Upstream without two packages and with a new one.
  const later = await upstream([a, b, d, ...many.slice(2)]);
  const follow = { ...channel(later), delete: true, sinceManifest: full };
  const dry = await run({ ...follow, target: next, dryRun: true });
  assert.equal(dry.plan?.filter((s) => s.do === "remove").length, 2);
  const packed = await run({ ...follow, target: next });
  assert.deepEqual([packed.exitCode, packed.added, packed.removed], [0, 1, 2]);
  const { manifest, members } = await openBundle(next);
  assert.equal(manifest.entries.size, 13);
  assert.deepEqual([...members.keys()], ["bundle.json", "linux-64/repodata.json", `linux-64/${d.fileName}`]);

  const kept = await run({ sources: [next], target: inside });
  assert.deepEqual([kept.exitCode, kept.removed, listed(inside, "linux-64").length], [0, 0, 14]);
  const followed = await run({ sources: [next], target: inside, delete: true });
  assert.deepEqual([followed.exitCode, followed.removed], [0, 2]);
  assert.deepEqual(listed(inside, "linux-64"), listed(later, "linux-64"));

  // Too much at once is stopped on both sides, and nothing is changed.
  const little = { ...channel(await upstream([a])), delete: true };
  await assert.rejects(run({ ...little, target: most, sinceManifest: full }), { code: "MAX_DELETE" });
  assert.ok(!existsSync(most));
  assert.equal((await run({ ...little, target: most, sinceManifest: full, maxDelete: "100%" })).removed, 13);
  const before = visible(inside);
  await assert.rejects(run({ sources: [most], target: inside, delete: true }), { code: "MAX_DELETE" });
  assert.deepEqual(visible(inside), before);
});

test("a source that can't be read takes nothing from a bundle", async () => {
  const bundle = join(temporary(), "b.tar");
  await run({ sources: written(temporary(), [b, c]), target: bundle });
  const before = readFileSync(bundle);
  const sources = [...written(temporary(), [c]), join(temporary(), "nowhere")];
  const report = await run({ sources, target: bundle, delete: true });
  assert.deepEqual([report.exitCode, report.removed], [1, 0]);
  assert.ok(readFileSync(bundle).equals(before));
});

test("killed at any moment, the bundle that was there stays whole, and repeating the run finishes the new one", async () => {
  const packages = Array.from({ length: 40 }, (_, i) =>
    buildConda({ name: `k${i}`, files: { f: randomBytes(20_000) } }),
  );
  const server = await fileServer(Object.fromEntries(packages.map((p) => [p.fileName, p.bytes])));
  const bundle = join(temporary(), "b.tar");
  await run({ sources: written(temporary(), [c]), target: bundle });
  const first = readFileSync(bundle);
  const urls = packages.map((p) => `${server.url}/${p.fileName}#${p.sha256}`);
  const killed = (when: () => boolean) =>
    new Promise<number | null>((resolve) => {
      const child = spawn(process.execPath, [cli, "mirror", ...urls, "--tgt", bundle, "-q"], { stdio: "ignore" });
      const watch = setInterval(() => when() && child.kill("SIGKILL"), 1);
      child.on("close", (code) => {
        clearInterval(watch);
        resolve(code);
      });
    });
  const own = join(dirname(bundle), ".b.tar.meso-forge-mirror");
  const isWriting = () => {
    try {
      return readdirSync(own, { recursive: true }).some((f) => basename(String(f)) === "bundle");
    } catch {
      return false;
    }
  };
  for (const after of [1, 15, 30]) {
    const seen = server.requests.length;
    assert.equal(await killed(() => server.requests.length - seen >= after), null);
    assert.ok(readFileSync(bundle).equals(first));
  }
  // It may be done at that very moment: whole in any case.
  await killed(isWriting);
  await verifyBundle(await openBundle(bundle), never);
  assert.equal(await killed(() => false), 0);
  await verifyBundle(await openBundle(bundle), never);
  assert.equal((await openBundle(bundle)).manifest.entries.size, 41);
  assert.deepEqual(readdirSync(dirname(bundle)).sort(), ["b.manifest.json", "b.tar"], "nothing is left behind");
});

test("the real client installs from a channel that came through two bundles", needs(python, "py-rattler"), async () => {
  const tool = buildConda({ name: "tool", ...linux, depends: ["lib >=1"] });
  const lib = buildConda({ name: "lib", version: "1.0", ...linux, files: { "lib/x": "1" } });
  const newer = buildConda({ name: "lib", version: "2.0", ...linux, files: { "lib/x": "2" } });
  const [from, folder, inside] = [temporary(), temporary(), temporary()];
  const [full, next] = [join(folder, "full.tar"), join(folder, "next.tar")];
  await run({ sources: written(temporary(), [tool, lib]), target: from });
  await run({ ...channel(from), target: full });
  await run({ sources: written(temporary(), [newer]), target: from });
  await run({ ...channel(from), target: next, sinceManifest: full });
  for (const [bundle, version] of [
    [full, "1.0"],
    [next, "2.0"],
  ] as const) {
    assert.equal((await run({ sources: [bundle], target: inside })).exitCode, 0);
    for (const format of ["json", "zst", "shards"]) {
      const { packages } = await installed(inside, format, "tool");
      const names = packages.map(([name, v]) => `${name} ${v}`);
      assert.deepEqual(names, [`lib ${version}`, "tool 1.0"]);
    }
  }
});

test("a run that was overtaken by another one on the same bundle says so, and loses nothing of it", async () => {
  const [one, other] = [buildConda({ name: "one" }), buildConda({ name: "other" })];
  const [source, target] = [temporary(), join(temporary(), "b.tar")];
  const [, path] = written(source, [one, other]) as [string, string];
  let second: Promise<MirrorReport> | undefined;
  // What the first run waits for comes when the second has ended.
  const server = createServer((_, response) => void second?.finally(() => response.end(one.bytes)));
  const first = mirror({
    sources: [`${await listening(server)}/${one.fileName}`],
    target,
    env: {},
    onEvent: (e) => {
      if (e.type === "started") second ??= mirror({ sources: [path], target, env: {} });
    },
  });
  await assert.rejects(first, { code: "LOST_RACE", exitCode: 4 });
  assert.equal((await second)?.added, 1);
  const again = await mirror({ sources: [source], target, env: {} });
  assert.deepEqual([again.added, again.kept], [1, 1]);
});
