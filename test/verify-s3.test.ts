// needs minio, versitygw
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { describe, test } from "node:test";
import { goProgram } from "../scripts/go-programs.ts";
import { mirror, prune, type VerifyOptions, verify } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { refusingProxy } from "./servers/refusing-proxy.ts";
import { S3_KINDS, type S3Server, startS3 } from "./servers/s3-server.ts";
import { a, b, c, packages } from "./support/breakages.ts";
import { objects } from "./support/bucket.ts";
import { seen } from "./support/channel-copies.ts";
import { temporary, watchLeftovers, written } from "./support/folders.ts";
import { needs } from "./support/needs.ts";

const leftovers = watchLeftovers();
/** Folders that packages are copied into while they are looked at. */
const scratch = () => leftovers().filter((f) => f.startsWith("mfm-scratch"));
const DAY = 24 * 60 * 60 * 1000;
const source = temporary();
written(source, packages);

for (const kind of S3_KINDS) {
  const needed = needs(goProgram(kind), kind);
  const server = needed.skip === false ? await startS3(kind) : (undefined as never as S3Server);

  /** Nobody waits; and what was put there a moment ago has lain there for days. */
  const run = (bucket: string, options: Partial<VerifyOptions> = {}, later = 2 * DAY) =>
    verify({
      channel: `s3://${bucket}/ch`,
      env: server.env,
      threads: 1,
      clock: { now: () => Date.now() + later, random: () => 0, sleep: async () => undefined },
      ...options,
    });
  const put = (bucket: string, path: string, body: Uint8Array) =>
    server
      .client(bucket)
      .request({ method: "PUT", key: `ch/${path}`, body, bodySha256: hash("sha256", body), headers: {} });
  const drop = (bucket: string, path: string) =>
    server.client(bucket).request({ method: "DELETE", key: `ch/${path}`, answers: [204] });
  const get = async (bucket: string, path: string) =>
    Buffer.from((await server.client(bucket).request({ method: "GET", key: `ch/${path}` })).body);
  const rotten = (bytes: Uint8Array) => {
    const copy = Buffer.from(bytes);
    copy[copy.length >> 1] = (copy[copy.length >> 1] as number) ^ 0x55;
    return copy;
  };

  describe(`a channel in a bucket of ${kind}`, needed, () => {
    test("is whole, what breaks is found and mended, and a look at it changes nothing", async () => {
      const bucket = await server.bucket();
      const target = `s3://${bucket}/ch`;
      assert.equal((await mirror({ sources: [source], target, env: server.env })).added, 4);
      const before = await objects(server, bucket);
      const first = await run(bucket);
      assert.deepEqual([seen(first), first.exitCode, first.packages], [[], 0, 4]);
      assert.deepEqual(seen(await run(bucket, { quick: true })), []);
      assert.deepEqual(await objects(server, bucket), before);
      assert.deepEqual(scratch(), []);

      const shard = Object.keys(before).find((key) => key.startsWith("ch/linux-64/shards/")) as string;
      await put(bucket, `linux-64/${c.fileName}`, rotten(c.bytes));
      await drop(bucket, `linux-64/${b.fileName}`);
      await put(bucket, shard.slice(3), rotten(await get(bucket, shard.slice(3))));
      await put(bucket, "noarch/repodata.json.zst", Buffer.from("no index"));
      const d = buildConda({ name: "d" });
      await put(bucket, `noarch/${d.fileName}`, d.bytes);
      const others = [
        `PACKAGE_DAMAGED linux-64/${c.fileName}`,
        `PACKAGE_MISSING linux-64/${b.fileName}`,
        "FORM_UNREADABLE noarch/repodata.json.zst",
        "SHARD_DAMAGED linux-64/shards",
      ];
      // What has just come may be another run's, which is about to list it.
      const young = await run(bucket, {}, 0);
      assert.deepEqual([seen(young), young.arriving], [others.sort(), 1]);
      const found = [...others, `PACKAGE_UNLISTED noarch/${d.fileName}`].sort();
      assert.deepEqual(seen(await run(bucket)), found);
      const repaired = await run(bucket, { repair: true, from: [source] });
      assert.deepEqual(
        [seen(repaired), repaired.findings.filter((f) => f.mended === undefined), repaired.exitCode],
        [found, [], 0],
      );
      assert.deepEqual([seen(await run(bucket)), await get(bucket, `linux-64/${c.fileName}`)], [[], c.bytes]);
      assert.deepEqual(scratch(), []);
    });

    test("gives up records that nothing brings back only when told to, and keeps what is left of a file", async () => {
      const bucket = await server.bucket();
      await mirror({ sources: [source], target: `s3://${bucket}/ch`, env: server.env });
      await put(bucket, `noarch/${a.fileName}`, Buffer.from("half a file"));
      assert.equal((await run(bucket, { repair: true })).exitCode, 1);
      const report = await run(bucket, { repair: true, removeBroken: true, maxDelete: "1" });
      assert.deepEqual([report.exitCode, report.quarantined.length], [0, 1]);
      assert.equal((await get(bucket, report.quarantined[0] as string)).toString(), "half a file");
      const after = await run(bucket);
      assert.deepEqual([seen(after), after.subdirs[0]?.records], [[], 1]);
    });

    test("gives no false findings while others write to it", async () => {
      const bucket = await server.bucket();
      const target = `s3://${bucket}/ch`;
      await mirror({ sources: [source], target, env: server.env });
      const more = Array.from({ length: 8 }, (_, i) => buildConda({ name: `m${i}` }));
      let writing = true;
      const writers = Promise.all(
        written(temporary(), more).map((path) => mirror({ sources: [path], target, env: server.env })),
      ).finally(() => {
        writing = false;
      });
      // The real clock: what seems wrong is looked at again when it had time to settle.
      const real = {
        now: Date.now,
        random: Math.random,
        sleep: (ms: number) => new Promise<void>((r) => setTimeout(r, ms / 4)),
      };
      do assert.deepEqual(seen(await run(bucket, { clock: real })), []);
      while (writing);
      await writers;
      const last = await run(bucket);
      assert.deepEqual([seen(last), last.packages], [[], 12]);
    });

    test("loses no record to a server that refuses or fails for a while", async () => {
      const bucket = await server.bucket();
      await mirror({ sources: [source], target: `s3://${bucket}/ch`, env: server.env });
      await drop(bucket, `linux-64/${b.fileName}`);
      await put(bucket, `linux-64/${c.fileName}`, rotten(c.bytes));
      const proxy = await refusingProxy(server.url);
      const giveUp = () =>
        run(bucket, {
          env: { ...server.env, S3_ENDPOINT_URL: proxy.url },
          settings: { retry_attempts: 0 },
          repair: true,
          removeBroken: true,
          maxDelete: "100%",
        });
      const before = await objects(server, bucket);
      const isPackage = (path: string) => /linux-64\/[^/]+\.(?:conda|tar\.bz2)$/.test(path);
      for (const status of [403, 429, 500, 503])
        for (const asked of ["GET", "HEAD"]) {
          let times = 0;
          proxy.refuse = (method, path) => (method === asked && isPackage(path) && ++times > 0 ? status : undefined);
          await assert.rejects(giveUp(), { exitCode: 3 }, `${asked} ${status}`);
          assert.ok(times > 0);
          assert.deepEqual(await objects(server, bucket), before, `${asked} ${status}`);
        }
      proxy.refuse = (method, path) => (method === "PUT" && path.endsWith("/repodata.json") ? 403 : undefined);
      const refused = await giveUp();
      assert.deepEqual([refused.exitCode, refused.findings.length, refused.mended], [1, 2, 0]);
      assert.match(refused.findings[0]?.left ?? "", /not now/);
      proxy.refuse = (method, path) => (method === "DELETE" && isPackage(path) ? 503 : undefined);
      const half = await giveUp();
      const fates = half.findings.filter((f) => f.code.startsWith("PACKAGE_")).map((f) => f.mended);
      assert.deepEqual([half.exitCode, fates, half.quarantined.length], [0, ["its record went", "its record went"], 1]);
      // What was left is not read in again, and the next run that writes removes it.
      proxy.refuse = () => undefined;
      const last = await giveUp();
      assert.deepEqual(seen(last), []);
      const there = Object.keys(await objects(server, bucket)).filter(
        (key) => key.startsWith("ch/linux-64/") && isPackage(key),
      );
      assert.deepEqual(there, [`ch/linux-64/${c.fileName}`]);
      assert.equal((await prune({ channel: `s3://${bucket}/ch`, env: server.env })).freed.packages, 1);
      assert.deepEqual(seen(await run(bucket)), []);
    });

    test("is not judged when its server can't be reached", async () => {
      const away = { ...server.env, S3_ENDPOINT_URL: "http://127.0.0.1:9" };
      await assert.rejects(run("bucket", { env: away, settings: { retry_attempts: 0 } }), { exitCode: 3 });
    });
  });
}
