import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import type { LinuxStore } from "@napi-rs/keyring";
import { type CredentialStore, openCredentialStore } from "../src/auth/credential-store.ts";
import type { PostForm } from "../src/auth/oauth.ts";
import { type KeyringEntry, keyringVault } from "../src/auth/vaults.ts";
import { type MirrorOptions, mirror } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listening } from "./servers/listening.ts";
import { listed, temporary, written } from "./support/folders.ts";

const NOW = Date.UTC(2026, 10, 25);
const noPost: PostForm = async () => assert.fail("nothing is to be renewed");

interface Opened {
  readonly store: CredentialStore;
  readonly warnings: string[];
}

async function open(env: NodeJS.ProcessEnv, post: PostForm = noPost): Promise<Opened> {
  const warnings: string[] = [];
  const store = await openCredentialStore({ env, now: () => NOW, post, warn: (m) => void warnings.push(m) });
  return { store, warnings };
}

/** A home with these entries in its `credentials.json` and this netrc. */
function homeWith(entries: object | string, netrc = ""): string {
  const home = temporary();
  mkdirSync(join(home, ".rattler"));
  const text = typeof entries === "string" ? entries : JSON.stringify(entries);
  writeFileSync(join(home, ".rattler/credentials.json"), text);
  writeFileSync(join(home, process.platform === "win32" ? "_netrc" : ".netrc"), netrc);
  return home;
}

function authFile(entries: object | string): string {
  const path = join(temporary(), "auth.json");
  writeFileSync(path, typeof entries === "string" ? entries : JSON.stringify(entries));
  return path;
}

const bearer = (token: string) => ({ BearerToken: token });

test("the named file goes before the home's file, and that before netrc; a host before a domain, wherever it stands", async () => {
  const HOME = homeWith(
    { "a.example": bearer("home-a"), "b.example": bearer("home-b"), "*.c.example": bearer("home-any-c") },
    "machine a.example login n password a\nmachine x.c.example login n password c",
  );
  const RATTLER_AUTH_FILE = authFile({ "a.example": bearer("named-a"), "*.b.example": bearer("named-any-b") });
  const { store } = await open({ HOME, RATTLER_AUTH_FILE });
  const tokenOf = async (url: string) => {
    const found = await store.find(url);
    return found && (found.kind === "bearer" ? found.token : found.kind === "basic" ? found.password : found.kind);
  };
  assert.equal(await tokenOf("https://a.example/x"), "named-a");
  assert.equal(await tokenOf("https://b.example/x"), "home-b");
  assert.equal(await tokenOf("https://y.b.example/x"), "named-any-b");
  assert.equal(await tokenOf("https://x.c.example/x"), "c");
  assert.equal(await tokenOf("https://y.c.example/x"), "home-any-c");
  assert.equal(await tokenOf("https://d.example/x"), undefined);
});

test("every kind that rattler writes is read, and a bucket's longest prefix wins", async () => {
  const s3 = (id: string) => ({
    S3Credentials: { access_key_id: id, secret_access_key: "s", session_token: null },
  });
  const { store, warnings } = await open({
    RATTLER_AUTH_FILE: authFile({
      "token.example": { CondaToken: "tk" },
      "basic.example": { BasicHTTP: { username: "u", password: "p" } },
      "s3://bucket": s3("short"),
      "s3://bucket/a/b": s3("long"),
      "new.example": { SomethingNew: { x: 1 } },
      "bad.example": { BearerToken: "two\nlines" },
    }),
  });
  assert.deepEqual(await store.find("https://token.example"), { kind: "conda-token", token: "tk" });
  assert.deepEqual(await store.find("https://basic.example"), { kind: "basic", username: "u", password: "p" });
  const found = async (url: string) => {
    const credential = await store.find(url);
    return credential?.kind === "s3" ? credential.accessKeyId : credential;
  };
  assert.equal(await found("s3://bucket/a/b/c"), "long");
  assert.equal(await found("s3://bucket/a/bc"), "short");
  assert.equal(await found("s3://other/a/b"), undefined);
  assert.equal(await found("https://new.example"), undefined);
  assert.equal(await found("https://bad.example"), undefined);
  assert.equal(warnings.length, 2);
  assert.ok(warnings.every((w) => /no kind that is known; it is not used$/.test(w)));
});

test("a named file that can't be used ends the run before it begins; one in the home is told and passed over", async () => {
  for (const text of ["{", '["x"]', '{"a.example": SECRET-WORD}']) {
    const RATTLER_AUTH_FILE = authFile(text);
    const options = { sources: [temporary()], target: temporary(), env: { RATTLER_AUTH_FILE } };
    await assert.rejects(mirror(options), (e: Error & { exitCode?: number }) => {
      assert.deepEqual([e.exitCode, e.message.includes("SECRET")], [2, false]);
      return e.message.includes(RATTLER_AUTH_FILE);
    });
    const { store, warnings } = await open({ HOME: homeWith(text, "machine a.example login n password p") });
    assert.equal((await store.find("https://a.example"))?.kind, "basic");
    assert.equal(warnings.length, 1);
    assert.ok(!warnings.join().includes("SECRET"));
  }
  assert.equal(await (await open({ HOME: temporary() })).store.find("https://a.example"), undefined);
});

const endpoint = "https://login.example/token";
const oauth = (more: object = {}) => ({
  OAuth: {
    access_token: "old-access",
    refresh_token: "old-refresh",
    expires_at: NOW / 1000 - 60,
    token_endpoint: endpoint,
    revocation_endpoint: null,
    client_id: "client",
    kept: "as it is",
    ...more,
  },
});
const json = (status: number, value: object) => ({ status, body: Buffer.from(JSON.stringify(value)) });

test("an OAuth token that ends is renewed once for all who ask, and kept where it came from", async () => {
  const HOME = homeWith({ "*.o.example": oauth(), "other.example": bearer("x") });
  const posts: unknown[] = [];
  const { store } = await open({ HOME }, async (url, form) => {
    posts.push([url, form]);
    return json(200, { access_token: "new-access", refresh_token: "new-refresh", expires_in: 3600 });
  });
  const found = await Promise.all(["https://a.o.example", "https://b.o.example"].map((url) => store.find(url)));
  assert.deepEqual(found, Array(2).fill({ kind: "oauth", accessToken: "new-access" }));
  const form = { grant_type: "refresh_token", refresh_token: "old-refresh", client_id: "client" };
  assert.deepEqual(posts, [[endpoint, form]]);
  const path = join(HOME, ".rattler/credentials.json");
  const kept = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  const now = { access_token: "new-access", refresh_token: "new-refresh", expires_at: NOW / 1000 + 3600 };
  assert.deepEqual(kept, { "*.o.example": oauth(now), "other.example": bearer("x") });
  if (process.platform !== "win32") assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(join(HOME, ".rattler")), ["credentials.json"]);
  assert.deepEqual(await (await open({ HOME })).store.find("https://a.o.example"), found[0], "the next run has it");
});

test("a token that another program has renewed meanwhile is taken, and its own is not used up", async () => {
  const HOME = homeWith({ "o.example": oauth() });
  const { store } = await open({ HOME });
  await store.find("https://else.example");
  const lasting = { access_token: "theirs", expires_at: NOW / 1000 + 9999 };
  writeFileSync(join(HOME, ".rattler/credentials.json"), JSON.stringify({ "o.example": oauth(lasting) }));
  assert.deepEqual(await store.find("https://o.example"), { kind: "oauth", accessToken: "theirs" });
});

test("a token that can't be renewed is not sent once it has ended, and nothing secret is told about it", async () => {
  const failing: [object, PostForm, RegExp][] = [
    [{}, async () => json(400, { error: "invalid_grant" }), /answered 400 \(invalid_grant\)/],
    [{}, async () => ({ status: 502, body: Buffer.from("<html>") }), /answered 502 and no JSON/],
    [{}, async () => json(200, { token: "x" }), /gave no access token/],
    [{ refresh_token: null }, noPost, /no token to renew it with/],
    [{ token_endpoint: "http://login.example/token" }, noPost, /not safe/],
  ];
  for (const [more, post, why] of failing) {
    const { store, warnings } = await open({ HOME: homeWith({ "o.example": oauth(more) }) }, post);
    assert.equal(await store.find("https://o.example"), undefined);
    assert.equal(await store.find("https://o.example"), undefined);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] as string, why);
    assert.ok(!/old-access|old-refresh/.test(warnings.join()));
    const soon = homeWith({ "o.example": oauth({ ...more, expires_at: NOW / 1000 + 60 }) });
    const found = await (await open({ HOME: soon }, post)).store.find("https://o.example");
    assert.deepEqual(found, { kind: "oauth", accessToken: "old-access" }, "a minute is left of it");
  }
});

/** The kernel's keyring where this machine lets us use it, which containers often do not; else one in memory. */
async function openKeyring(): Promise<(key: string) => Promise<KeyringEntry>> {
  const { AsyncEntry } = await import("@napi-rs/keyring");
  const inKernel = async (key: string) =>
    new AsyncEntry("rattler", key, { linux: { store: "keyutils" as LinuxStore } });
  try {
    const entry = await inKernel("try.test.invalid");
    await entry.setPassword("x");
    await entry.deletePassword();
    return inKernel;
  } catch {
    const held = new Map<string, string>();
    return async (key) => ({
      getPassword: async () => held.get(key) ?? null,
      setPassword: async (text) => void held.set(key, text),
    });
  }
}

test("an entry of the keyring is read, and changed without losing what else is in it", async () => {
  const open = await openKeyring();
  const host = `h${process.pid}.test.invalid`;
  const entry = await open(host);
  const vault = keyringVault(open);
  assert.equal(await vault.get(host), undefined);
  await entry.setPassword(JSON.stringify(oauth()));
  const found = await vault.get(host);
  assert.deepEqual(found?.kind === "oauth" && [found.accessToken, found.clientId], ["old-access", "client"]);
  await vault.amend?.(host, "OAuth", { access_token: "new-access" });
  assert.deepEqual(JSON.parse((await entry.getPassword()) ?? ""), oauth({ access_token: "new-access" }));
  await entry.setPassword("no JSON");
  assert.equal(await vault.get(host), undefined);
  await entry.setPassword(JSON.stringify(bearer("later")));
  assert.deepEqual(await vault.get(host), { kind: "bearer", token: "later" }, "one bad entry is not a bad keyring");
  if ("deletePassword" in entry) await (entry as { deletePassword(): Promise<boolean> }).deletePassword();
});

test("a keyring that fails is asked once, and holds nothing", async () => {
  let asked = 0;
  const vault = keyringVault(async () => {
    asked++;
    throw new Error("locked");
  });
  for (const host of ["a.example", "b.example"]) assert.equal(await vault.get(host), undefined);
  assert.equal(asked, 1);
});

const upstream = [
  buildConda({ name: "lib", version: "1.0", subdir: "linux-64" }),
  buildConda({ name: "other", version: "1.0", subdir: "linux-64" }),
];
const app = buildConda({ name: "app", subdir: "linux-64", depends: ["lib"] });

/** The files of a channel that holds `upstream`, below a folder. */
async function channelFiles(below: string): Promise<Record<string, Uint8Array>> {
  const [source, channel] = [temporary(), temporary()];
  written(source, upstream);
  await mirror({ sources: [source], target: channel, env: {} });
  const files = readdirSync(channel, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  return Object.fromEntries(
    files.map((f) => {
      const path = join(f.parentPath, f.name);
      return [`${below}${path.slice(channel.length + 1).replaceAll("\\", "/")}`, readFileSync(path)];
    }),
  );
}

const kinds = {
  bearer: { entry: bearer("secret-bearer"), header: "Bearer secret-bearer", below: "channel/" },
  basic: {
    entry: { BasicHTTP: { username: "user", password: "secret-password" } },
    header: `Basic ${Buffer.from("user:secret-password").toString("base64")}`,
    below: "channel/",
  },
  "conda token": { entry: { CondaToken: "secret-token" }, header: undefined, below: "t/secret-token/channel/" },
};

/** A run, and everything it told. */
async function told(options: Partial<MirrorOptions> & { sources: string[]; env: NodeJS.ProcessEnv }) {
  const target = temporary();
  const events: string[] = [];
  const onEvent = (e: object) => {
    events.push(JSON.stringify(e, (_, v) => (v instanceof Error ? { ...v, message: v.message, stack: v.stack } : v)));
  };
  const report = await mirror({ target, onEvent, settings: { retry_attempts: 0 }, ...options });
  const said = `${events.join("\n")}${JSON.stringify(report)}`;
  return { report, target, said };
}

for (const [kind, { entry, header, below }] of Object.entries(kinds)) {
  test(`a private channel that wants a ${kind} is read: packages in worker threads, its index, and dependencies`, async () => {
    const server = await fileServer(await channelFiles(below));
    const host = new URL(server.url).hostname;
    const env = { RATTLER_AUTH_FILE: authFile({ [host]: entry }) };
    const local = temporary();
    written(local, [app]);
    const sources = [`${server.url}/channel/linux-64/${upstream[1]?.fileName}`, local];
    const { report, target, said } = await told({ sources, env, withDeps: `${server.url}/channel` });
    assert.deepEqual([report.exitCode, report.added], [0, 3], said);
    assert.equal(listed(target, "linux-64").length, 3);
    assert.ok(server.requests.length > 3);
    for (const { headers } of server.requests) assert.equal(headers.authorization, header);
    assert.ok(!/secret/.test(said), said);
  });

  test(`a ${kind} stays with its host when that redirects, and out of everything that is told`, async () => {
    const name = upstream[0]?.fileName as string;
    const elsewhere = await fileServer({ [name]: upstream[0]?.bytes as Buffer });
    const server = await fileServer();
    const path = `${below}linux-64/${name}`;
    const url = `${server.url}/channel/linux-64/${name}#sha256:${upstream[0]?.sha256}`;
    const env = { RATTLER_AUTH_FILE: authFile({ [new URL(server.url).host]: entry }) };
    // Another port is another host's business: the entry names this one's.
    server.misdeeds.set(path, [{ redirect: `${elsewhere.url}/${name}` }]);
    const { report, said } = await told({ sources: [url], env });
    assert.equal(report.exitCode, 0, said);
    assert.deepEqual([server.requests[0]?.headers.authorization, server.requests[0]?.path], [header, path]);
    assert.deepEqual([elsewhere.requests.length, elsewhere.requests[0]?.headers.authorization], [1, undefined]);
    const echo = `${JSON.stringify(entry)} was not accepted at /${path} (${header})`;
    for (const status of [400, 401, 403, 404, 500]) {
      server.misdeeds.set(path, [{ status, body: echo, headers: { "content-type": "text/plain" } }]);
      const refused = await told({ sources: [url], env });
      assert.notEqual(refused.report.exitCode, 0);
      assert.match(refused.said, /was not accepted/);
      assert.ok(!/secret/.test(refused.said), refused.said);
      assert.ok(header === undefined || !refused.said.includes(header), refused.said);
    }
  });
}

test("what a URL carries itself, and tokens of the settings, stand before the store", async () => {
  const name = upstream[0]?.fileName as string;
  const server = await fileServer({ [name]: upstream[0]?.bytes as Buffer });
  const env = { RATTLER_AUTH_FILE: authFile({ "127.0.0.1": bearer("stored-token") }) };
  const own = server.url.replace("http://", "http://u:p@");
  await told({ sources: [`${own}/${name}`], env });
  await told({
    sources: [`${server.url}/${name}`],
    env,
    settings: { github_api_url: server.url, github_token: "from-settings" },
  });
  assert.deepEqual(
    server.requests.map((r) => r.headers.authorization),
    [`Basic ${Buffer.from("u:p").toString("base64")}`, "Bearer from-settings"],
  );
});

test("a token is renewed at its own endpoint while a run goes on, without any other credential", async () => {
  const name = upstream[0]?.fileName as string;
  const server = await fileServer({ [name]: upstream[0]?.bytes as Buffer });
  const posts: [string | undefined, string][] = [];
  const login = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    posts.push([request.headers.authorization, body]);
    response.end(JSON.stringify({ access_token: "new-access", expires_in: 3600 }));
  });
  const tokenEndpoint = `${await listening(login)}/token`;
  const file = authFile({ "127.0.0.1": oauth({ token_endpoint: tokenEndpoint }) });
  const { report, said } = await told({ sources: [`${server.url}/${name}`], env: { RATTLER_AUTH_FILE: file } });
  assert.equal(report.exitCode, 0);
  assert.deepEqual(posts, [[undefined, "grant_type=refresh_token&refresh_token=old-refresh&client_id=client"]]);
  assert.equal(server.requests.at(-1)?.headers.authorization, "Bearer new-access");
  assert.ok(!/new-access|old-refresh/.test(said));
});
