import { spawn } from "node:child_process";
import { createHash, createPrivateKey, randomUUID, sign, X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse, request as send } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { goProgram } from "../../scripts/go-programs.ts";
import { certificate, key } from "./certificate.ts";

/** A real OCI registry (distribution) on 127.0.0.1 over an empty folder. Ends with the test file. */
export interface OciRegistry {
  readonly host: string;
  readonly url: string;
  /** Every request that reached it. */
  readonly requests: { readonly method: string; readonly path: string; readonly authorization: string | undefined }[];
  /** Answers to give instead of passing a request on, by what `method path` begins with; each is given once. */
  readonly misdeeds: Map<
    string,
    { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }[]
  >;
  /** Something to be done before one request without a body is passed on: the one of `method path` after so many others of it. */
  hold: { readonly what: string; after: number; readonly until: () => Promise<unknown> } | undefined;
  /** As it lies on the registry's disk; its digest is checked. */
  manifest(repository: string, tag: string): StoredManifest | undefined;
  /** A repository's blob, as it lies on the registry's disk; its digest is checked. */
  blob(repository: string, digest: string): Buffer;
  tags(repository: string): string[];
  stop(): Promise<void>;
}

export interface StoredManifest {
  readonly config: { readonly digest: string; readonly mediaType: string };
  readonly layers: readonly {
    readonly mediaType: string;
    readonly digest: string;
    readonly size: number;
    readonly annotations: Record<string, string>;
  }[];
}

export const USER = { username: "mirror", password: "a-secret-of-the-test" };

/** The token server's answer is for these; anybody may pull, `USER` may push. */
export async function startRegistry(auth: "none" | "token" | "basic" = "none"): Promise<OciRegistry> {
  const folder = mkdtempSync(join(tmpdir(), "mfm-registry-"));
  const port = await freePort();
  const env: Record<string, string> = {
    HOME: folder,
    REGISTRY_HTTP_ADDR: `127.0.0.1:${port}`,
    REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: join(folder, "data"),
    REGISTRY_LOG_LEVEL: "error",
    REGISTRY_LOG_ACCESSLOG_DISABLED: "true",
    OTEL_TRACES_EXPORTER: "none",
  };
  const requests: OciRegistry["requests"] = [];
  const misdeeds: OciRegistry["misdeeds"] = new Map();
  const state: Pick<OciRegistry, "hold"> = { hold: undefined };
  const front = createServer((request, response) => {
    const path = request.url ?? "/";
    requests.push({ method: request.method ?? "", path, authorization: request.headers.authorization });
    for (const [prefix, answers] of misdeeds) {
      if (!`${request.method} ${path}`.startsWith(prefix)) continue;
      const answer = answers.shift();
      if (!answer) continue;
      request.resume().on("end", () => response.writeHead(answer.status, answer.headers).end(answer.body ?? ""));
      return;
    }
    const { hold } = state;
    if (path.startsWith("/token")) giveToken(request, response);
    else if (hold && hold.what === `${request.method} ${path}` && hold.after-- === 0) {
      state.hold = undefined;
      void hold.until().then(() => forward(request, response, port));
    } else forward(request, response, port);
  });
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(front.address() as AddressInfo).port}`;
  if (auth === "token") {
    writeFileSync(join(folder, "roots.pem"), certificate);
    Object.assign(env, {
      REGISTRY_AUTH: "token",
      REGISTRY_AUTH_TOKEN_REALM: `http://${host}/token`,
      REGISTRY_AUTH_TOKEN_SERVICE: "test-registry",
      REGISTRY_AUTH_TOKEN_ISSUER: "test-issuer",
      REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE: join(folder, "roots.pem"),
    });
  } else if (auth === "basic") {
    writeFileSync(join(folder, "htpasswd"), `${USER.username}:${HTPASSWD}\n`);
    Object.assign(env, {
      REGISTRY_AUTH: "htpasswd",
      REGISTRY_AUTH_HTPASSWD_REALM: "test",
      REGISTRY_AUTH_HTPASSWD_PATH: join(folder, "htpasswd"),
    });
  }
  const config = join(folder, "config.yml");
  writeFileSync(config, "version: 0.1\nstorage:\n  filesystem: {}\n  delete:\n    enabled: true\nhttp: {}\n");
  const child = spawn(goProgram("registry"), ["serve", config], { env, stdio: "ignore" });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    front.closeAllConnections();
    front.close();
    child.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  after(stop);
  const direct = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`${direct}/v2/`).catch(() => undefined);
    if (answer) break;
    if (tries === 400 || child.exitCode !== null) throw new Error("the registry did not start");
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  const data = join(folder, "data/docker/registry/v2");
  const stored = (digest: string) => {
    const hex = digest.slice("sha256:".length);
    const bytes = readFileSync(join(data, "blobs/sha256", hex.slice(0, 2), hex, "data"));
    if (createHash("sha256").update(bytes).digest("hex") !== hex) throw new Error(`${digest} is damaged`);
    return bytes;
  };
  return {
    host,
    url: `http://${host}`,
    get hold() {
      return state.hold;
    },
    set hold(hold) {
      state.hold = hold;
    },
    requests,
    misdeeds,
    manifest(repository, tag) {
      const link = join(data, "repositories", repository, "_manifests/tags", tag, "current/link");
      if (!existsSync(link)) return undefined;
      return JSON.parse(stored(readFileSync(link, "utf8")).toString("utf8")) as StoredManifest;
    },
    blob(repository, digest) {
      const hex = digest.slice("sha256:".length);
      if (!existsSync(join(data, "repositories", repository, "_layers/sha256", hex, "link")))
        throw new Error(`${repository} has no ${digest}`);
      return stored(digest);
    },
    tags(repository) {
      const folder = join(data, "repositories", repository, "_manifests/tags");
      return existsSync(folder) ? readdirSync(folder).sort() : [];
    },
    stop,
  };
}

/** "a-secret-of-the-test", by bcrypt, the only hash that the registry takes. */
const HTPASSWD = "$2b$04$abcdefghijklmnopqrstuu9nOx7cNlp2vyBazd1/d5f5mw59CleOy";

function forward(request: IncomingMessage, response: ServerResponse, port: number): void {
  const { url, method, headers } = request;
  const own = send({ host: "127.0.0.1", port, path: url, method, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 500, answer.headers);
    answer.pipe(response);
  });
  own.on("error", () => response.destroy());
  request.pipe(own);
}

function giveToken(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? "", "http://x");
  const [, repository, wanted] = /^repository:([^:]+):(.+)$/.exec(url.searchParams.get("scope") ?? "") ?? [];
  const basic = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString("base64")}`;
  const { authorization } = request.headers;
  if (authorization !== undefined && authorization !== basic) return void response.writeHead(401).end();
  const actions = (wanted ?? "").split(",").filter((a) => authorization === basic || a === "pull");
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: "test-issuer",
    sub: USER.username,
    aud: url.searchParams.get("service"),
    exp: now + 300,
    nbf: now - 10,
    iat: now,
    jti: randomUUID(),
    access: [{ type: "repository", name: repository, actions }],
  };
  const x5c = [new X509Certificate(certificate).raw.toString("base64")];
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ typ: "JWT", alg: "ES256", x5c })}.${part(claims)}`;
  const signature = sign("sha256", Buffer.from(text), { key: createPrivateKey(key), dsaEncoding: "ieee-p1363" });
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify({ token: `${text}.${signature.toString("base64url")}`, expires_in: 300 }));
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createTcpServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
