// needs minio, versitygw
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { hash } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { goProgram } from "../scripts/go-programs.ts";
import { readShard, readShardIndex } from "../src/index/shards.ts";
import { indexChannel, mirror, type PruneOptions, type PruneReport, prune } from "../src/main.ts";
import { putObject } from "../src/s3/object.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { S3_KINDS, type S3Server, startS3 } from "./servers/s3-server.ts";
import { objects } from "./support/bucket.ts";
import { type RepodataJson, temporary, written } from "./support/folders.ts";
import { needs, python } from "./support/needs.ts";
import { installed } from "./support/rattler.ts";

const DAY = 24 * 60 * 60 * 1000;
const linux = { subdir: "linux-64" };
const a1 = buildConda({ name: "a", version: "1.0" });
const a2 = buildConda({ name: "a", version: "2.0", depends: ["lib"] });
const lib1 = buildTarBz2({ name: "lib", version: "1.0", ...linux });
const lib2 = buildConda({ name: "lib", version: "2.0", ...linux });
const all = [a1, a2, lib1, lib2];
const names = (...packages: BuiltPackage[]) => packages.map((p) => p.fileName).sort();

for (const kind of S3_KINDS) {
  const needed = needs(goProgram(kind), kind);
  const server = needed.skip === false ? await startS3(kind) : (undefined as never);

  const channelIn = async (bucket: string): Promise<string> => {
    const folder = temporary();
    written(folder, all);
    const channel = `s3://${bucket}/ch`;
    await mirror({ sources: [folder], target: channel, env: server.env });
    return channel;
  };
  const pruneAt = (now: number, options: Partial<PruneOptions> & { channel: string }): Promise<PruneReport> =>
    prune({ env: server.env, now: () => now, ...options });

  test(`${kind}: index leaves objects alone that stay without a record`, needed, async () => {
    const bucket = await server.bucket(true);
    const channel = await channelIn(bucket);
    await pruneAt(Date.now(), { channel, latest: 1, keepRemoved: true });
    for (let i = 0; i < 2; i++) {
      await indexChannel({ channel, env: { ...server.env, HOME: temporary() }, threads: 1 });
      assert.deepEqual(
        [await everywhere(server, bucket, "noarch"), await everywhere(server, bucket, "linux-64")],
        [names(a2), names(lib2)],
      );
    }
    assert.ok(`ch/noarch/${a1.fileName}` in (await objects(server, bucket)));
  });

  test(
    `${kind}: a channel in a bucket loses records first and files after the grace period, and rattler solves what stays`,
    needed,
    async () => {
      const bucket = await server.bucket(true);
      const channel = await channelIn(bucket);
      await indexChannel({ channel, env: { ...server.env, HOME: temporary() }, threads: 1 });
      const now = Date.now();
      const before = await objects(server, bucket);
      const plan = await pruneAt(now, { channel, latest: 1, dryRun: true });
      assert.deepEqual(plan.plan?.map((s) => s.fileName).sort(), names(a1, lib1));
      assert.deepEqual(await objects(server, bucket), before, "a dry run changes nothing");
      await assert.rejects(pruneAt(now, { channel, include: ["none"] }), { code: "MAX_DELETE" });
      assert.deepEqual(await objects(server, bucket), before);
      const report = await pruneAt(now, { channel, latest: 1 });
      assert.deepEqual([report.removed, report.kept, report.waiting, report.freed.packages], [2, 2, 2, 0]);
      assert.deepEqual(
        [await everywhere(server, bucket, "noarch"), await everywhere(server, bucket, "linux-64")],
        [names(a2), names(lib2)],
      );
      assert.ok(Object.hasOwn(await objects(server, bucket), `ch/noarch/${a1.fileName}`));
      const late = await pruneAt(now + 7.5 * DAY, { channel });
      assert.deepEqual([late.freed.packages, late.waiting], [2, 0]);
      assert.ok(late.freed.bytes >= a1.bytes.length + lib1.bytes.length);
      const left = Object.keys(await objects(server, bucket)).filter(
        (key) => /\.(conda|bz2)$/.test(key) && !key.includes("repodata"),
      );
      assert.deepEqual(left.map((key) => key.split("/").at(-1)).sort(), names(a2, lib2));
      // What tells of the whole channel was made on another machine: names that are gone go from it.
      const facts = JSON.parse((await object(server, bucket, "ch/channeldata.json")).toString()) as {
        packages: object;
      };
      assert.deepEqual(Object.keys(facts.packages), ["a", "lib"]);
      await pruneAt(now + 8 * DAY, { channel, exclude: ["a"] });
      const fewer = JSON.parse((await object(server, bucket, "ch/channeldata.json")).toString()) as {
        packages: object;
      };
      assert.deepEqual(Object.keys(fewer.packages), ["lib"]);
      if (needs(python, "py-rattler").skip) return;
      for (const form of ["json", "shards"]) {
        const { packages } = await installed(`${server.url}/${bucket}/ch`, form, "lib");
        assert.deepEqual(
          packages.map(([name, version]) => `${name} ${version}`),
          ["lib 2.0"],
        );
      }
    },
  );

  test(`${kind}: cleaning up finds shards that no index ever named, by the time of their writing`, needed, async () => {
    const bucket = await server.bucket();
    const channel = await channelIn(bucket);
    const bytes = zstdCompressSync(Buffer.from("stray"));
    const sha256 = hash("sha256", bytes);
    const key = `ch/noarch/shards/${sha256}.msgpack.zst`;
    await putObject(server.client(bucket), { key, headers: {}, sha256, expect: "any", body: bytes });
    const before = await objects(server, bucket);
    const now = Date.now();
    assert.equal((await pruneAt(now + 6.9 * DAY, { channel })).freed.shards, 0);
    assert.equal((await pruneAt(now + 7.1 * DAY, { channel, dryRun: true })).freed.shards, 1);
    assert.deepEqual((await pruneAt(now + 7.1 * DAY, { channel })).freed, {
      packages: 0,
      shards: 1,
      leftovers: 0,
      bytes: bytes.length,
    });
    assert.deepEqual(
      Object.keys(before).filter((k) => !k.includes(".meso-forge-mirror")),
      [...Object.keys(await objects(server, bucket)).filter((k) => !k.includes(".meso-forge-mirror")), key].sort(),
    );
    assert.deepEqual(await everywhere(server, bucket, "noarch"), names(a1, a2));
  });

  test(`${kind}: prunes and mirrors that meet lose no record`, needed, async () => {
    const bucket = await server.bucket();
    const channel = await channelIn(bucket);
    const fresh = [0, 1, 2].map((w) =>
      Array.from({ length: 8 }, (_, i) => buildConda({ name: `fresh${i}`, version: `${w}`, ...linux })),
    );
    const folders = fresh.map((packages) => {
      const folder = temporary();
      written(folder, packages);
      return folder;
    });
    const settings = { delete_grace_days: 0 };
    await Promise.all([
      pruneAt(Date.now(), { channel, exclude: ["a <2"], settings }),
      pruneAt(Date.now(), { channel, exclude: ["lib <2"], settings }),
      ...folders.map((folder) => mirror({ sources: [folder], target: channel, env: server.env })),
    ]);
    await pruneAt(Date.now(), { channel, settings });
    assert.deepEqual(await everywhere(server, bucket, "linux-64"), names(lib2, ...fresh.flat()));
    assert.deepEqual(await everywhere(server, bucket, "noarch"), names(a2));
    const there = await objects(server, bucket);
    for (const p of [...fresh.flat(), lib2]) assert.ok(Object.hasOwn(there, `ch/linux-64/${p.fileName}`), p.fileName);
  });

  test(
    `${kind}: a run that is killed between the index and the files is finished by the next one`,
    needed,
    async () => {
      const bucket = await server.bucket();
      const channel = await channelIn(bucket);
      const options = { channel, latest: 1, settings: { delete_grace_days: 0 }, env: server.env };
      const once = join(import.meta.dirname, "support/prune-once.ts");
      const child = spawn(process.execPath, ["--no-warnings", once, JSON.stringify(options)], { stdio: "ignore" });
      const ended = new Promise((resolve) => child.on("close", resolve));
      // As soon as a record has gone.
      for (;;) {
        const lists = await Promise.all(["noarch", "linux-64"].map((subdir) => listing(server, bucket, subdir)));
        if (lists.flat().length < all.length || child.exitCode !== null) break;
      }
      child.kill("SIGKILL");
      await ended;
      await pruneAt(Date.now(), { channel, latest: 1, settings: { delete_grace_days: 0 } });
      await pruneAt(Date.now() + 2 * DAY, { channel, settings: { delete_grace_days: 0, shard_grace_days: 0 } });
      assert.deepEqual(
        [await everywhere(server, bucket, "noarch"), await everywhere(server, bucket, "linux-64")],
        [names(a2), names(lib2)],
      );
      const there = Object.keys(await objects(server, bucket)).map((key) => key.split("/").at(-1));
      for (const p of all) assert.equal(there.includes(p.fileName), p === a2 || p === lib2, p.fileName);
    },
  );
}

async function object(server: S3Server, bucket: string, key: string): Promise<Buffer> {
  return Buffer.from((await server.client(bucket).request({ method: "GET", key })).body);
}

async function listing(server: S3Server, bucket: string, subdir: string): Promise<string[]> {
  const json = JSON.parse((await object(server, bucket, `ch/${subdir}/repodata.json`)).toString()) as RepodataJson;
  return [...Object.keys(json.packages), ...Object.keys(json["packages.conda"])].sort();
}

/** What every form of a subdir's index lists; they must agree. */
async function everywhere(server: S3Server, bucket: string, subdir: string): Promise<string[]> {
  const get = (path: string) => object(server, bucket, `ch/${subdir}/${path}`);
  assert.deepEqual(zstdDecompressSync(await get("repodata.json.zst")), await get("repodata.json"));
  const sharded: string[] = [];
  for (const sha256 of (await readShardIndex(await get("repodata_shards.msgpack.zst"))).values())
    for (const [fileName] of await readShard(await get(`shards/${sha256}.msgpack.zst`), sha256)) sharded.push(fileName);
  const found = await listing(server, bucket, subdir);
  assert.deepEqual(sharded.sort(), found);
  return found;
}
