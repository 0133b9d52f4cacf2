import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import type { MirrorError } from "../src/errors.ts";
import { type MirrorOptions, type MirrorReport, mirror } from "../src/main.ts";
import { buildConda, buildTarBz2 } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { channelOf, filesOf } from "./support/channels.ts";
import { listed, repodata, temporary, visible } from "./support/folders.ts";

const linux = { subdir: "linux-64", build: "h0_0" };
const v3 = { schema_version: 3, extra_depends: { more: ["a"] } };
const packages = [
  buildConda({ name: "a", version: "1.0", runExports: { weak: ["a >=1"] } }),
  buildConda({ name: "a", version: "2.0+x!y".replace("!", "."), depends: ["b"] }),
  buildTarBz2({ name: "b", ...linux }),
  buildConda({ name: "c", ...linux }),
  buildConda({ name: "v", ...linux, index: v3 }),
];
const upstream = await channelOf(packages);

function run(options: Partial<MirrorOptions> & { sources: string[]; target: string }): Promise<MirrorReport> {
  return mirror({ env: {}, settings: { retry_attempts: 0 }, sourceType: "channel", ...options });
}

function failures(report: MirrorReport): Map<string, MirrorError> {
  return new Map(report.packages.flatMap((p) => (p.outcome === "failed" ? [[p.fileName, p.error] as const] : [])));
}

/** Everything that a channel's index says of its packages. */
function recordsOf(channel: string, subdir: string): unknown {
  const { packages: bz2, "packages.conda": conda, v3: third, removed } = repodata(channel, subdir);
  return { bz2, conda, third, removed };
}

/** The upstream channel on a server, with changes to its files. */
async function served(change: (files: Record<string, Uint8Array>) => void = () => undefined) {
  const files = filesOf(upstream);
  change(files);
  return fileServer(files);
}

/** Leaves only `repodata.json`, changed. */
// biome-ignore lint/suspicious/noExplicitAny: tests put anything into it
function onlyJson(files: Record<string, Uint8Array>, subdir: string, change: (index: any) => void): void {
  for (const path of Object.keys(files)) if (/repodata_shards|\.zst$|shards\//.test(path)) delete files[path];
  const path = `${subdir}/repodata.json`;
  const index = JSON.parse(Buffer.from(files[path] as Uint8Array).toString("utf8"));
  change(index);
  files[path] = Buffer.from(JSON.stringify(index));
}

test("a whole channel comes by any form of its index, records and run exports as they are there", async () => {
  for (const gone of [/nothing/, /shards/, /shards|\.zst$/]) {
    const server = await served((files) => {
      for (const path of Object.keys(files)) if (gone.test(path)) delete files[path];
    });
    const target = temporary();
    const report = await run({ sources: [server.url], target });
    assert.deepEqual([report.exitCode, report.added], [0, packages.length], String(gone));
    for (const subdir of ["noarch", "linux-64"])
      assert.deepEqual(recordsOf(target, subdir), recordsOf(upstream, subdir));
    const again = await run({ sources: [server.url], target });
    assert.deepEqual([again.added, again.kept, again.bytes], [0, packages.length, 0]);
  }
});

test("a channel in a folder is recognised by its file:// address, and a subdir of it can be asked for", async () => {
  const target = temporary();
  const report = await mirror({ sources: [pathToFileURL(upstream).href], subdirs: ["linux-64"], target, env: {} });
  assert.deepEqual([report.exitCode, report.added], [0, 3]);
  assert.deepEqual(recordsOf(target, "linux-64"), recordsOf(upstream, "linux-64"));
  assert.deepEqual(listed(target, "noarch"), []);
});

test("a hot-fixed record takes the place of the older one, byte for byte, and no package is fetched again", async () => {
  const [target, server] = [temporary(), await served()];
  await run({ sources: [server.url], target });
  const files = filesOf(upstream);
  const fixed =
    '{"build":"h0_0","odd":18446744073709551616,"name":"c","version":"1.0","build_number":0,"depends":["\\u0062 <9"],"subdir":"linux-64"';
  onlyJson(files, "linux-64", (index) => {
    const { sha256, size } = index["packages.conda"]["c-1.0-h0_0.conda"];
    index["packages.conda"]["c-1.0-h0_0.conda"] = "HERE";
    files["record"] = Buffer.from(`${fixed},"sha256":"${sha256}","size":${size}}`);
  });
  const record = Buffer.from(files["record"] as Uint8Array).toString("utf8");
  const text = Buffer.from(files["linux-64/repodata.json"] as Uint8Array)
    .toString("utf8")
    .replace('"HERE"', record);
  files["linux-64/repodata.json"] = Buffer.from(text);
  const changed = await fileServer(files);
  const report = await run({ sources: [changed.url], target });
  assert.deepEqual([report.exitCode, report.added, report.bytes], [0, 0, 0]);
  assert.ok(readFileSync(join(target, "linux-64/repodata.json"), "utf8").includes(record));
});

test("packages are where base_url says, beside the index or at another host, which gets no credentials of the channel", async () => {
  const files = filesOf(upstream);
  const pool = await fileServer(
    Object.fromEntries(
      Object.entries(files).flatMap(([p, b]) => (/\.(conda|bz2)$/.test(p) ? [[`pool/${p.split("/")[1]}`, b]] : [])),
    ),
  );
  for (const baseUrl of ["../pool", `${pool.url}/pool/`]) {
    const server = await served((f) => {
      for (const path of Object.keys(f)) if (/\.(conda|bz2)$/.test(path)) delete f[path];
      for (const subdir of ["noarch", "linux-64"])
        onlyJson(f, subdir, (index) => {
          index.info.base_url = baseUrl;
        });
      if (baseUrl === "../pool") for (const [p, bytes] of pool.files) f[p] = bytes;
    });
    const target = temporary();
    const report = await run({ sources: [server.url.replace("//", "//me:s3cret@")], target });
    assert.deepEqual([report.exitCode, report.added], [0, packages.length]);
    assert.equal(repodata(target, "noarch").info["base_url" as "subdir"], undefined, "the mirror does not point back");
    assert.ok(server.requests.every((r) => r.headers.authorization));
    assert.ok(pool.requests.every((r) => r.headers.authorization === undefined));
  }
});

test("a hostile index: each bad record is refused with its reason, the rest comes, and nothing is outside the target", async () => {
  const server = await served((files) => {
    onlyJson(files, "linux-64", (index) => {
      const good = index["packages.conda"]["c-1.0-h0_0.conda"];
      const conda = index["packages.conda"];
      conda["../../evil-1.0-0.conda"] = { ...good, name: "../../evil", build: "0" };
      conda["..%2fevil-1.0-0.conda"] = { ...good };
      conda["wrong-1.0-0.conda"] = { ...good, name: "wrong", build: "0", subdir: "osx-64" };
      conda["other-1.0-0.conda"] = { ...good };
      conda["huge-1.0-0.conda"] = { ...good, name: "huge", build: "0", size: 10_000_000_000 };
      conda["liar-1.0-0.conda"] = { ...good, name: "liar", build: "0" };
      conda["null-1.0-0.conda"] = null;
      files["linux-64/huge-1.0-0.conda"] = Buffer.alloc(5000);
      files["linux-64/liar-1.0-0.conda"] = files["linux-64/c-1.0-h0_0.conda"] as Uint8Array;
    });
    const path = "linux-64/repodata.json";
    const text = Buffer.from(files[path] as Uint8Array).toString("utf8");
    const record = JSON.stringify(JSON.parse(text)["packages.conda"]["c-1.0-h0_0.conda"]);
    const twice = `"twice-1.0-0.conda":${record},"twice-1.0-0.conda":${record},"two-1.0-0.conda":{"name":"two","name":"too"},`;
    files[path] = Buffer.from(text.replace('"packages.conda":{', `"packages.conda":{${twice}`));
  });
  const above = temporary();
  const target = join(above, "a/channel");
  mkdirSync(target, { recursive: true });
  const report = await run({ sources: [server.url], target });
  assert.deepEqual([report.exitCode, report.added], [1, packages.length]);
  const why = failures(report);
  for (const [fileName, reason] of [
    ["../../evil-1.0-0.conda", /characters that package names can't have/],
    ["..%2fevil-1.0-0.conda", /characters/],
    ["wrong-1.0-0.conda", /says that it is for osx-64/],
    ["other-1.0-0.conda", /the file's name says name other, the record says c/],
    ["huge-1.0-0.conda", /expected 10000000000 bytes/],
    ["liar-1.0-0.conda", /its info\/index.json says c/],
    ["null-1.0-0.conda", /no object/],
    ["twice-1.0-0.conda", /twice/],
    ["two-1.0-0.conda", /in two ways/],
  ] as const) {
    const error = why.get(fileName);
    assert.match(`${error?.what} ${error?.why}`, reason, fileName);
    why.delete(fileName);
  }
  assert.deepEqual([...why.keys()], []);
  assert.deepEqual(
    Object.keys(visible(above)).filter((p) => !p.startsWith("a/channel/")),
    [],
  );
  assert.deepEqual(
    listed(target, "linux-64"),
    listed(upstream, "linux-64").filter((f) => !f.startsWith("v-")),
  );
});

test("a base_url that points to files of this machine, out of a folder, or from https to http is not followed", async () => {
  const folder = temporary();
  for (const baseUrl of ["file:///etc/", "../../elsewhere", "ftp://example.com/"]) {
    const channel = join(folder, "channel");
    mkdirSync(join(channel, "noarch"), { recursive: true });
    writeFileSync(
      join(channel, "noarch/repodata.json"),
      JSON.stringify({ info: { subdir: "noarch", base_url: baseUrl } }),
    );
    const report = await run({ sources: [channel], target: temporary() });
    assert.equal(report.exitCode, 3, baseUrl);
    assert.match([...failures(report).values()][0]?.what ?? "", /points elsewhere/);
    const server = await fileServer({ "noarch/repodata.json": readFileSync(join(channel, "noarch/repodata.json")) });
    if (!baseUrl.startsWith(".."))
      assert.equal((await run({ sources: [server.url], target: temporary() })).exitCode, 3);
    rmSync(channel, { recursive: true });
  }
});

test("a base_url that is no address is told with its index and what is wrong; other subdirs come", async () => {
  for (const [baseUrl, why] of [
    ["./%zz/", /it says ".\/%zz\/": a "%" stands there that two hexadecimal digits must follow/],
    ["https://exa mple.org/%", /two hexadecimal digits/],
    ["http://[no/", /a URL can't be made of it/],
    ["./a%00b/", /no path may hold a zero byte/],
  ] as const) {
    const bad = (f: Record<string, Uint8Array>) =>
      onlyJson(f, "linux-64", (index) => {
        index.info.base_url = baseUrl;
      });
    const { files } = await served(bad);
    const folder = join(temporary(), "channel");
    for (const [path, bytes] of files) {
      mkdirSync(join(folder, path, ".."), { recursive: true });
      writeFileSync(join(folder, path), bytes);
    }
    const whole = await fileServer(Object.fromEntries(files));
    for (const source of [whole.url, folder]) {
      const report = await run({ sources: [source], target: temporary() });
      assert.deepEqual([report.exitCode, report.failed], [1, 1], source);
      assert.ok(report.added > 0);
      const [error] = [...failures(report).values()];
      assert.equal(error?.code, "BAD_INDEX");
      assert.match(error?.what ?? "", /: the base_url of linux-64\/repodata\.json is no address$/);
      assert.match(error?.why ?? "", why);
      assert.match(error?.next ?? "", /nothing of this subdir is taken/);
      const alone = await run({ sources: [source], target: temporary(), subdirs: ["linux-64"] });
      assert.equal(alone.exitCode, 3);
    }
  }
});

test("a channel that is not there, refuses us or has an index that can't be read is told so, and nothing is made of it", async () => {
  for (const [files, code] of [
    [{}, "NOT_FOUND"],
    [{ "noarch/repodata.json": Buffer.from('{"packages":[') }, "BAD_INDEX"],
    [{ "noarch/repodata.json": Buffer.alloc(0) }, "BAD_INDEX"],
    [{ "noarch/repodata.json": Buffer.from('{"info":{"subdir":"linux-64"}}') }, "BAD_INDEX"],
  ] as const) {
    const server = await fileServer(files);
    const target = join(temporary(), "channel");
    const report = await run({ sources: [server.url], target });
    assert.deepEqual([report.exitCode, [...failures(report).values()][0]?.code], [3, code]);
    assert.deepEqual(report.added, 0);
  }
});

test("what a server gives in place of an index is called by its name", async () => {
  const page = Buffer.from("\n<!doctype html><p>Please sign in</p>");
  for (const [files, why] of [
    [{ "noarch/repodata.json": page, "noarch/repodata.json.zst": page }, /a web page came in its place/],
    [{ "noarch/repodata.json": page, "noarch/repodata_shards.msgpack.zst": page }, /a web page came in its place/],
    [{ "noarch/repodata.json": Buffer.alloc(0) }, /a file of no bytes/],
    [{ "noarch/repodata.json": gzipSync("{}") }, /compressed with gzip/],
  ] as const) {
    const server = await fileServer(files);
    const report = await run({ sources: [server.url], target: join(temporary(), "channel") });
    const [error] = failures(report).values();
    assert.equal(error?.code, "BAD_INDEX");
    assert.match(`${error?.message}`, why);
  }
});
