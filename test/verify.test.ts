import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { verifySchema } from "../src/config/verify-schema.ts";
import { indexChannel, mirror, type VerifyOptions, verify, verifyJsonSchema } from "../src/main.ts";
import { FINDING_CODES } from "../src/verify/finding.ts";
import { buildConda } from "./packages/builder.ts";
import { a, b, breakages, c, dropForms, packages, v3 } from "./support/breakages.ts";
import { copyOf, everything, seen } from "./support/channel-copies.ts";
import { channelOf } from "./support/channels.ts";
import { cliRun } from "./support/cli.ts";
import { repodata, temporary, watchLeftovers, written } from "./support/folders.ts";
import { fixtures, needs } from "./support/needs.ts";

const leftovers = watchLeftovers();

function audit(channel: string, options: Partial<VerifyOptions> = {}) {
  return verify({ channel, env: {}, threads: 1, ...options });
}

const whole = await channelOf(packages, { write_bz2: true });

test("a channel that mirror and index made is whole, and the look at it changes nothing, not even a note", async () => {
  const before = everything(whole);
  const report = await audit(whole);
  assert.deepEqual([seen(report), report.exitCode, report.packages, report.unhashed], [[], 0, 4, 0]);
  assert.deepEqual(report.subdirs, [
    { subdir: "noarch", records: 2, findings: 0 },
    { subdir: "linux-64", records: 2, findings: 0 },
  ]);
  assert.equal(
    report.bytes,
    packages.reduce((sum, p) => sum + p.bytes.length, 0),
  );
  assert.deepEqual([seen(await audit(whole, { quick: true })), everything(whole)], [[], before]);
  assert.deepEqual(leftovers(), []);
});

for (const { what, make, found, quick = found } of breakages) {
  test(`${what} is found, and nothing is changed`, async () => {
    const channel = copyOf(whole);
    make(channel);
    const before = everything(channel);
    const report = await audit(channel);
    assert.deepEqual([seen(report), report.exitCode], [[...found].sort(), 1]);
    for (const f of report.findings) for (const part of [f.what, f.why, f.next]) assert.notEqual(part, "");
    const quickly = await audit(channel, { quick: true });
    assert.deepEqual([seen(quickly), quickly.bytes], [[...quick].sort(), 0]);
    assert.deepEqual(everything(channel), before);
  });
}

test("packages that wait for the end of their grace period, were taken back or are hidden by a patch are no findings", async () => {
  const source = temporary();
  const many = Array.from({ length: 12 }, (_, i) => buildConda({ name: `m${i}` }));
  written(source, many);
  const upstream = join(temporary(), "upstream");
  mkdirSync(join(upstream, "noarch"), { recursive: true });
  written(join(upstream, "noarch"), many);
  await indexChannel({ channel: upstream, env: {}, threads: 1 });
  const target = temporary();
  const follow = (more = {}) =>
    mirror({ sources: [upstream], sourceType: "channel", target, env: {}, delete: true, ...more });
  await follow();
  rmSync(join(upstream, "noarch", many[0]?.fileName as string));
  await indexChannel({ channel: upstream, env: {}, threads: 1 });
  await follow();
  rmSync(join(upstream, "noarch", many[1]?.fileName as string));
  await indexChannel({ channel: upstream, env: {}, threads: 1 });
  await follow({ keepRemoved: true });
  assert.equal(readdirSync(join(target, "noarch")).filter((f) => f.endsWith(".conda")).length, 12);
  assert.equal(Object.keys(repodata(target, "noarch")["packages.conda"]).length, 10);
  assert.deepEqual(seen(await audit(target)), []);

  const patched = copyOf(whole);
  const patch = temporary();
  mkdirSync(join(patch, "linux-64"));
  const instructions = {
    patch_instructions_version: 1,
    packages: {},
    "packages.conda": { [c.fileName]: { depends: ["fixed"] } },
    remove: [b.fileName],
    revoke: [],
  };
  writeFileSync(join(patch, "linux-64/patch_instructions.json"), JSON.stringify(instructions));
  await indexChannel({ channel: patched, env: {}, threads: 1, patch, settings: { write_bz2: true } });
  assert.equal(repodata(patched, "linux-64")["packages"]?.[b.fileName], undefined);
  assert.deepEqual(seen(await audit(patched)), []);
  // It is found again where the index before patches does not know of it.
  rmSync(join(patched, "linux-64/repodata_from_packages.json"));
  assert.deepEqual(seen(await audit(patched)), []);
});

test("records without a sha256 are held against their md5, and those without any hash are counted", async () => {
  const channel = copyOf(whole);
  const path = join(channel, "linux-64/repodata.json");
  dropForms(channel, "linux-64");
  const strip = (...keys: string[]) => {
    const index = JSON.parse(readFileSync(path, "utf8"));
    for (const key of keys) delete index["packages.conda"][c.fileName][key];
    writeFileSync(path, JSON.stringify(index));
  };
  strip("sha256");
  assert.deepEqual(seen(await audit(channel)), []);
  const other = Buffer.from(c.bytes);
  other[other.length - 1] = (other[other.length - 1] as number) ^ 1;
  writeFileSync(join(channel, "linux-64", c.fileName), other);
  assert.deepEqual(seen(await audit(channel)), [`PACKAGE_DAMAGED linux-64/${c.fileName}`]);
  writeFileSync(join(channel, "linux-64", c.fileName), c.bytes);
  strip("md5");
  const report = await audit(channel);
  assert.deepEqual([seen(report), report.unhashed], [[], 1]);
});

test("packages that lie elsewhere by what the index says are counted and not missed, those beside it are looked at", async () => {
  const channel = await channelOf([a, v3], { base_url: "https://example.org/pool" });
  rmSync(join(channel, "noarch", v3.fileName));
  const report = await audit(channel);
  assert.deepEqual([seen(report), report.elsewhere, report.packages], [[], 1, 1]);
});

test("a package larger than any buffer is hashed to its last byte", async () => {
  const large = buildConda({ name: "large", files: { "lib/x": Buffer.alloc(6 << 20, "0123456789abcdef") } });
  const padded = { ...large };
  const channel = await channelOf([padded]);
  assert.deepEqual(seen(await audit(channel)), []);
});

test("links inside a channel are followed, those that lead out of it are not", async () => {
  const channel = copyOf(whole);
  const pool = join(channel, "pool");
  mkdirSync(pool);
  writeFileSync(join(pool, c.fileName), c.bytes);
  rmSync(join(channel, "linux-64", c.fileName));
  symlinkSync(join(pool, c.fileName), join(channel, "linux-64", c.fileName));
  assert.deepEqual(seen(await audit(channel)), []);
});

test("attestations that records promise are held against their hash, under both names", async () => {
  const channel = copyOf(whole);
  const sigs = Buffer.from('[{"mediaType":"bundle"}]');
  const sha256 = (await import("node:crypto")).hash("sha256", sigs, "hex");
  const path = join(channel, "noarch/repodata.json");
  const promise = (value: string) => {
    const index = JSON.parse(readFileSync(path, "utf8"));
    index["packages.conda"][a.fileName].attestations_sha256 = value;
    writeFileSync(path, JSON.stringify(index));
  };
  dropForms(channel, "noarch");
  promise(sha256);
  const [hashed, plain] = [`${a.fileName}.sigs.${sha256}`, `${a.fileName}.sigs`];
  assert.deepEqual(seen(await audit(channel)), [`SIDECAR_MISSING noarch/${plain}`, `SIDECAR_MISSING noarch/${hashed}`]);
  writeFileSync(join(channel, "noarch", hashed), sigs);
  writeFileSync(join(channel, "noarch", plain), "[{}]");
  assert.deepEqual(seen(await audit(channel)), [`SIDECAR_DAMAGED noarch/${plain}`]);
  assert.deepEqual(seen(await audit(channel, { quick: true })), []);
  writeFileSync(join(channel, "noarch", plain), sigs);
  assert.deepEqual(seen(await audit(channel)), []);
  const aside = join(temporary(), "sigs");
  writeFileSync(aside, sigs);
  rmSync(join(channel, "noarch", plain));
  symlinkSync(aside, join(channel, "noarch", plain));
  const led = await audit(channel);
  assert.deepEqual(seen(led), [`SIDECAR_DAMAGED noarch/${plain}`]);
  assert.match(led.findings[0]?.why ?? "", /leads to .*, out of the channel/);
  rmSync(join(channel, "noarch", plain));
  writeFileSync(join(channel, "noarch", plain), sigs);
  promise("../../../etc/passwd");
  assert.deepEqual(seen(await audit(channel)), [`RECORD_UNUSABLE noarch/${a.fileName}`]);
});

test("a channel that is mirrored into, indexed and emptied meanwhile gives no false findings", async () => {
  const channel = copyOf(whole);
  const source = temporary();
  const more = Array.from({ length: 30 }, (_, i) => buildConda({ name: `m${i}` }));
  const paths = written(source, more);
  let writing = true;
  const writers = (async () => {
    for (const path of paths) await mirror({ sources: [path], target: channel, env: {}, onConflict: "replace" });
    const rebuilt = more
      .slice(0, 5)
      .map((p, i) => ({ ...buildConda({ name: `m${i}`, depends: ["x"] }), fileName: p.fileName }));
    for (const path of written(temporary(), rebuilt))
      await mirror({ sources: [path], target: channel, env: {}, onConflict: "replace" });
    writing = false;
  })();
  let audits = 0;
  while (writing) {
    assert.deepEqual(seen(await audit(channel)), []);
    audits++;
  }
  await writers;
  assert.ok(audits > 0);
  const last = await audit(channel);
  assert.deepEqual([seen(last), last.packages], [[], 34]);
});

test("packages that a run has put there and not listed yet are no findings while it lives", async () => {
  const channel = copyOf(whole);
  const own = join(
    channel,
    ".meso-forge-mirror/incoming",
    `${(await import("node:os"))
      .hostname()
      .replace(/[^A-Za-z0-9-]/g, "_")
      .slice(0, 40)}.${process.pid}.x`,
  );
  mkdirSync(own, { recursive: true });
  const d = buildConda({ name: "d" });
  writeFileSync(join(channel, "noarch", d.fileName), d.bytes);
  const during = await audit(channel);
  assert.deepEqual([seen(during), during.arriving, during.exitCode], [[], 1, 0]);
  rmSync(own, { recursive: true });
  assert.deepEqual(seen(await audit(channel)), [`PACKAGE_UNLISTED noarch/${d.fileName}`]);
});

test("an interrupted look tells what was looked at, exit 130", async () => {
  const stop = new AbortController();
  const report = await audit(whole, {
    signal: stop.signal,
    onEvent: (e) => e.type === "audited" && stop.abort(),
  });
  assert.deepEqual([report.interrupted, report.exitCode, report.subdirs.map((s) => s.subdir)], [true, 130, ["noarch"]]);
});

test("what is no channel, and a subdir that it does not have, are told", async () => {
  await assert.rejects(audit(join(whole, "nowhere")), { code: "NOT_FOUND", exitCode: 3 });
  await assert.rejects(audit(temporary()), { code: "NOT_FOUND", exitCode: 3 });
  await assert.rejects(audit(whole, { subdirs: ["osx-64"] }), { code: "BAD_FLAG", exitCode: 2 });
  await assert.rejects(audit("oci://example.com/x"), { code: "BAD_TARGET", exitCode: 2 });
  const one = await audit(whole, { subdirs: ["linux-64"] });
  assert.deepEqual(
    one.subdirs.map((s) => s.subdir),
    ["linux-64"],
  );
});

test("the command prints a line a finding and one in all; with --json one document of the published schema", async () => {
  const channel = copyOf(whole);
  rmSync(join(channel, "linux-64", c.fileName));
  const text = await cliRun(["verify", channel]);
  assert.equal(text.code, 1);
  assert.match(
    text.out,
    /^PACKAGE_MISSING +linux-64\/c-1\.0-0\.conda: .*\n1 finding: 1 PACKAGE_MISSING; 4 records in 2 subdirs, 3 packages read .*\n$/,
  );
  const json = await cliRun(["verify", channel, "--json"]);
  const document = JSON.parse(json.out);
  verifySchema.parse(document);
  assert.deepEqual([json.code, document.found, document.counts], [1, 1, { PACKAGE_MISSING: 1 }]);
  const published = JSON.parse(readFileSync(new URL("../schema/verify.schema.json", import.meta.url), "utf8"));
  assert.deepEqual(published, JSON.parse(JSON.stringify(verifyJsonSchema())));
  assert.deepEqual(FINDING_CODES, published.properties.findings.items.properties.code.enum);
});

/** What is not as it should be in the fixtures themselves, besides packages that they don't bring. */
const KNOWN: Readonly<Record<string, readonly string[]>> = {
  // Both end in a NUL.
  "dummy-no-conda-packages": ["1.0", "2.0"].map(
    (v) => `RECORD_UNUSABLE linux-64/baz-${v}-unix_py36h1af98f8_2\\u{0}.tar.bz2`,
  ),
  "openssl-run-exports-test": ["FORM_DIFFERS linux-64/run_exports.json"],
  "zlib-both-formats": ["FORM_DIFFERS linux-64/current_repodata.json"],
};

test(
  "channels of other writers have no findings but what they lack",
  needs(join(fixtures, "channels"), "the folder of shared fixtures"),
  async () => {
    for (const name of readdirSync(join(fixtures, "channels"))) {
      const report = await audit(join(fixtures, "channels", name));
      const others = seen(report).filter(
        (f) => !f.startsWith("PACKAGE_MISSING") && f !== "INDEX_MISSING noarch/repodata.json",
      );
      assert.deepEqual(others, KNOWN[name] ?? [], name);
    }
  },
);
