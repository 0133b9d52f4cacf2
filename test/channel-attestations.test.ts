// needs minio
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { goProgram } from "../scripts/go-programs.ts";
import type { MirrorError } from "../src/errors.ts";
import { type MirrorOptions, type MirrorReport, mirror } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { startS3 } from "./servers/s3-server.ts";
import { objects } from "./support/bucket.ts";
import { listed, repodata, temporary, visible } from "./support/folders.ts";
import { needs } from "./support/needs.ts";

const a = buildConda({ name: "a" });
const b = buildConda({ name: "b" });
const bundles = (...notes: string[]) =>
  Buffer.from(JSON.stringify(notes.map((note) => ({ mediaType: "bundle", note }))));
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

function runAt(
  now: number,
  options: Partial<MirrorOptions> & { sources: string[]; target: string },
): Promise<MirrorReport> {
  const clock = { now: () => now, random: () => 0, sleep: async () => undefined };
  return mirror({ env: {}, settings: { retry_attempts: 0 }, sourceType: "channel", clock, ...options });
}

function failures(report: MirrorReport): Map<string, MirrorError> {
  return new Map(report.packages.flatMap((p) => (p.outcome === "failed" ? [[p.fileName, p.error] as const] : [])));
}

/** A channel that promises attestations of `a`: what its record says, and what is served. */
async function channel() {
  const server = await fileServer({});
  const become = (promised: unknown, sidecars: readonly Uint8Array[], names = [a, b]) => {
    server.files.clear();
    const record = (p: typeof a) => ({
      build: "0",
      build_number: 0,
      depends: [],
      name: p === a ? "a" : "b",
      version: "1.0",
      md5: p.md5,
      sha256: p.sha256,
      size: p.bytes.length,
      ...(p === a && promised !== undefined ? { attestations_sha256: promised } : {}),
    });
    const records = Object.fromEntries(names.map((p) => [p.fileName, record(p)]));
    server.files.set("noarch/repodata.json", Buffer.from(JSON.stringify({ "packages.conda": records })));
    for (const p of names) server.files.set(`noarch/${p.fileName}`, p.bytes);
    for (const s of sidecars) server.files.set(`noarch/${a.fileName}.sigs.${sha256(s)}`, s);
  };
  return { server, become };
}

function promisedIn(target: string): unknown {
  return repodata(target, "noarch")["packages.conda"][a.fileName]?.["attestations_sha256"];
}

const sigs = `noarch/${a.fileName}.sigs`;

test("attestations that a record promises come as they are, under their hash and their name; what is added later comes too, and they go with their package", async () => {
  const upstream = await channel();
  const [one, two] = [bundles("first"), bundles("first", "second")];
  const target = temporary();
  const options = { sources: [upstream.server.url], target };
  upstream.become(sha256(one), [one]);
  const first = await runAt(1e12, options);
  assert.deepEqual([first.added, first.exitCode], [2, 0]);
  for (const path of [sigs, `${sigs}.${sha256(one)}`]) assert.deepEqual(readFileSync(join(target, path)), one);
  assert.equal(promisedIn(target), sha256(one));
  upstream.become(sha256(two), [one, two]);
  const paths = upstream.server.requests.splice(0);
  const second = await runAt(1e12, options);
  assert.deepEqual([second.added, second.exitCode], [0, 0]);
  const asked = upstream.server.requests.map((r) => r.path).filter((path) => path.includes(a.fileName));
  assert.deepEqual(asked, [`${sigs}.${sha256(two)}`], "the package itself is not fetched again");
  assert.ok(paths.length > 0);
  assert.deepEqual(readFileSync(join(target, sigs)), two);
  assert.deepEqual(readFileSync(join(target, `${sigs}.${sha256(two)}`)), two);
  assert.deepEqual(readFileSync(join(target, `${sigs}.${sha256(one)}`)), one, "the older one stays");
  assert.equal(promisedIn(target), sha256(two));
  upstream.become(undefined, [], [b]);
  const settings = { retry_attempts: 0, delete_grace_days: 0 };
  const last = await runAt(1e12 + 1, { ...options, settings, delete: true });
  assert.deepEqual([last.removed, last.exitCode], [1, 0]);
  assert.deepEqual(
    Object.keys(visible(target)).filter((path) => path.includes(a.fileName)),
    [],
  );
});

test("a package whose record promises attestations that are not there, are others, or are none, fails with the reason; the rest comes", async () => {
  const one = bundles("first");
  for (const [promised, served, why] of [
    [sha256(one), undefined, /promises them, and .* is not found/],
    [sha256(one), bundles("other"), /expected sha256 .* got/],
    [sha256(Buffer.from("[]")), Buffer.from("[]"), /no JSON array of bundles/],
    [sha256(Buffer.from("no")), Buffer.from("no"), /no JSON array of bundles/],
    ["../../elsewhere", undefined, /attestations_sha256 is no SHA-256/],
    [sha256(one).toUpperCase(), one, /attestations_sha256 is no SHA-256/],
    [7, undefined, /attestations_sha256 is no SHA-256/],
  ] as const) {
    const upstream = await channel();
    upstream.become(promised, []);
    if (served) upstream.server.files.set(`${sigs}.${promised}`, served);
    const target = temporary();
    const report = await runAt(1e12, { sources: [upstream.server.url], target });
    assert.deepEqual([report.added, report.exitCode], [1, 1], String(promised));
    assert.match(failures(report).get(a.fileName)?.why ?? "", why);
    assert.deepEqual(listed(target, "noarch"), [b.fileName]);
    assert.ok(!upstream.server.requests.some((r) => r.path.includes("elsewhere")));
    assert.ok(!existsSync(join(target, sigs)));
  }
});

test("while new attestations are not there, the record that promises them is not published, and it comes with them later", async () => {
  const upstream = await channel();
  const [one, two] = [bundles("first"), bundles("first", "second")];
  const options = { sources: [upstream.server.url], target: temporary() };
  upstream.become(sha256(one), [one]);
  await runAt(1e12, options);
  upstream.become(sha256(two), [one]);
  const early = await runAt(1e12, options);
  assert.equal(early.exitCode, 1);
  assert.equal(promisedIn(options.target), sha256(one));
  assert.deepEqual(readFileSync(join(options.target, sigs)), one);
  upstream.server.files.set(`${sigs}.${sha256(two)}`, two);
  assert.equal((await runAt(1e12, options)).exitCode, 0);
  assert.equal(promisedIn(options.target), sha256(two));
  assert.deepEqual(readFileSync(join(options.target, sigs)), two);
});

test("a package by its own address brings the attestations that its channel's record promises", async () => {
  const upstream = await channel();
  const one = bundles("first");
  upstream.become(sha256(one), [one]);
  const url = `${upstream.server.url}/noarch/${a.fileName}`;
  const target = temporary();
  const report = await runAt(1e12, { sources: [url], sourceType: "url", target });
  assert.deepEqual([report.added, report.exitCode], [1, 0]);
  assert.deepEqual(readFileSync(join(target, sigs)), one);
  assert.equal(promisedIn(target), sha256(one));
  upstream.server.files.delete(`${sigs}.${sha256(one)}`);
  const refused = await runAt(1e12, { sources: [url], sourceType: "url", target: temporary() });
  assert.match(failures(refused).get(a.fileName)?.why ?? "", /promises them/);
});

test(
  "in a bucket attestations lie beside their packages too, the hashed ones to be kept for ever",
  needs(goProgram("minio"), "minio"),
  async () => {
    const s3 = await startS3("minio");
    const bucket = await s3.bucket();
    const upstream = await channel();
    const [one, two] = [bundles("first"), bundles("first", "second")];
    const options = { sources: [upstream.server.url], target: `s3://${bucket}/ch`, env: s3.env };
    const held = async (key: string) => {
      const { headers } = await s3.client(bucket).request({ method: "HEAD", key: `ch/${key}` });
      return [headers.get("content-length"), headers.get("cache-control")];
    };
    for (const [sidecar, before] of [
      [one, []],
      [two, [one]],
    ] as const) {
      upstream.become(sha256(sidecar), [sidecar]);
      assert.equal((await runAt(1e12, options)).exitCode, 0);
      assert.deepEqual(await held(sigs), [String(sidecar.length), "no-cache"]);
      for (const s of [sidecar, ...before])
        assert.deepEqual(await held(`${sigs}.${sha256(s)}`), [String(s.length), "public, max-age=31536000, immutable"]);
    }
    upstream.become(undefined, [], [b]);
    const settings = { retry_attempts: 0, delete_grace_days: 0 };
    assert.equal((await runAt(1e12 + 1, { ...options, settings, delete: true })).removed, 1);
    assert.deepEqual(
      Object.keys(await objects(s3, bucket)).filter((key) => key.includes(a.fileName)),
      [],
    );
  },
);

test("a target where attestations can't be read keeps no package from the others", async () => {
  const upstream = await channel();
  const one = bundles("first");
  upstream.become(sha256(one), [one]);
  const [broken, target] = [temporary(), temporary()];
  // A folder in the place of the sidecar.
  mkdirSync(join(broken, `${sigs}.${sha256(one)}`), { recursive: true });
  const options = { sources: [upstream.server.url], sourceType: "channel", env: {}, settings: { retry_attempts: 0 } };
  const report = await mirror({ ...options, target: [broken, target] });
  assert.deepEqual(
    report.targets.map((t) => [t.added, t.failed]),
    [
      [1, 1],
      [2, 0],
    ],
  );
  assert.deepEqual(readFileSync(join(target, sigs)), one);
});
