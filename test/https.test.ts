import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer as createPlainServer } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { encode } from "@msgpack/msgpack";
import { buildConda } from "./packages/builder.ts";
import { certificate, key } from "./servers/certificate.ts";
import { listed, temporary } from "./support/folders.ts";

const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;
const a = buildConda({ name: "a" });

function run(
  args: readonly string[],
  cwd: string,
  env: Record<string, string>,
): Promise<{ code: number; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args], { cwd, env: { PATH: process.env["PATH"], ...env } }, (e, _, err) =>
      resolve({ code: Number(e?.code ?? 0), err }),
    );
  });
}

test("a certificate authority of one's own is trusted by NODE_EXTRA_CA_CERTS, and the error without it says so", async () => {
  const server = createServer({ cert: certificate, key }, (request, response) => {
    if (request.url?.startsWith("/plain"))
      response.writeHead(302, { location: "http://127.0.0.1:1/a-1.0-0.conda" }).end();
    else response.writeHead(200, { "content-length": a.bytes.length }).end(a.bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => server.close());
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const folder = temporary();
  writeFileSync(join(folder, "ca.pem"), certificate);
  const refused = await run(["mirror", `${url}/${a.fileName}`, "--tgt", "t"], folder, {});
  assert.deepEqual([refused.code, /NODE_EXTRA_CA_CERTS/.test(refused.err)], [3, true], refused.err);
  const trusted = { NODE_EXTRA_CA_CERTS: join(folder, "ca.pem") };
  assert.equal((await run(["mirror", `${url}/${a.fileName}`, "--tgt", "t"], folder, trusted)).code, 0);
  assert.deepEqual(listed(join(folder, "t"), "noarch"), [a.fileName]);
  const downgraded = await run(["mirror", `${url}/plain/${a.fileName}`, "--tgt", "u"], folder, trusted);
  assert.match(downgraded.err, /redirects from https to plain http/);
});

test("an index that comes over https leads to no packages and no shards over plain http", async () => {
  const b = buildConda({ name: "b" });
  const reached: string[] = [];
  const plain = createPlainServer((request, response) => {
    reached.push(request.url ?? "");
    response.writeHead(200, { "content-length": b.bytes.length }).end(b.bytes);
  });
  await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
  after(() => plain.close());
  const elsewhere = `http://127.0.0.1:${(plain.address() as AddressInfo).port}/`;
  const facts = { md5: b.md5, sha256: b.sha256, size: b.bytes.length };
  const record = { build: "0", build_number: 0, depends: [], name: "b", subdir: "noarch", version: "1.0", ...facts };
  const shard = zstdCompressSync(
    encode({ packages: {}, "packages.conda": { [b.fileName]: { ...record, sha256: Buffer.from(b.sha256, "hex") } } }),
  );
  const sha256 = createHash("sha256").update(shard).digest();
  const info = (base_url: string, shards_base_url: string) =>
    zstdCompressSync(encode({ info: { subdir: "noarch", base_url, shards_base_url }, shards: { b: sha256 } }));
  const whole = (base_url: string) =>
    Buffer.from(JSON.stringify({ info: { subdir: "noarch", base_url }, "packages.conda": { [b.fileName]: record } }));
  const files: Record<string, Uint8Array> = {
    "/whole/noarch/repodata.json": whole(elsewhere),
    "/packages/noarch/repodata_shards.msgpack.zst": info(elsewhere, "./shards/"),
    [`/packages/noarch/shards/${sha256.toString("hex")}.msgpack.zst`]: shard,
    "/packages/noarch/repodata.json": whole(elsewhere),
    "/shards/noarch/repodata_shards.msgpack.zst": info("", elsewhere),
    "/shards/noarch/repodata.json": whole(elsewhere),
    "/good/noarch/repodata_shards.msgpack.zst": info("", "./shards/"),
    [`/good/noarch/shards/${sha256.toString("hex")}.msgpack.zst`]: shard,
    "/good/noarch/repodata.json": whole(""),
    [`/good/noarch/${b.fileName}`]: b.bytes,
  };
  const server = createServer({ cert: certificate, key }, (request, response) => {
    const bytes = files[request.url ?? ""];
    if (bytes) response.writeHead(200, { "content-length": bytes.length }).end(bytes);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => server.close());
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const folder = temporary();
  writeFileSync(join(folder, "ca.pem"), certificate);
  const trusted = { NODE_EXTRA_CA_CERTS: join(folder, "ca.pem") };
  const flags = ["--src-type", "channel", "--retry-attempts", "0", "--tgt"];
  for (const form of ["whole", "packages", "shards"]) {
    const refused = await run(["mirror", `${url}/${form}`, ...flags, form], folder, trusted);
    assert.equal(refused.code, 3, `${form}: ${refused.err}`);
    assert.match(refused.err, /index points elsewhere[\s\S]*plain http: is not followed/);
  }
  assert.deepEqual(reached, []);
  const good = await run(["mirror", `${url}/good`, ...flags, "good"], folder, trusted);
  assert.equal(good.code, 0, good.err);
  assert.deepEqual(listed(join(folder, "good"), "noarch"), [b.fileName]);
});
