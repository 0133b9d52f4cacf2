import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { encode } from "@msgpack/msgpack";
import { type MirrorOptions, type MirrorReport, mirror, type TransferError } from "../src/main.ts";
import { openApi } from "../src/transfer/api.ts";
import type { Clock } from "../src/transfer/retry.ts";
import { buildConda, bzip2 } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listening } from "./servers/listening.ts";
import { listed, repodata, temporary, visible } from "./support/folders.ts";

/** Time that passes at once, and is written down. */
function fastClock(): Clock & { waits: number[] } {
  const waits: number[] = [];
  return { waits, now: () => 0, random: () => 0.5, sleep: async (ms) => void waits.push(ms) };
}

const small = buildConda({ name: "small", files: { "share/s.txt": "s" } });
const large = buildConda({ name: "large", files: { "share/l.bin": randomBytes(5_000_000) } });
const take = (target: string, sources: readonly string[], more: Partial<MirrorOptions> = {}): Promise<MirrorReport> =>
  mirror({ target, sources, env: {}, clock: fastClock(), ...more });
const noTokens = { github_token: null, github_api_url: "", azure_devops_token: null, azure_devops_url: "" };
const codeOf = (report: MirrorReport) => report.packages.flatMap((p) => (p.outcome === "failed" ? [p.error.code] : []));

test("a package cut in transit is fetched again from where it stopped", async () => {
  const [server, target] = [await fileServer({ [large.fileName]: large.bytes }), temporary()];
  server.misdeeds.set(large.fileName, [{ cutAfter: 3_000_000 }, { cutAfter: 1_500_000 }]);
  const report = await take(target, [`${server.url}/${large.fileName}#sha256:${large.sha256}`]);
  assert.equal(report.exitCode, 0);
  assert.deepEqual(readFileSync(join(target, "noarch", large.fileName)), large.bytes);
  assert.deepEqual(
    server.requests.map((r) => r.range),
    [undefined, "bytes=3000000-", "bytes=4500000-"],
  );
  assert.equal(server.requests[1]?.headers["if-range"], server.requests[2]?.headers["if-range"]);
  assert.equal(server.sent.get(large.fileName), large.bytes.length);
});

test("a server that can't resume, or whose file changed meanwhile, sends it from the start", async () => {
  for (const second of ["noRanges", "changed"] as const) {
    const [server, target] = [await fileServer({ [large.fileName]: large.bytes }), temporary()];
    const other = buildConda({ name: "large", files: { "share/l.bin": randomBytes(4_000_000) } });
    server.misdeeds.set(large.fileName, [
      { cutAfter: 2_000_000 },
      ...(second === "noRanges" ? [{ noRanges: true } as const] : []),
    ]);
    if (second === "changed") server.files.set("swap", other.bytes);
    const running = take(target, [`${server.url}/${large.fileName}`], {
      onEvent: (e) => {
        if (second === "changed" && e.type === "retrying") server.files.set(large.fileName, other.bytes);
      },
    });
    assert.equal((await running).exitCode, 0);
    assert.deepEqual(
      readFileSync(join(target, "noarch", large.fileName)),
      second === "changed" ? other.bytes : large.bytes,
    );
  }
});

test("a 429 is waited out as long as Retry-After says, 500s with growing pauses", async () => {
  const [server, target, clock] = [await fileServer({ [small.fileName]: small.bytes }), temporary(), fastClock()];
  server.misdeeds.set(small.fileName, [
    { status: 429, headers: { "retry-after": "7" } },
    { status: 500 },
    { status: 503 },
  ]);
  const report = await take(target, [`${server.url}/${small.fileName}`], { clock });
  assert.equal(report.exitCode, 0);
  assert.equal(clock.waits.length, 3);
  assert.ok((clock.waits[0] as number) >= 7000, String(clock.waits));
  assert.ok((clock.waits[2] as number) > (clock.waits[1] as number), String(clock.waits));
});

test("a Retry-After beyond the time-out is not waited for", async () => {
  const [server, target, clock] = [await fileServer({ [small.fileName]: small.bytes }), temporary(), fastClock()];
  server.misdeeds.set(small.fileName, [{ status: 503, headers: { "retry-after": "86400" } }]);
  const report = await take(target, [`${server.url}/${small.fileName}`], { clock });
  assert.deepEqual([codeOf(report), clock.waits], [["WAIT_TOO_LONG"], []]);
});

test("404 and 401 are asked once; the error has the server's words and the exit code is 1 and 3", async () => {
  const [server, target] = [await fileServer(), temporary()];
  const missing = await take(target, [`${server.url}/gone-1.0-0.conda`]);
  assert.deepEqual([codeOf(missing), missing.exitCode, server.requests.length], [["NOT_FOUND"], 1, 1]);
  const [failure] = missing.packages;
  assert.ok(failure?.outcome === "failed" && failure.error.why.includes("no such file here"));
  server.misdeeds.set("secret-1.0-0.conda", [{ status: 401 }]);
  const refused = await take(target, [`${server.url}/secret-1.0-0.conda`]);
  assert.deepEqual([codeOf(refused), refused.exitCode, server.requests.length], [["REFUSED"], 3, 2]);
  assert.deepEqual(visible(target), {});
});

test("a host that can't be reached ends in 3 after the retries", async () => {
  const server = await fileServer();
  await server.close();
  const clock = fastClock();
  const report = await take(temporary(), [`${server.url}/x-1.0-0.conda`], { clock, settings: { retry_attempts: 2 } });
  assert.deepEqual([codeOf(report), report.exitCode, clock.waits.length], [["UNREACHABLE"], 3, 2]);
});

test("wrong bytes, wrong length and a wrong hash never reach the target", async () => {
  const [server, target] = [await fileServer({ [small.fileName]: small.bytes }), temporary()];
  const url = `${server.url}/${small.fileName}`;
  const damaged = Buffer.from(small.bytes);
  damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] as number) ^ 255;
  server.misdeeds.set(small.fileName, Array(9).fill({ bytes: damaged }));
  assert.deepEqual(codeOf(await take(target, [`${url}#${small.md5}`])), ["HASH_MISMATCH"]);
  server.misdeeds.set(small.fileName, Array(9).fill({ claimLength: small.bytes.length + 10 }));
  assert.deepEqual(codeOf(await take(target, [url])), ["CUT"]);
  server.misdeeds.set(small.fileName, Array(9).fill({ bytes: Buffer.from("<html>please sign in</html>") }));
  assert.deepEqual(codeOf(await take(target, [url])), ["NOT_A_PACKAGE"]);
  server.misdeeds.delete(small.fileName);
  assert.deepEqual(codeOf(await take(target, [`${url}#sha256:${"0".repeat(64)}`])), ["HASH_MISMATCH"]);
  assert.deepEqual(visible(target), {});
  assert.equal(existsSync(join(target, ".meso-forge-mirror/incoming")), false);
});

test("bytes damaged once on the way are fetched once more", async () => {
  const [server, target] = [await fileServer({ [small.fileName]: small.bytes }), temporary()];
  server.misdeeds.set(small.fileName, [{ bytes: Buffer.alloc(small.bytes.length) }]);
  assert.equal((await take(target, [`${server.url}/${small.fileName}#${small.sha256}`])).exitCode, 0);
});

test("a server that stops sending, or never ends, runs into the time-out and is tried again", async () => {
  const [server, target] = [await fileServer({ [large.fileName]: large.bytes }), temporary()];
  server.misdeeds.set(large.fileName, [{ stallAfter: 2_000_000 }]);
  const report = await take(target, [`${server.url}/${large.fileName}`], { settings: { timeout_seconds: 1 } });
  assert.equal(report.exitCode, 0);
  assert.equal(server.requests[1]?.range, "bytes=2000000-");
});

test("a redirect to another host is followed without our credentials, and user and password stay in no text", async () => {
  const [server, other, target] = [
    await fileServer(),
    await fileServer({ [small.fileName]: small.bytes }),
    temporary(),
  ];
  server.misdeeds.set(small.fileName, [{ redirect: `${other.url}/${small.fileName}` }]);
  const url = new URL(`${server.url}/${small.fileName}`);
  url.username = "me";
  url.password = "hunter22";
  const events: string[] = [];
  const report = await take(target, [url.toString()], { onEvent: (e) => events.push(JSON.stringify(e)) });
  assert.equal(report.exitCode, 0);
  assert.equal(server.requests[0]?.headers.authorization, `Basic ${Buffer.from("me:hunter22").toString("base64")}`);
  assert.equal(other.requests[0]?.headers.authorization, undefined);
  server.misdeeds.set(small.fileName, Array(9).fill({ status: 500, body: `no ${url} token abcdefghijkl` }));
  const failing = await take(temporary(), [url.toString()], { onEvent: (e) => events.push(JSON.stringify(e)) });
  assert.equal(failing.exitCode, 1);
  const all =
    JSON.stringify([report, failing]) +
    events.join() +
    codeOf(failing) +
    failing.packages.map((p) => (p.outcome === "failed" ? p.error.message : ""));
  assert.ok(!all.includes("hunter22") && !all.includes("abcdefghijkl"), all);
  const files = readdirSync(target, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  for (const f of files) assert.ok(!readFileSync(join(f.parentPath, f.name)).includes("hunter22"), f.name);
});

test("the GitHub token goes to the GitHub host of the settings and to no other", async () => {
  const [github, other, target] = [
    await fileServer({ [small.fileName]: small.bytes }),
    await fileServer({ [large.fileName]: large.bytes }),
    temporary(),
  ];
  await take(target, [`${github.url}/${small.fileName}`, `${other.url}/${large.fileName}`], {
    env: { GITHUB_TOKEN: "ghp_x", GITHUB_API_URL: github.url },
  });
  assert.equal(github.requests[0]?.headers.authorization, "Bearer ghp_x");
  assert.equal(other.requests[0]?.headers.authorization, undefined);
});

test("redirects without end and to other schemes are refused", async () => {
  const [server, target] = [await fileServer(), temporary()];
  server.misdeeds.set("a-1-0.conda", Array(20).fill({ redirect: "/a-1-0.conda" }));
  server.misdeeds.set("b-1-0.conda", [{ redirect: "file:///etc/passwd" }]);
  assert.deepEqual(codeOf(await take(target, [`${server.url}/a-1-0.conda`, `${server.url}/b-1-0.conda`])), [
    "BAD_REDIRECT",
    "BAD_REDIRECT",
  ]);
});

test("a run repeated downloads nothing, whether the server knows conditional requests or not", async () => {
  const [server, target] = [
    await fileServer({ [small.fileName]: small.bytes, [large.fileName]: large.bytes }),
    temporary(),
  ];
  const urls = [`${server.url}/${small.fileName}`, `${server.url}/${large.fileName}#${large.sha256}`];
  await take(target, urls);
  const [before, requests] = [visible(target), server.requests.length];
  const sent = server.sent.get(small.fileName);
  const report = await take(target, urls);
  assert.deepEqual([report.kept, report.added, report.bytes], [2, 0, 0]);
  assert.equal(server.sent.get(small.fileName), sent);
  assert.equal(server.requests.length, requests + 1, "the one with a hash needs no request at all");
  assert.deepEqual(visible(target), before);
});

test("at most N transfers run at once with max_concurrent_downloads N", async () => {
  const packages = Array.from({ length: 24 }, (_, i) => buildConda({ name: `n${i}` }));
  const server = await fileServer(Object.fromEntries(packages.map((p) => [`noarch/${p.fileName}`, p.bytes])));
  server.delay = 15;
  for (const limit of [1, 3, 8]) {
    server.most = 0;
    const report = await take(
      temporary(),
      packages.map((p) => `${server.url}/noarch/${p.fileName}`),
      { settings: { max_concurrent_downloads: limit } },
    );
    assert.deepEqual([report.added, server.most], [24, limit]);
  }
});

test("a fall-back is asked when the first place fails, whatever it answers; user and password don't go there", async () => {
  const [first, second, target] = [
    await fileServer(),
    await fileServer({ [`x/noarch/${small.fileName}`]: small.bytes }),
    temporary(),
  ];
  const url = `${first.url.replace("//", "//u:p@")}/noarch/${small.fileName}`;
  const report = await take(target, [`${url}#${small.sha256}`], { mirrorOf: [`${first.url}/=${second.url}/x`] });
  assert.equal(report.exitCode, 0);
  assert.equal(second.requests[0]?.headers.authorization, undefined);
});

test("the channel's own index gives hash and record, hot-fixes included, from shards, zst, json or bz2", async () => {
  const record = JSON.stringify({
    name: "small",
    version: "1.0",
    build: "0",
    build_number: 0,
    depends: ["hot-fixed >=1"],
    subdir: "noarch",
    sha256: small.sha256,
    size: small.bytes.length,
    timestamp: 1_700_000_000_000,
  });
  const index = Buffer.from(`{"packages.conda":{"${small.fileName}":${record}}}`);
  const shard = zstdCompressSync(
    encode({
      packages: {},
      "packages.conda": { [small.fileName]: { ...JSON.parse(record), sha256: Buffer.from(small.sha256, "hex") } },
    }),
  );
  const { createHash } = await import("node:crypto");
  const hash = createHash("sha256").update(shard).digest();
  const shards = zstdCompressSync(
    encode({ info: { subdir: "noarch", base_url: "", shards_base_url: "./shards/" }, shards: { small: hash } }),
  );
  const kinds: Record<string, Record<string, Uint8Array>> = {
    json: { "c/noarch/repodata.json": index },
    zst: { "c/noarch/repodata.json.zst": zstdCompressSync(index) },
    bz2: { "c/noarch/repodata.json.bz2": bzip2(index) },
    shards: {
      "c/noarch/repodata_shards.msgpack.zst": shards,
      [`c/noarch/shards/${hash.toString("hex")}.msgpack.zst`]: shard,
    },
  };
  for (const [kind, files] of Object.entries(kinds)) {
    const [server, target] = [await fileServer({ ...files, [`c/noarch/${small.fileName}`]: small.bytes }), temporary()];
    const report = await take(target, [`${server.url}/c/noarch/${small.fileName}`]);
    const [outcome] = report.packages;
    assert.ok(outcome?.outcome === "added" && outcome.verified, kind);
    assert.deepEqual(repodata(target, "noarch")["packages.conda"][small.fileName], JSON.parse(record), kind);
    const lying = await fileServer({ ...files, [`c/noarch/${small.fileName}`]: large.bytes });
    assert.deepEqual(
      codeOf(await take(temporary(), [`${lying.url}/c/noarch/${small.fileName}`])),
      ["SIZE_MISMATCH"],
      kind,
    );
  }
});

test("a body without a length is taken to its end", async () => {
  const [server, target] = [await fileServer({ [large.fileName]: large.bytes }), temporary()];
  server.misdeeds.set(large.fileName, [{ bare: true }]);
  assert.equal((await take(target, [`${server.url}/${large.fileName}`])).exitCode, 0);
  assert.deepEqual(readFileSync(join(target, "noarch", large.fileName)), large.bytes);
});

test("HTTP_PROXY is used, NO_PROXY is not", async () => {
  const server = await fileServer({ [small.fileName]: small.bytes });
  const asked: string[] = [];
  const proxy = createServer((request, response) => {
    asked.push(request.url ?? "");
    response.writeHead(200, { "content-length": small.bytes.length }).end(small.bytes);
  });
  proxy.on("connect", (request, socket) => {
    asked.push(request.url ?? "");
    const { port, hostname } = new URL(server.url);
    import("node:net").then(({ connect }) => {
      const upstream = connect(Number(port), hostname, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        upstream.pipe(socket).pipe(upstream);
      });
    });
  });
  const HTTP_PROXY = await listening(proxy);
  assert.equal((await take(temporary(), [`${server.url}/${small.fileName}`], { env: { HTTP_PROXY } })).exitCode, 0);
  assert.equal(asked.length, 1);
  assert.equal(
    (await take(temporary(), [`${server.url}/${small.fileName}`], { env: { HTTP_PROXY, NO_PROXY: "127.0.0.1" } }))
      .exitCode,
    0,
  );
  assert.equal(asked.length, 1);
});

test("a proxy may be named without a scheme; one that can't be spoken to is told, without its password", async () => {
  const asked: string[] = [];
  const proxy = createServer();
  proxy.on("connect", (request, socket) => {
    asked.push(request.url ?? "");
    socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
  });
  const { host } = new URL(await listening(proxy));
  const source = [`http://conda.invalid/noarch/${small.fileName}#sha256:${small.sha256}`];
  await take(temporary(), source, { env: { HTTP_PROXY: host }, settings: { retry_attempts: 0 } });
  assert.deepEqual(asked, ["conda.invalid:80"]);
  for (const HTTP_PROXY of ["socks5://user:s3cret@proxy:1080", "user:s3cret/x@proxy:3128"]) {
    // Also where nothing but an index is asked for.
    for (const sources of [source, ["http://conda.invalid/channel"]]) {
      const report = await take(temporary(), sources, { env: { HTTP_PROXY } });
      const [only] = report.packages;
      assert.ok(only?.outcome === "failed");
      assert.equal(report.exitCode, 3);
      assert.match(only.error.what, /^the proxy (?:socks5:\/\/proxy:1080|http:\/\/proxy:3128)$/);
      assert.doesNotMatch(JSON.stringify(report), /s3cret/);
    }
  }
});

for (const manner of ["drops", "refuses", "never answers"] as const) {
  test(`a proxy that ${manner} what is asked of it ends the run with an error that tells of it, after the retries`, async () => {
    const sockets: Socket[] = [];
    let asked = 0;
    const proxy = createServer();
    proxy.on("connect", (_, socket) => {
      asked++;
      sockets.push(socket as Socket);
      if (manner === "drops") socket.destroy();
      if (manner === "refuses") socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    after(() => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    });
    const env = { HTTP_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
    const settings = manner === "never answers" ? { retry_attempts: 1, timeout_seconds: 1.2 } : { retry_attempts: 1 };
    const report = await take(temporary(), [`http://conda.invalid/noarch/${small.fileName}#sha256:${small.sha256}`], {
      env,
      settings,
    });
    // Whoever is slow may be there after all: that is a package that failed, not a source that can't be reached.
    assert.equal(report.exitCode, manner === "never answers" ? 1 : 3);
    assert.equal(asked, 2);
    const [only] = report.packages;
    assert.ok(only?.outcome === "failed");
    assert.match(`${only.error.code} ${only.error.why} ${only.error.next}`, /^(?:UNREACHABLE|TIMEOUT) /);
    if (manner !== "never answers") {
      assert.match(only.error.why, /conda\.invalid can't be reached \(the proxy opened no tunnel/);
      assert.match(only.error.next, /proxy/);
    }
    // Requests to services go the same way.
    const requests = { connections: 1, totalTimeoutMs: 500, tokens: noTokens, proxies: { httpProxy: env.HTTP_PROXY } };
    const api = openApi(requests, async (url) => ({ url }));
    const sent = api.send({ method: "GET", url: "http://conda.invalid/api" }, new AbortController().signal);
    await assert.rejects(sent, (e: TransferError) => e.code === "UNREACHABLE" || e.code === "TIMEOUT");
    await api.close();
  });
}

test("a dry run over HTTP reads the metadata by range and leaves the package there", async () => {
  const [server, target] = [await fileServer({ [large.fileName]: large.bytes }), join(temporary(), "t")];
  const report = await take(target, [`${server.url}/${large.fileName}`], { dryRun: true });
  assert.deepEqual(
    report.plan?.map((s) => [s.do, s.subdir, s.bytes]),
    [["add", "noarch", large.bytes.length]],
  );
  assert.ok((server.sent.get(large.fileName) ?? 0) < 200_000, String(server.sent.get(large.fileName)));
  assert.equal(existsSync(target), false);
});

test("file names in URLs are decoded, and hostile ones never become a path", async () => {
  const [server, target] = [await fileServer(), temporary()];
  const odd = buildConda({ name: "odd", version: "1!1.0+b" });
  server.files.set(odd.fileName, odd.bytes);
  const encoded = odd.fileName.replace("+", "%2B");
  const report = await take(target, [`${server.url}/${encoded}`, `${server.url}/..%2F..%2Fevil-1.0-0.conda`]);
  assert.deepEqual([report.added, codeOf(report)], [1, ["BAD_NAME"]]);
  assert.deepEqual(listed(target, "noarch"), [odd.fileName]);
});
