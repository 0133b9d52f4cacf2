import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { mirror } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { anaconda } from "./servers/anaconda.ts";
import { artifactory } from "./servers/artifactory.ts";
import { cloudsmith } from "./servers/cloudsmith.ts";
import { type EchoingServer, echoingServer } from "./servers/echoing.ts";
import { gitea } from "./servers/gitea.ts";
import { listening } from "./servers/listening.ts";
import { prefixDev } from "./servers/prefix-dev.ts";
import { quetz } from "./servers/quetz.ts";
import { type Protocol, type ServiceServer, serviceServer } from "./servers/service.ts";
import { temporary, written } from "./support/folders.ts";

/**
 * No secret in any output, at any level: for every target, and every failure it can have. A new target is a line in `TARGETS`;
 * what it gives back says how to use it, what nobody must see, and how it can fail.
 */
interface Secretive {
  readonly target: string;
  readonly targetType: string;
  readonly env: Readonly<Record<string, string>>;
  readonly secrets: readonly string[];
  /** By name: each makes the next run fail in its way. */
  readonly failures: Readonly<Record<string, () => Partial<Pick<Secretive, "target" | "env">>>>;
  /** Whether a dry run succeeds when nothing fails. */
  readonly works: boolean;
}

const TARGETS: Record<string, () => Promise<Secretive>> = {
  "prefix.dev": () => service(prefixDev),
  Quetz: () => service(quetz),
  Artifactory: () => service(artifactory),
  "anaconda.org": () => service(anaconda()),
  Cloudsmith: () => service(cloudsmith()),
  Gitea: () => service(gitea),
  S3: async () => {
    const server = await echoingServer();
    const secrets = ["s3-secret-access-key-0123456789", "s3-session-token-0123456789"];
    const [AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN] = secrets as [string, string];
    const env = { AWS_ACCESS_KEY_ID: "AKIDNOSECRET", AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN };
    const address = { AWS_ENDPOINT_URL_S3: server.url, AWS_REGION: "us-east-1" };
    return echoed(server, { target: "s3://bucket/channel", targetType: "s3", env: { ...env, ...address }, secrets });
  },
  "an OCI registry": async () => {
    const token = "registry-token-0123456789";
    const server = await echoingServer(token);
    const [username, password] = ["me", "registry-password-0123456789"];
    const RATTLER_AUTH_FILE = join(temporary(), "auth.json");
    writeFileSync(RATTLER_AUTH_FILE, JSON.stringify({ [server.host]: { BasicHTTP: { username, password } } }));
    const env = { RATTLER_AUTH_FILE, HOME: temporary() };
    const secrets = [password, token];
    return echoed(server, { target: `oci://${server.host}/channel`, targetType: "oci", env, secrets });
  },
};

/** A target whose server repeats everything in whatever it answers. */
function echoed(server: EchoingServer, one: Omit<Secretive, "failures" | "works">): Secretive {
  const failures: Record<string, () => Record<string, never>> = {};
  for (const status of [400, 401, 403, 405, 409, 412, 429, 500, 503])
    failures[String(status)] = () => {
      server.status = status;
      return {};
    };
  return { ...one, failures, works: false };
}

const mine = buildConda({ name: "a", files: { "share/x": "x".repeat(1000) } });
const other = buildConda({ name: "a", depends: ["something"] });

/** The test's services repeat what they were sent in every answer that is an error. */
async function service(protocol: Protocol): Promise<Secretive> {
  const server = await serviceServer(protocol);
  const keep = { faults: server.faults, stored: server.stored };
  const statuses = [302, 400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 415, 422, 429, 500, 501, 502, 503];
  const reset = (then: () => void = () => undefined) => {
    keep.faults.length = 0;
    keep.stored.clear();
    server.maxBytes = Number.POSITIVE_INFINITY;
    then();
    return {};
  };
  const failures: Record<string, () => Partial<Pick<Secretive, "target" | "env">>> = {
    "a key that has ended": () => ({ ...reset(), env: server.expiredEnv }),
    "an unknown channel": () => ({ ...reset(), target: server.unknownTarget }),
    "a package too large": () => reset(() => (server.maxBytes = 10)),
    "nobody listens": () => ({ ...reset(), env: movedTo(server, "http://127.0.0.1:9"), target: moved(server) }),
    "an unknown host": () => ({
      ...reset(),
      env: movedTo(server, "http://nobody.invalid"),
      target: server.target.replace(server.url, "http://nobody.invalid"),
    }),
  };
  for (const status of statuses) failures[String(status)] = () => reset(() => server.faults.push({ status }));
  const { target, type: targetType, env, secrets } = server;
  return { target, targetType, env, secrets, failures, works: true };
}

const moved = ({ target, url }: ServiceServer) => target.replace(url, "http://127.0.0.1:9");
const movedTo = ({ env, url }: ServiceServer, to: string) =>
  Object.fromEntries(Object.entries(env).map(([k, v]) => [k, v.replace(url, to)]));

/** A secret in all the clothes that it may come in. */
function dressed(secret: string): string[] {
  return [
    secret,
    encodeURIComponent(secret),
    Buffer.from(secret).toString("base64").replace(/=+$/, "").slice(0, -1),
    Buffer.from(`x:${secret}`).toString("base64").slice(4, -4),
    Buffer.from(`${secret}:x-oauth-basic`).toString("base64").slice(0, 20),
  ];
}

function assertNone(said: string, secrets: readonly string[], when: string): void {
  for (const secret of secrets)
    for (const clothes of dressed(secret))
      assert.ok(!said.includes(clothes), `${when}: ${secret} (as ${clothes}) is in\n${said}`);
}

/** An error and everything that hangs on it: a caller of the library may print it all. */
function whole(e: unknown, depth = 0): unknown {
  if (!(e instanceof Error) || depth > 5) return e;
  const own = Object.fromEntries(Object.getOwnPropertyNames(e).map((name) => [name, Reflect.get(e, name) as unknown]));
  return { ...own, cause: whole(e.cause, depth + 1), stack: e.stack };
}

for (const [name, open] of Object.entries(TARGETS)) {
  test(`${name}: whatever fails, nothing secret is in events, errors, causes and reports`, async () => {
    const one = await open();
    const sources = written(temporary(), [mine]);
    let repeated = 0;
    for (const [failure, fail] of Object.entries(one.failures)) {
      const said: string[] = [];
      const say = (value: unknown) => said.push(JSON.stringify(value, (_, v: unknown) => whole(v)));
      const changed = { target: one.target, env: one.env, ...fail() };
      const outcome = await mirror({
        sources,
        targetType: one.targetType,
        ...changed,
        settings: { retry_attempts: 0 },
        onEvent: say,
      }).then(
        (report) => ({ report, code: report.exitCode }),
        (e: unknown) => ({ report: whole(e), code: (e as { exitCode: number }).exitCode }),
      );
      say(outcome.report);
      assert.notEqual(outcome.code, 0, `${failure} did not fail`);
      assertNone(said.join("\n"), one.secrets, failure);
      if (/you sent|Bearer|…/.test(said.join())) repeated++;
    }
    assert.ok(repeated > 3, "the server's words are told, so that its repeating them means something");
  });

  test(`${name}: nothing secret is printed at --log-level trace`, async () => {
    const one = await open();
    const [path] = written(temporary(), [mine]) as [string];
    const run = (args: readonly string[], env = one.env) =>
      cli(["mirror", path, "--tgt-type", one.targetType, "--retry-attempts", "0", ...loud, ...args], env);
    for (const failure of ["500", "a key that has ended"]) {
      const fail = one.failures[failure];
      if (!fail) continue;
      const { target = one.target, env = one.env } = fail();
      const { code, said } = await run(["--tgt", target], env);
      assert.notEqual(code, 0, said);
      assert.match(said, /the server answered|can't be/);
      assertNone(said, one.secrets, "on the command line");
    }
    if (!one.works) return;
    one.failures["500"]?.();
    const ok = await run(["--tgt", one.target, "--dry-run", "--json"]);
    assert.equal(ok.code, 0, ok.said);
    assertNone(ok.said, one.secrets, "in a plan");
  });
}

const loud = ["--log-level", "trace", "-v", "--progress", "always"];
const main = new URL("../src/cli/main.ts", import.meta.url).pathname;

function cli(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [main, ...args], {
    cwd: temporary(),
    env: { PATH: process.env["PATH"] ?? "", NODE_NO_WARNINGS: "1", ...env },
  });
  const said: string[] = [];
  child.stdout.on("data", (d) => said.push(String(d)));
  child.stderr.on("data", (d) => said.push(String(d)));
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, said: said.join("") })));
}

test("a key on the command line is as secret, and so is what a target's address carries", async () => {
  const server = await serviceServer(gitea);
  const [path] = written(temporary(), [mine]) as [string];
  const wrong = "some-password-0123456789";
  const bare = { GITEA_SERVER_URL: server.url };
  const withUser = server.target.replace("http://", `http://me:${wrong}@`);
  for (const args of [
    ["--tgt", server.target, "--api-key", `me:${wrong}`],
    ["--tgt", withUser],
    ["--tgt", withUser.replace("/api/packages", "/api/nothing")],
  ]) {
    const { code, said } = await cli(["mirror", path, "--tgt-type", "gitea", ...loud, ...args], bare);
    assert.notEqual(code, 0, said);
    assertNone(said, [wrong], args.join(" "));
  }
});

test("a conflict tells the two hashes, and nothing else of the target's", async () => {
  for (const [name, protocol] of [["Quetz", quetz] as const, ["anaconda.org", anaconda()] as const]) {
    const server = await serviceServer(protocol);
    const options = { target: server.target, targetType: server.type, env: server.env };
    await mirror({ sources: written(temporary(), [mine]), ...options });
    const report = await mirror({ sources: written(temporary(), [other]), ...options });
    const said = JSON.stringify(report);
    assert.ok(said.includes(mine.sha256) && said.includes(other.sha256), name);
    assertNone(said, server.secrets, name);
  }
});

test("where a service's channel is served from elsewhere, the key does not go along", async () => {
  const seen: (string | undefined)[] = [];
  const there = await listening((request, response) => {
    seen.push(request.headers.authorization, request.url);
    response.writeHead(404).end();
  });
  const url = await listening((request, response) => {
    response.writeHead(request.method === "GET" ? 302 : 500, { location: `${there}/moved` }).end();
  });
  const key = "a-key-that-stays-0123456789";
  const auth = join(temporary(), "auth.json");
  writeFileSync(auth, JSON.stringify({ "127.0.0.1": { BearerToken: key } }));
  for (const env of [{ PREFIX_SERVER_URL: url, PREFIX_API_KEY: key }, { RATTLER_AUTH_FILE: auth }])
    await mirror({
      sources: written(temporary(), [mine]),
      target: `${url}/mine`,
      targetType: "prefix-dev",
      env,
      settings: { retry_attempts: 0 },
    });
  assert.ok(seen.length >= 4);
  assert.ok(!JSON.stringify(seen).includes(key), JSON.stringify(seen));
});
