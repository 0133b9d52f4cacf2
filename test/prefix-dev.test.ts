import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { type MirrorOptions, mirror } from "../src/main.ts";
import type { Clock } from "../src/transfer/retry.ts";
import { type BuiltPackage, buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listening } from "./servers/listening.ts";
import { prefixDev } from "./servers/prefix-dev.ts";
import { partsOf, type ServiceServer, serviceServer } from "./servers/service.ts";
import { temporary, written } from "./support/folders.ts";

/** Time that passes at once, and can be moved on. */
function clockAt(now: number): Clock & { time: number } {
  return {
    time: now,
    now() {
      return this.time;
    },
    random: () => 0.5,
    async sleep(ms) {
      this.time += ms;
    },
  };
}

const packages = ["a", "b"].map((name) => buildConda({ name }));
const [a, b] = packages as [BuiltPackage, BuiltPackage];

async function run(server: ServiceServer, options: Partial<MirrorOptions> & { env: NodeJS.ProcessEnv }) {
  const events: string[] = [];
  const report = await mirror({
    sources: written(temporary(), packages),
    target: server.target,
    targetType: "prefix-dev",
    clock: clockAt(1e12),
    onEvent: (e) => events.push(JSON.stringify(e)),
    ...options,
  });
  return { report, said: events.join("\n") + JSON.stringify(report) };
}

/** The part of GitHub Actions that gives id tokens to a job. */
async function actions(): Promise<{ env: NodeJS.ProcessEnv; audiences: (string | null)[]; broken: boolean }> {
  const state = { env: {}, audiences: [] as (string | null)[], broken: false };
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://host");
    const right =
      request.headers.authorization === "bearer-of-the-job" ||
      request.headers.authorization === "Bearer job-proof-0123456789";
    if (!right || state.broken || url.searchParams.get("api-version") !== "2.0") {
      response.writeHead(403).end();
      return;
    }
    state.audiences.push(url.searchParams.get("audience"));
    const value = `id-token-${prefixDev.idTokens.length}-0123456789`;
    prefixDev.idTokens.push(value);
    response.end(JSON.stringify({ count: value.length, value }));
  });
  state.env = {
    ACTIONS_ID_TOKEN_REQUEST_URL: `${await listening(server)}/token?api-version=2.0`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: "job-proof-0123456789",
  };
  return state;
}

test("in GitHub Actions a job needs no key: its id token, for this server alone, is changed for one", async () => {
  const [server, job] = [await serviceServer(prefixDev), await actions()];
  const { report, said } = await run(server, { env: { PREFIX_SERVER_URL: server.url, ...job.env } });
  assert.deepEqual([report.exitCode, report.added], [0, 2], said);
  assert.deepEqual(job.audiences, ["127.0.0.1"]);
  for (const upload of server.uploads) assert.equal(upload.headers.authorization, `Bearer ${prefixDev.minted}`);
  for (const secret of [prefixDev.minted, "job-proof", "id-token"]) assert.ok(!said.includes(secret), secret);
});

test("a key that ends while the run goes on is changed for another", async () => {
  const [server, job, clock] = [await serviceServer(prefixDev), await actions(), clockAt(1e12)];
  const env = { PREFIX_SERVER_URL: server.url, ...job.env };
  let first = true;
  const { report, said } = await run(server, {
    env,
    clock,
    settings: { max_concurrent_downloads: 1, retry_attempts: 1 },
    onEvent: (e) => {
      if (e.type !== "finished" || !first) return;
      first = false;
      // Ten minutes later the server knows it no more.
      clock.time += 600_000;
      prefixDev.minted = "pfx-none-of-those-given";
    },
  });
  assert.deepEqual([report.exitCode, report.added, job.audiences.length], [0, 2, 2], said);
  assert.deepEqual(server.uploads.length, 3);
});

test("a new key that is refused is not asked for again and again", async () => {
  const [server, job] = [await serviceServer(prefixDev), await actions()];
  server.faults.push(...Array(9).fill({ status: 401 }));
  const { report } = await run(server, { env: { PREFIX_SERVER_URL: server.url, ...job.env } });
  assert.deepEqual([report.failed, job.audiences.length, server.uploads.length], [2, 1, 2]);
});

test("in GitLab CI the id token of the job is changed for a key", async () => {
  const server = await serviceServer(prefixDev);
  const idToken = "gitlab-id-token-0123456789";
  prefixDev.idTokens.push(idToken);
  const env = { PREFIX_SERVER_URL: server.url, GITLAB_CI: "true", "127_0_0_1_ID_TOKEN": idToken };
  const { report, said } = await run(server, { env });
  assert.deepEqual([report.exitCode, report.added], [0, 2], said);
  assert.ok(!said.includes(idToken));
});

test("a job that the server does not know falls back on what is stored, and says so; without that nothing begins", async () => {
  const [server, job] = [await serviceServer(prefixDev), await actions()];
  const RATTLER_AUTH_FILE = join(temporary(), "auth.json");
  writeFileSync(RATTLER_AUTH_FILE, JSON.stringify({ "127.0.0.1": { BearerToken: prefixDev.key } }));
  job.broken = true;
  const env = { PREFIX_SERVER_URL: server.url, ...job.env };
  const { report, said } = await run(server, { env: { ...env, RATTLER_AUTH_FILE } });
  assert.deepEqual([report.exitCode, report.added], [0, 2]);
  assert.match(said, /trusted publishing: GitHub gave no id token: it answered 403/);
  await assert.rejects(run(server, { env }), /no key for prefix\.dev/);
});

/** A Sigstore bundle about a package; its signature is nobody's business here. */
function bundleAbout({ fileName, sha256 }: BuiltPackage, more = ""): string {
  const statement = { _type: "https://in-toto.io/Statement/v1", subject: [{ name: fileName, digest: { sha256 } }] };
  const payload = Buffer.from(JSON.stringify(statement)).toString("base64");
  return `{ "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": {"payload": "${payload}"}${more} }`;
}

const attestationOf = (server: ServiceServer, { fileName }: BuiltPackage) => {
  const parts = server.uploads.map((u) => partsOf(u) ?? []).find(([file]) => file?.fileName === fileName) ?? [];
  return parts[1]?.name === "attestation" ? parts[1].body.toString("utf8") : undefined;
};

test("an attestation that is given goes along with the package that it is about, as it is", async () => {
  const server = await serviceServer(prefixDev);
  const bundle = join(temporary(), "bundle.json");
  writeFileSync(bundle, bundleAbout(b));
  const { report } = await run(server, { env: server.env, attestations: [bundle] });
  assert.equal(report.added, 2);
  assert.deepEqual([attestationOf(server, a), attestationOf(server, b)], [undefined, bundleAbout(b)]);
  for (const text of ["{}", "no JSON", '{"dsseEnvelope":{"payload":"e30="}}']) {
    writeFileSync(bundle, text);
    const running = run(server, { env: server.env, attestations: [bundle] });
    await assert.rejects(
      running,
      (e: Error & { exitCode?: number }) => e.exitCode === 2 && /--attestation/.test(e.message),
    );
  }
});

test("attestations that lie beside packages are carried along, those about other bytes are not", async () => {
  const server = await serviceServer(prefixDev);
  const folder = temporary();
  const [fileA, fileB] = written(folder, packages) as [string, string];
  writeFileSync(`${fileA}.sigs`, `[${bundleAbout(a)}]`);
  writeFileSync(`${fileB}.sigs`, `[${bundleAbout(a)}]`);
  const { said } = await run(server, { env: server.env, sources: [folder] });
  assert.deepEqual(JSON.parse(attestationOf(server, a) ?? "null"), JSON.parse(bundleAbout(a)));
  assert.equal(attestationOf(server, b), undefined);
  assert.match(said, /b-1\.0-0\.conda\.sigs is about other bytes/);

  const remote = await serviceServer(prefixDev);
  const older = `[${bundleAbout(a)}, ${bundleAbout(b, ', "first": 1')}, ${bundleAbout(b)}]`;
  const upstream = await fileServer({ [b.fileName]: b.bytes, [`${b.fileName}.v0.sigs`]: Buffer.from(older) });
  await run(remote, { env: remote.env, sources: [`${upstream.url}/${b.fileName}`] });
  assert.deepEqual(JSON.parse(attestationOf(remote, b) ?? "null"), JSON.parse(bundleAbout(b, ', "first": 1')));
});

test("a whole channel goes to prefix.dev with the attestations that it has", async () => {
  const [server, channel] = [await serviceServer(prefixDev), temporary()];
  await mirror({ sources: written(temporary(), packages), target: channel, env: {} });
  const index = readFileSync(join(channel, "noarch/repodata.json"));
  const files = Object.fromEntries(packages.map((p) => [`noarch/${p.fileName}`, p.bytes]));
  const sidecar = Buffer.from(`[${bundleAbout(a)}]`);
  const upstream = await fileServer({
    ...files,
    "noarch/repodata.json": index,
    [`noarch/${a.fileName}.sigs`]: sidecar,
  });
  const options = { env: server.env, sources: [upstream.url], sourceType: "channel" };
  const { report, said } = await run(server, options);
  assert.deepEqual([report.exitCode, report.added], [0, 2], said);
  assert.deepEqual(JSON.parse(attestationOf(server, a) ?? "null"), JSON.parse(bundleAbout(a)));
  assert.equal(attestationOf(server, b), undefined);
  const again = await run(server, options);
  assert.deepEqual([again.report.kept, server.uploads.length], [2, 2]);
});

test("attestations are held to what records promise: those of a channel, and of dependencies by address and from a folder", async () => {
  const app = buildConda({ name: "app", depends: ["a"] });
  const channel = temporary();
  await mirror({ sources: written(temporary(), [a]), target: channel, env: {} });
  const sidecar = Buffer.from(`[${bundleAbout(a)}]`);
  const sha256 = createHash("sha256").update(sidecar).digest("hex");
  const json = join(channel, "noarch/repodata.json");
  const index = JSON.parse(readFileSync(json, "utf8"));
  index["packages.conda"][a.fileName].attestations_sha256 = sha256;
  for (const path of readdirSync(join(channel, "noarch"), { encoding: "utf8" }))
    if (/zst$|shards/.test(path)) rmSync(join(channel, "noarch", path), { recursive: true });
  writeFileSync(json, JSON.stringify(index));
  // About the package too, and not what its record promises.
  const other = Buffer.from(`[${bundleAbout(a, ', "other": 1')}]`);
  for (const [promised, good] of [
    [sidecar, true],
    [other, false],
    [undefined, false],
  ] as const) {
    const sigs = join(channel, "noarch", `${a.fileName}.sigs`);
    writeFileSync(sigs, other);
    rmSync(`${sigs}.${sha256}`, { force: true });
    if (promised) writeFileSync(`${sigs}.${sha256}`, promised);
    const files = readdirSync(join(channel, "noarch"), { withFileTypes: true }).filter((f) => f.isFile());
    const { url } = await fileServer(
      Object.fromEntries(files.map(({ name }) => [`noarch/${name}`, readFileSync(join(channel, "noarch", name))])),
    );
    const settings = { retry_attempts: 0 };
    const withApp = { sources: written(temporary(), [app]), settings };
    for (const options of [
      { sources: [url], sourceType: "channel", settings },
      { ...withApp, withDeps: url },
      { ...withApp, withDeps: channel },
    ]) {
      const server = await serviceServer(prefixDev);
      const { report, said } = await run(server, { env: server.env, ...options });
      const told = `${JSON.stringify(options)} ${said}`;
      assert.equal(report.exitCode === 0, good, told);
      const sent = attestationOf(server, a);
      assert.deepEqual(sent && JSON.parse(sent), good ? JSON.parse(bundleAbout(a)) : undefined, told);
      const names = server.uploads.map((u) => partsOf(u)?.[0]?.fileName);
      assert.equal(names.includes(a.fileName), good, told);
    }
  }
});

test("an attestation that can't be read now keeps its package back", async () => {
  const server = await serviceServer(prefixDev);
  const upstream = await fileServer({ [b.fileName]: b.bytes });
  upstream.misdeeds.set(`${b.fileName}.sigs`, Array(9).fill({ status: 500 }));
  const sources = [`${upstream.url}/${b.fileName}`];
  const { report } = await run(server, { env: server.env, sources, settings: { retry_attempts: 0 } });
  assert.deepEqual([report.failed, server.uploads.length], [1, 0]);
});

test("the form is what the API asks for, to the byte", async () => {
  const server = await serviceServer(prefixDev);
  await run(server, { env: server.env, sources: written(temporary(), [a]) });
  const [upload] = server.uploads;
  assert.ok(upload);
  const boundary = /boundary=(.+)$/.exec(upload.headers["content-type"] ?? "")?.[1];
  const head = [
    `--${boundary}`,
    `Content-Disposition: form-data; name="file"; filename="${a.fileName}"`,
    "Content-Type: application/octet-stream",
    `Content-Length: ${a.bytes.length}`,
    `X-File-Name: ${a.fileName}`,
    `X-File-SHA256: ${a.sha256}`,
    "",
    "",
  ].join("\r\n");
  assert.deepEqual(upload.body, Buffer.concat([Buffer.from(head), a.bytes, Buffer.from(`\r\n--${boundary}--\r\n`)]));
  assert.deepEqual([upload.path, String(upload.query)], ["/api/v1/upload/mine", ""]);
  assert.match(upload.headers["user-agent"] ?? "", /^meso-forge-mirror\//);
});
