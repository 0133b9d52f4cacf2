import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { type MirrorOptions, mirror } from "../src/main.ts";
import { type ApiClient, openApi } from "../src/transfer/api.ts";
import { fileBody, multipart } from "../src/transfer/multipart.ts";
import { buildConda } from "./packages/builder.ts";
import { anaconda } from "./servers/anaconda.ts";
import { cloudsmith } from "./servers/cloudsmith.ts";
import { listening } from "./servers/listening.ts";
import { type Answer, type Asked, type Protocol, serviceServer } from "./servers/service.ts";
import { temporary, written } from "./support/folders.ts";

const MiB = 1024 * 1024;
const forever = new AbortController().signal;

function client(): ApiClient {
  const tokens = {
    github_token: null,
    github_api_url: "https://api.github.com",
    azure_devops_token: null,
    azure_devops_url: "https://dev.azure.com",
  };
  const settings = { connections: 5, totalTimeoutMs: 60_000, tokens, proxies: undefined };
  const api = openApi(settings, async (url) => ({ url }));
  after(() => api.close());
  return api;
}

test("a body of 300 MiB is streamed from its file: it never lies in memory", async () => {
  const path = join(temporary(), "large");
  const size = 300 * MiB;
  writeFileSync(path, "");
  truncateSync(path, size);
  const url = await listening((request, response) => {
    const hash = createHash("sha256");
    let got = 0;
    request.on("data", (chunk: Buffer) => {
      got += chunk.length;
      hash.update(chunk);
    });
    request.on("end", () => response.end(`${got} ${request.headers["content-length"]} ${hash.digest("hex")}`));
  });
  const api = client();
  await api.send({ method: "PUT", url, body: "first" }, forever);
  const before = process.memoryUsage().rss;
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 20);
  const answer = await api.send({ method: "PUT", url, body: fileBody(path, size) }, forever);
  clearInterval(watch);
  const sha256 = createHash("sha256");
  for (let i = 0; i < 300; i++) sha256.update(Buffer.alloc(MiB));
  assert.equal(Buffer.from(answer.body).toString(), `${size} ${size} ${sha256.digest("hex")}`);
  assert.ok(peak - before < 100 * MiB, `${Math.round((peak - before) / MiB)} MiB more`);
});

test("what the server says before it has read all is heard", async () => {
  const path = join(temporary(), "large");
  writeFileSync(path, "");
  truncateSync(path, 50 * MiB);
  const url = await listening((_, response) => {
    response.writeHead(413, { connection: "close" }).end("too large");
  });
  const { contentType, body } = multipart([{ name: "file", fileName: "a", value: fileBody(path, 50 * MiB) }]);
  const headers = { "content-type": contentType };
  const answer = await client().send({ method: "POST", url, headers, body }, forever);
  assert.deepEqual([answer.status, Buffer.from(answer.body).toString()], [413, "too large"]);
});

test("parts of a form can't be ended from within a name", async () => {
  const { body, contentType } = multipart([{ name: 'a"; b="\r\nX: y', fileName: '"\r\n--', value: "v" }]);
  const chunks: Uint8Array[] = [];
  for await (const chunk of body.open()) chunks.push(chunk);
  const [bytes, boundary] = [Buffer.concat(chunks), contentType.split("boundary=")[1]];
  assert.equal(bytes.length, body.size);
  const escaped = 'form-data; name="a%22; b=%22%0D%0AX: y"; filename="%22%0D%0A--"';
  assert.equal(bytes.toString(), `--${boundary}\r\nContent-Disposition: ${escaped}\r\n\r\nv\r\n--${boundary}--\r\n`);
});

const small = buildConda({ name: "a" });
async function run(protocol: Protocol, more: Partial<MirrorOptions> = {}) {
  const server = await serviceServer(protocol);
  let now = 0;
  const report = await mirror({
    sources: written(temporary(), [small]),
    target: server.target,
    targetType: server.type,
    env: server.env,
    settings: { retry_attempts: 0, timeout_seconds: 60 },
    clock: {
      now: () => now,
      random: () => 0,
      sleep: async (ms) => {
        now += ms;
      },
    },
    ...more,
  });
  const failure = report.packages.find((p) => p.outcome === "failed");
  return { server, report, error: failure?.outcome === "failed" ? failure.error : undefined };
}

test("Cloudsmith gets a package of more than 100 MB in parts, each once more where it broke", async () => {
  const large = buildConda({ name: "large", files: { "share/l.bin": randomBytes(101 * MiB) } });
  const protocol = cloudsmith();
  let broken = 0;
  const carry = (asked: Asked, state: Parameters<Protocol["carry"]>[1]): ReturnType<Protocol["carry"]> =>
    asked.query.get("part_number") === "2" && broken++ === 0 ? { status: 503 } : protocol.carry(asked, state);
  const sources = written(temporary(), [large]);
  const { server, report } = await run({ ...protocol, carry }, { sources, settings: { retry_attempts: 1 } });
  assert.equal(report.exitCode, 0, JSON.stringify(report.packages));
  const parts = server.uploads.map((u) => [u.query.get("part_number"), u.body.length]);
  const rest = large.bytes.length - 100 * MiB;
  assert.deepEqual(parts, [
    ["1", 100 * MiB],
    ["2", rest],
    ["2", rest],
  ]);
  assert.equal(server.stored.get(`noarch/${large.fileName}`)?.sha256, large.sha256);
});

/** A service whose answers to some path are changed. */
function changed(protocol: Protocol, path: RegExp, change: (body: Record<string, unknown>) => unknown): Protocol {
  return {
    ...protocol,
    async carry(asked, state): Promise<Answer | undefined> {
      const answer = await protocol.carry(asked, state);
      if (!path.test(asked.path) || !answer || asked.method === "GET") return answer;
      return { ...answer, body: change(answer.body as Record<string, unknown>) };
    },
  };
}

test("a service that wants the file at a place that is none gets nothing", async () => {
  const places: [string, unknown][] = [
    ["file:///etc/passwd", {}],
    ["javascript:alert(1)", {}],
    ["no URL", {}],
    ["", {}],
    ["KEEP", null],
    ["KEEP", { a: 1 }],
  ];
  for (const [place, fields] of places) {
    const staged = changed(anaconda(), /\/stage\//, (body) => ({
      ...body,
      ...(place === "KEEP" ? { form_data: fields } : { post_url: place }),
    }));
    const slot = changed(cloudsmith(), /\/files\/me\/mine\/$/, (body) => ({
      ...body,
      ...(place === "KEEP" && fields ? { upload_fields: fields } : { upload_url: place }),
    }));
    for (const protocol of [staged, ...(fields === null ? [] : [slot])]) {
      const { server, error } = await run(protocol);
      assert.deepEqual([error?.code, server.uploads.length], ["SERVER_ERROR", 0], `${place} ${JSON.stringify(fields)}`);
    }
  }
});

test("an answer that is no JSON is told as such", async () => {
  for (const [protocol, path] of [
    [anaconda(), /\/stage\//],
    [cloudsmith(), /\/files\//],
    [cloudsmith(), /\/upload\/conda\/$/],
  ] as const) {
    const { error } = await run(changed(protocol, path, () => Buffer.from("<html>sign in</html>")));
    assert.equal(error?.code, "SERVER_ERROR");
    assert.match(error?.what ?? "", /can't be understood/);
  }
});

test("Cloudsmith is not waited for longer than the time-out says", async () => {
  const protocol = cloudsmith();
  const carry = (asked: Asked, state: Parameters<Protocol["carry"]>[1]) =>
    asked.path.endsWith("/status/")
      ? { status: 200, body: { is_sync_completed: false } }
      : protocol.carry(asked, state);
  const { error, server } = await run({ ...protocol, carry });
  assert.equal(error?.code, "TIMEOUT");
  const looks = server.requests.filter((r) => r.path.endsWith("/status/")).length;
  assert.ok(looks > 5 && looks < 20, String(looks));
});

test("a package that Cloudsmith refuses after a look is told in its words, and its failed entry goes", async () => {
  const protocol = cloudsmith();
  const carry = async (asked: Asked, state: Parameters<Protocol["carry"]>[1]) =>
    asked.path.endsWith("/status/")
      ? { status: 200, body: { is_sync_failed: true, status_reason: "the licence is not allowed" } }
      : protocol.carry(asked, state);
  const { error, server } = await run({ ...protocol, carry });
  assert.deepEqual([error?.code, error?.why], ["BAD_METADATA", "the licence is not allowed"]);
  assert.equal(server.requests.at(-1)?.method, "DELETE");
});
