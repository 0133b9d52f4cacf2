// needs minio, versitygw
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { goProgram } from "../scripts/go-programs.ts";
import { mirror } from "../src/main.ts";
import { openMultipart } from "../src/s3/multipart.ts";
import { putObject } from "../src/s3/object.ts";
import { buildConda } from "./packages/builder.ts";
import { breakingProxy } from "./servers/breaking-proxy.ts";
import { S3_KINDS, startS3 } from "./servers/s3-server.ts";
import { noteKeys, objects, uploads } from "./support/bucket.ts";
import { temporary, written } from "./support/folders.ts";
import { needs } from "./support/needs.ts";

for (const kind of S3_KINDS) {
  const needed = needs(goProgram(kind), kind);
  const server = needed.skip === false ? await startS3(kind) : (undefined as never);

  test(
    `over connections that break at random 300 packages arrive whole in ${kind}, and nothing is left behind`,
    needed,
    async () => {
      const bucket = await server.bucket();
      const source = temporary();
      const packages = Array.from({ length: 300 }, (_, i) =>
        buildConda({
          name: `broken-${i}`,
          subdir: i % 3 === 0 && i % 100 !== 7 ? "noarch" : "linux-64",
          files: { f: i % 100 === 7 ? randomBytes(40 * 1024 * 1024) : randomBytes(20_000 + i) },
        }),
      );
      written(source, packages);
      const proxy = await breakingProxy(server.url, { share: 0.6, most: 1_500_000, seed: 7 });
      const env = { ...server.env, S3_ENDPOINT_URL: proxy.url };
      const options = {
        target: `s3://${bucket}/ch`,
        env,
        settings: { retry_attempts: 20, max_concurrent_downloads: 16 },
      };
      // No one waits: that there are pauses between tries is tried elsewhere.
      const clock = { now: Date.now, sleep: async () => undefined, random: () => 0 };
      const seen = watchWhole(server, bucket, packages);
      const report = await mirror({ sources: [source], ...options, clock });
      await seen.stop();
      assert.ok(proxy.broken > 20, `${proxy.broken} connections were broken`);
      assert.deepEqual([report.added, report.failed], [300, 0]);
      const client = server.client(bucket);
      const get = async (key: string) => Buffer.from((await client.request({ method: "GET", key: `ch/${key}` })).body);
      const found = new Map<string, string>();
      for (const subdir of ["noarch", "linux-64"]) {
        const json = await get(`${subdir}/repodata.json`);
        assert.deepEqual(zstdDecompressSync(await get(`${subdir}/repodata.json.zst`)), json);
        const records = (JSON.parse(json.toString()) as { "packages.conda": Record<string, { sha256: string }> })[
          "packages.conda"
        ];
        for (const [fileName, { sha256 }] of Object.entries(records)) {
          assert.equal(
            createHash("sha256")
              .update(await get(`${subdir}/${fileName}`))
              .digest("hex"),
            sha256,
            fileName,
          );
          found.set(fileName, sha256);
        }
      }
      assert.deepEqual(
        Object.fromEntries([...found].sort()),
        Object.fromEntries(packages.map((p) => [p.fileName, p.sha256]).sort()),
      );
      // MinIO tells of unfinished uploads only by their whole key.
      for (const { fileName } of packages.filter((p) => p.bytes.length > 1_000_000))
        assert.deepEqual(await uploads(server, bucket, `ch/linux-64/${fileName}`), []);
      assert.deepEqual(await noteKeys(server, bucket), []);
      assert.ok(seen.looks > 3, `${seen.looks} looks`);
    },
  );

  /** Looks at the bucket again and again, from beside the proxy: a package that is there is there whole. */
  function watchWhole(
    from: typeof server,
    bucket: string,
    packages: readonly { fileName: string; bytes: Uint8Array }[],
  ) {
    const sizes = new Map(packages.map((p) => [p.fileName, p.bytes.length]));
    const state = { looks: 0, over: false };
    const looking = (async () => {
      while (!state.over) {
        for (const [key, fact] of Object.entries(await objects(from, bucket))) {
          const size = sizes.get(key.slice(key.lastIndexOf("/") + 1));
          if (size !== undefined) assert.equal(fact.split(" ")[0], String(size), key);
        }
        state.looks++;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();
    looking.catch(() => undefined);
    return {
      get looks() {
        return state.looks;
      },
      stop: () => {
        state.over = true;
        return looking;
      },
    };
  }

  test(`bytes that are damaged on their way to ${kind} are not stored, in one piece or in parts`, needed, async () => {
    const bucket = await server.bucket();
    const client = server.client(bucket);
    const bytes = randomBytes(1000);
    const sha256 = createHash("sha256").update("what was meant").digest("hex");
    const whole = { key: "noarch/x-1-0.conda", headers: {}, body: bytes, sha256, expect: "any" } as const;
    await assert.rejects(putObject(client, whole), /SHA256|Digest|Checksum/i);
    const path = join(temporary(), "large");
    writeFileSync(path, Buffer.alloc(9 * 1024 * 1024, 1));
    const multipart = openMultipart(client, ".meso-forge-mirror/uploads/");
    const { body: _, ...large } = { ...whole, key: "noarch/large-1-0.conda", path, size: 9 * 1024 * 1024 };
    await assert.rejects(multipart.put(large), /changed while it was being sent/);
    assert.deepEqual(await objects(server, bucket), {});
    assert.deepEqual(await uploads(server, bucket, large.key), []);
  });

  test(
    `uploads that killed runs left in ${kind} are given up by the next one, those of others are left alone`,
    needed,
    async () => {
      const bucket = await server.bucket();
      const client = server.client(bucket);
      const begin = async (key: string, note: Record<string, unknown> | undefined) => {
        const { body } = await client.request({ method: "POST", key: `ch/${key}`, query: { uploads: "" } });
        const uploadId = /<UploadId>(.*)<\/UploadId>/.exec(Buffer.from(body).toString())?.[1] as string;
        if (!note) return;
        const text = Buffer.from(JSON.stringify({ key, uploadId, ...note }));
        const bodySha256 = createHash("sha256").update(text).digest("hex");
        await client.request({
          method: "PUT",
          key: `ch/.meso-forge-mirror/uploads/${uploadId.slice(-8)}.json`,
          body: text,
          bodySha256,
        });
      };
      const { hostname } = await import("node:os");
      await begin("noarch/dead-1-0.conda", { host: hostname(), pid: 2 ** 22 + 1, begun: Date.now() });
      await begin("noarch/old-1-0.conda", { host: "elsewhere", pid: 1, begun: Date.now() - 25 * 3600_000 });
      await begin("noarch/alive-1-0.conda", { host: "elsewhere", pid: 1, begun: Date.now() });
      await begin("noarch/foreign-1-0.conda", undefined);
      const source = temporary();
      written(source, [buildConda({ name: "one" })]);
      await mirror({ sources: [source], target: `s3://${bucket}/ch`, env: server.env });
      const left: string[] = [];
      for (const name of ["dead", "old", "alive", "foreign"])
        left.push(...(await uploads(server, bucket, `ch/noarch/${name}-1-0.conda`)));
      assert.equal(left.length, 2, left.join("\n"));
      assert.ok(left.every((u) => /alive|foreign/.test(u)));
      assert.equal((await noteKeys(server, bucket)).length, 1);
    },
  );
}
