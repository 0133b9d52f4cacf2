// needs minio, versitygw
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { goProgram } from "../scripts/go-programs.ts";
import { indexChannel, type MirrorOptions, mirror } from "../src/main.ts";
import { buildConda, buildTarBz2 } from "./packages/builder.ts";
import { S3_KINDS, type S3Server, SECRET, startS3 } from "./servers/s3-server.ts";
import { noteKeys, objects, uploads } from "./support/bucket.ts";
import { cliRun } from "./support/cli.ts";
import { listed, type RepodataJson, temporary, written } from "./support/folders.ts";
import { needs, python } from "./support/needs.ts";
import { installed } from "./support/rattler.ts";

const app = buildConda({
  name: "app",
  version: "2.0",
  subdir: "linux-64",
  depends: ["lib >=1", "data"],
  files: { "bin/app": "#!/bin/sh\n" },
});
const lib = buildTarBz2({
  name: "lib",
  version: "1.5",
  build: "h1_0",
  subdir: "linux-64",
  files: { "lib/lib.txt": "lib" },
});
const data = buildConda({ name: "data", files: { "share/data.txt": "data" } });
const otherData = buildConda({ name: "data", files: { "share/data.txt": "other" } });

const bigFolder = temporary();

/** A package of 300 MB, made once. */
let bigOne: { path: string; fileName: string; sha256: string } | undefined;
function big() {
  if (bigOne) return bigOne;
  const made = buildConda({ name: "big", files: { "share/big.bin": randomBytes(300 * 1024 * 1024) } });
  const [path] = written(bigFolder, [made]) as [string];
  bigOne = { path, fileName: made.fileName, sha256: made.sha256 };
  return bigOne;
}

async function object(server: S3Server, bucket: string, key: string) {
  const { body, headers } = await server.client(bucket).request({ method: "GET", key });
  return { body: Buffer.from(body), headers };
}

const index = async (server: S3Server, bucket: string, subdir: string): Promise<RepodataJson> =>
  JSON.parse((await object(server, bucket, `ch/${subdir}/repodata.json`)).body.toString());

for (const kind of S3_KINDS) {
  const needed = needs(goProgram(kind), kind);
  const server = needed.skip === false ? await startS3(kind) : (undefined as never);
  const take = (bucket: string, sources: readonly string[], more: Partial<MirrorOptions> = {}) =>
    mirror({ sources, target: `s3://${bucket}/ch`, env: server.env, ...more });

  describe(`a channel in a bucket of ${kind}`, needed, () => {
    test("is made, is kept when the run is repeated, and rattler installs from it by every index", async (t) => {
      const bucket = await server.bucket(true);
      const source = temporary();
      written(source, [app, lib, data]);
      const first = await take(bucket, [source]);
      assert.deepEqual([first.added, first.failed, first.exitCode], [3, 0, 0]);
      const there = await objects(server, bucket);
      const again = await take(bucket, [source]);
      assert.deepEqual([again.added, again.kept, again.bytes], [0, 3, 0]);
      assert.deepEqual(await objects(server, bucket), there);
      const json = await object(server, bucket, "ch/linux-64/repodata.json");
      const zst = await object(server, bucket, "ch/linux-64/repodata.json.zst");
      assert.deepEqual(zstdDecompressSync(zst.body), json.body);
      if (needs(python, "py-rattler").skip !== false) return t.diagnostic("no py-rattler here");
      for (const format of ["json", "zst", "shards"]) {
        const { prefix, packages } = await installed(`${server.url}/${bucket}/ch`, format, "app");
        assert.equal(packages.length, 3, format);
        assert.equal(readFileSync(join(prefix, "share/data.txt"), "utf8"), "data");
      }
    });

    test("tells of each object what it is, how long it holds, and what its bytes are", async () => {
      const bucket = await server.bucket();
      const source = temporary();
      written(source, [data]);
      await take(bucket, [source]);
      const head = async (key: string) => {
        const { headers } = await server.client(bucket).request({
          method: "HEAD",
          key: `ch/${key}`,
          headers: { "x-amz-checksum-mode": "ENABLED" },
        });
        return headers;
      };
      const pkg = await head(`noarch/${data.fileName}`);
      assert.equal(pkg.get("x-amz-meta-package-sha256"), data.sha256);
      assert.equal(pkg.get("x-amz-meta-package-md5"), data.md5);
      assert.equal(pkg.get("x-amz-checksum-sha256"), Buffer.from(data.sha256, "hex").toString("base64"));
      assert.match(pkg.get("cache-control") ?? "", /max-age=31536000, immutable/);
      assert.equal(pkg.get("content-type"), "application/x-conda-package");
      const json = await head("noarch/repodata.json");
      assert.equal(json.get("cache-control"), "public, max-age=60");
      assert.equal(json.get("content-type"), "application/json");
      const shard = Object.keys(await objects(server, bucket)).find((k) => k.includes("/shards/"));
      assert.match((await head(shard?.slice(3) as string)).get("cache-control") ?? "", /immutable/);
    });

    test("has its other bytes refused, passed over or taken, as the rule for conflicts says", async () => {
      const bucket = await server.bucket();
      const [one, two] = [temporary(), temporary()];
      written(one, [data]);
      written(two, [otherData]);
      await take(bucket, [one]);
      const refused = await take(bucket, [two]);
      assert.deepEqual([refused.failed, refused.exitCode], [1, 1]);
      assert.equal((await take(bucket, [two], { onConflict: "skip" })).skipped, 1);
      const sha256 = async () => (await index(server, bucket, "noarch"))["packages.conda"][data.fileName]?.["sha256"];
      assert.equal(await sha256(), data.sha256);
      assert.equal((await take(bucket, [two], { onConflict: "replace" })).replaced, 1);
      assert.equal(await sha256(), otherData.sha256);
      const stored = await object(server, bucket, `ch/noarch/${data.fileName}`);
      assert.equal(createHash("sha256").update(stored.body).digest("hex"), otherData.sha256);
    });

    test("of another tool is merged into, byte for byte; a file left by a killed run is taken over", async () => {
      const bucket = await server.bucket();
      const foreign = '{"name":"zz","version":"1","build":"0","big":12345678901234567890,"e":1.0}';
      const text = Buffer.from(
        `{"info":{"subdir":"noarch","more":1},"packages":{},"packages.conda":{"zz-1-0.conda":${foreign}}}`,
      );
      const put = (key: string, body: Buffer) => {
        const bodySha256 = createHash("sha256").update(body).digest("hex");
        return server.client(bucket).request({ method: "PUT", key, body, bodySha256 });
      };
      await put("ch/noarch/repodata.json", text);
      await put(`ch/noarch/${data.fileName}`, Buffer.from(data.bytes));
      const source = temporary();
      written(source, [data]);
      const report = await take(bucket, [source]);
      assert.deepEqual([report.added, report.failed], [1, 0]);
      const merged = (await object(server, bucket, "ch/noarch/repodata.json")).body.toString();
      assert.ok(merged.includes(foreign) && merged.includes(data.sha256));
    });

    test("is indexed from its packages alone; a second time nothing is read, and what is gone loses its record", async () => {
      const bucket = await server.bucket();
      const source = temporary();
      written(source, [app, lib, data]);
      await take(bucket, [source]);
      const client = server.client(bucket);
      for (const subdir of ["noarch", "linux-64"])
        for (const file of ["repodata.json", "repodata.json.zst", "repodata_shards.msgpack.zst"])
          await client.request({ method: "DELETE", key: `ch/${subdir}/${file}` });
      const home = temporary();
      const indexed = () => indexChannel({ channel: `s3://${bucket}/ch`, env: { ...server.env, HOME: home } });
      const first = await indexed();
      assert.deepEqual([first.read, first.failed.length, first.exitCode], [3, 0, 0]);
      assert.deepEqual(Object.keys((await index(server, bucket, "linux-64"))["packages.conda"]), [app.fileName]);
      const second = await indexed();
      assert.deepEqual([second.read, second.kept, second.written], [0, 3, []]);
      await client.request({ method: "DELETE", key: `ch/linux-64/${lib.fileName}` });
      const third = await indexed();
      assert.deepEqual([third.read, third.removed], [0, 1]);
      assert.deepEqual((await index(server, bucket, "linux-64")).packages, {});
      // Without the cache of this machine: ETags are MD5s.
      const elsewhere = await indexChannel({
        channel: `s3://${bucket}/ch`,
        env: server.env,
        settings: { write_channeldata: false, write_html: false },
      });
      assert.deepEqual([elsewhere.read, elsewhere.kept], [0, 2]);
    });

    test("follows its source: with --delete records go at once, files after their grace period, and what comes back stays", async () => {
      const bucket = await server.bucket();
      const [channel, parts] = [temporary(), temporary()];
      const [, libPath] = written(parts, [app, lib, data]) as [string, string];
      await mirror({ sources: [parts], target: channel, env: {} });
      let now = Date.UTC(2026, 10, 1);
      const clock = { now: () => now, sleep: async () => undefined, random: () => 0 };
      const follow = () => take(bucket, [`file://${channel}`], { sourceType: "channel", delete: true, clock });
      assert.equal((await follow()).added, 3);
      rmSync(join(channel, "linux-64", lib.fileName));
      await indexChannel({ channel, env: {} });
      const key = `ch/linux-64/${lib.fileName}`;
      const listedLib = async () => Object.keys((await index(server, bucket, "linux-64")).packages);
      assert.equal((await follow()).removed, 1);
      assert.deepEqual([await listedLib(), key in (await objects(server, bucket))], [[], true]);
      now += 8 * 24 * 3600_000;
      await follow();
      assert.equal(key in (await objects(server, bucket)), false);
      await mirror({ sources: [libPath], target: channel, env: {} });
      assert.equal((await follow()).added, 1);
      assert.deepEqual([await listedLib(), key in (await objects(server, bucket))], [[lib.fileName], true]);
    });

    test("is a source too: what lies in one bucket is taken to a folder and to another bucket", async () => {
      const [bucket, other] = [await server.bucket(), await server.bucket()];
      const [source, folder] = [temporary(), temporary()];
      written(source, [app, lib, data]);
      await take(bucket, [source]);
      const copied = await mirror({ sources: [`s3://${bucket}/ch`], target: folder, env: server.env });
      assert.deepEqual([copied.added, copied.failed, copied.exitCode], [3, 0, 0]);
      assert.deepEqual(listed(folder, "linux-64"), [app.fileName, lib.fileName].sort());
      assert.equal((await mirror({ sources: [`s3://${bucket}/ch`], target: folder, env: server.env })).kept, 3);
      assert.equal((await take(other, [`s3://${bucket}/ch/noarch`])).added, 1);
      const ended = await cliRun(["mirror", `s3://${bucket}/none`, "--target-path", folder], server.env);
      assert.equal(ended.code, 3);
      assert.match(ended.err, /no channel is there/);
    });

    test("takes a package of 300 MB in parts, with little memory, and leaves no part behind", async () => {
      const bucket = await server.bucket();
      const { path, fileName, sha256 } = big();
      const ended = await cliRun(["mirror", path, "--target-path", `s3://${bucket}/ch`, "--json"], server.env);
      assert.equal(ended.code, 0, ended.err);
      assert.ok(ended.peak < 300e6, `${ended.peak} bytes of memory`);
      const client = server.client(bucket);
      const head = await client.request({ method: "HEAD", key: `ch/noarch/${fileName}` });
      assert.match(head.headers.get("etag") ?? "", /-\d+"$/);
      assert.equal(head.headers.get("x-amz-meta-package-sha256"), sha256);
      const hash = createHash("sha256");
      const stream = await client.open({ method: "GET", key: `ch/noarch/${fileName}` });
      for await (const chunk of stream.chunks) hash.update(chunk);
      assert.equal(hash.digest("hex"), sha256);
      assert.deepEqual(await uploads(server, bucket, `ch/noarch/${fileName}`), []);
      assert.deepEqual(await noteKeys(server, bucket), []);
    });

    test("refuses clearly, and shows no secret even at trace: wrong keys, no keys, no bucket, no server", async () => {
      const bucket = await server.bucket();
      const source = temporary();
      written(source, [data]);
      const wrong = {
        ...server.env,
        AWS_SECRET_ACCESS_KEY: "another-secret-0123456789",
        AWS_SESSION_TOKEN: "a-session-token-0123",
      };
      const { AWS_ACCESS_KEY_ID: _, AWS_SECRET_ACCESS_KEY: __, ...none } = server.env;
      const quiet = { AWS_EC2_METADATA_DISABLED: "true", HOME: temporary() };
      const cases: [string, Record<string, string>, RegExp][] = [
        [bucket, wrong, /check the access key|session's keys are no longer good|may read, write and list/],
        [bucket, { ...server.env, AWS_ACCESS_KEY_ID: "nobody" }, /check the access key|may read, write and list/],
        [bucket, { ...none, ...quiet }, /no keys to sign requests with/],
        [bucket, { ...none, ...quiet, AWS_ACCESS_KEY_ID: "half" }, /AWS_SECRET_ACCESS_KEY is not set/],
        ["no-such-bucket", server.env, /NoSuchBucket[\s\S]*check the bucket's name/],
        [bucket, { ...server.env, S3_ENDPOINT_URL: "http://127.0.0.1:1" }, /can't be reached/],
      ];
      for (const [name, env, expected] of cases) {
        for (const command of [["mirror", source, "--target-path"], ["index"]]) {
          const flags = ["--log-level", "trace", "-v"];
          const ended = await cliRun([...command, `s3://${name}/ch`, ...flags], {
            ...env,
            MESO_FORGE_RETRY_ATTEMPTS: "0",
          });
          assert.ok(ended.code === 3 || ended.code === 2, `${ended.code} ${ended.err}`);
          assert.match(ended.err, expected);
          for (const secret of [SECRET, "another-secret-0123456789", "a-session-token-0123", "Signature="])
            assert.ok(!(ended.err + ended.out).includes(secret), ended.err);
        }
      }
      assert.deepEqual(await objects(server, bucket), {});
    });
  });
}
