import { createHash } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import { listening } from "../listening.ts";
import { type BlobStore, blobStore } from "./blob-store.ts";
import { objects } from "./objects.ts";
import { violation } from "./openapi.ts";
import { emptyState, type State, type Token } from "./state.ts";

/** What the server does to one request in place of answering well. */
export type Refusal =
  /** The hour's requests are used up until then (milliseconds since 1970). */
  | { readonly limit: "primary"; readonly until: number }
  /** Too many at once; with a time to wait in seconds, or without. */
  | { readonly limit: "secondary"; readonly after?: number }
  | { readonly status: number; readonly message: string };

export interface GitHubServer extends State {
  /** The API's address, with a path as Enterprise hosts have it. */
  readonly api: string;
  readonly web: string;
  readonly blobs: BlobStore;
  /** Refusals to come: each request takes the first. */
  readonly refusals: Refusal[];
  readonly requests: { path: string; status: number; headers: IncomingMessage["headers"] }[];
  /** How answers differ from GitHub's own description of them: nothing, or the test has failed. */
  readonly violations: string[];
  /** Requests that are left of this hour. */
  remaining: number;
  /** The server's time in milliseconds since 1970. */
  now: () => number;
}

interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Asked {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly token: Token | undefined;
  readonly accept: string;
}

const PREFIX = "/api/v3";
const DOCS = "https://docs.github.com/rest";

/**
 * GitHub's REST API on 127.0.0.1, as far as we use it, on what a test puts into it. Every answer is held to GitHub's
 * OpenAPI description. Files are at a second host that refuses tokens. Ends with the test file.
 */
export async function githubServer(now: () => number = Date.now): Promise<GitHubServer> {
  const state = emptyState();
  const server = createServer();
  const web = await listening(server);
  const api = `${web}${PREFIX}`;
  const it: GitHubServer = Object.assign(state, {
    api,
    web,
    blobs: await blobStore(() => it.now()),
    refusals: [],
    requests: [],
    violations: [],
    remaining: 5000,
    now,
  });
  const answerTo = router(it);

  server.on("request", (request: IncomingMessage, response) => {
    const url = new URL(request.url ?? "/", web);
    const path = url.pathname.slice(PREFIX.length);
    const { authorization, accept = "", "if-none-match": known } = request.headers;
    const secret = /^(?:Bearer|token) (.+)$/i.exec(authorization ?? "")?.[1];
    const token = secret === undefined ? undefined : it.tokens.get(secret);
    let answer: Answer;
    const refusal = it.refusals.shift();
    if (!url.pathname.startsWith(PREFIX)) answer = { status: 404, body: error(404, "Not Found") };
    else if (!request.headers["user-agent"])
      answer = { status: 403, body: error(403, "Please make sure your request has a User-Agent header") };
    else if (refusal) answer = refused(refusal);
    else if (it.remaining <= 0) answer = refused({ limit: "primary", until: it.now() + 1_800_000 });
    else if (secret !== undefined && (!token || token.expired))
      answer = { status: 401, body: error(401, "Bad credentials") };
    else answer = answerTo({ path, query: url.searchParams, token, accept });
    const text = answer.body === undefined ? "" : JSON.stringify(answer.body);
    const etag = `W/"${createHash("sha256").update(text).digest("hex")}"`;
    const unchanged = answer.status === 200 && known === etag;
    if (!unchanged) it.remaining--;
    const wrong = url.pathname.startsWith(PREFIX) ? violation(path, answer.status, answer.body) : undefined;
    if (wrong !== undefined) it.violations.push(wrong);
    const status = unchanged ? 304 : answer.status;
    it.requests.push({ path: `${path}${url.search}`, status, headers: request.headers });
    response.writeHead(status, {
      date: new Date(it.now()).toUTCString(),
      "content-type": "application/json; charset=utf-8",
      "x-github-request-id": "1",
      "x-ratelimit-limit": token ? "5000" : "60",
      "x-ratelimit-remaining": String(Math.max(0, it.remaining)),
      "x-ratelimit-reset": String(Math.ceil((it.now() + 1_800_000) / 1000)),
      "x-ratelimit-used": "1",
      "x-ratelimit-resource": "core",
      ...(token?.kind === "classic" ? { "x-oauth-scopes": token.may.join(", ") } : {}),
      ...(answer.status === 200 ? { etag } : {}),
      ...answer.headers,
    });
    response.end(unchanged ? "" : text);
  });
  return it;
}

function error(status: number, message: string): object {
  return { message, documentation_url: DOCS, status: String(status) };
}

function refused(refusal: Refusal): Answer {
  if ("status" in refusal) return { status: refusal.status, body: error(refusal.status, refusal.message) };
  if (refusal.limit === "primary")
    return {
      status: 403,
      body: error(403, "API rate limit exceeded for user ID 1."),
      headers: { "x-ratelimit-remaining": "0", "x-ratelimit-reset": String(Math.floor(refusal.until / 1000)) },
    };
  return {
    status: 403,
    body: error(403, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."),
    headers: refusal.after === undefined ? {} : { "retry-after": String(refusal.after) },
  };
}

/** Which operation a path is, and what it answers. */
function router(it: GitHubServer): (asked: Asked) => Answer {
  const make = objects(it.api, it.web);
  const ok = (body: unknown): Answer => ({ status: 200, body });
  const missing: Answer = { status: 404, body: error(404, "Not Found") };

  /** One page of a list, with its Link header. */
  const page = <T>({ path, query }: Asked, items: readonly T[], body: (some: readonly T[]) => unknown): Answer => {
    const size = Math.min(100, Number(query.get("per_page") ?? 30));
    const at = Number(query.get("page") ?? 1);
    const last = Math.max(1, Math.ceil(items.length / size));
    const link = (n: number, rel: string) => {
      const to = new URLSearchParams(query);
      to.set("page", String(n));
      return `<${it.api}${path}?${to}>; rel="${rel}"`;
    };
    const links = [
      ...(at > 1 ? [link(at - 1, "prev")] : []),
      ...(at < last ? [link(at + 1, "next"), link(last, "last")] : []),
      ...(at > 1 ? [link(1, "first")] : []),
    ];
    const answer = ok(body(items.slice((at - 1) * size, at * size)));
    return links.length > 0 ? { ...answer, headers: { link: links.join(", ") } } : answer;
  };
  const artifactsPage = (asked: Asked, artifacts: State["artifacts"]): Answer => {
    const name = asked.query.get("name");
    const named = name === null ? artifacts : artifacts.filter((a) => a.name === name);
    const newest = [...named].sort((a, b) => b.id - a.id);
    return page(asked, newest, (some) => ({ total_count: newest.length, artifacts: some.map(make.artifact) }));
  };
  const zipOf = (repo: string, id: number, { token }: Asked): Answer => {
    const artifact = it.artifacts.find((a) => a.repo === repo && a.id === id);
    if (!artifact) return missing;
    if (!token) return { status: 401, body: error(401, "Requires authentication") };
    if (token.kind === "classic" && !token.may.includes("repo"))
      return {
        status: 403,
        body: error(403, "You must have the actions scope to download artifacts."),
        headers: { "x-accepted-oauth-scopes": "repo" },
      };
    if (token.kind === "fine-grained" && !token.may.includes("actions=read"))
      return {
        status: 403,
        body: error(403, "Resource not accessible by personal access token"),
        headers: { "x-accepted-github-permissions": "actions=read" },
      };
    if (artifact.expired) return { status: 410, body: error(410, "Artifact has expired") };
    return { status: 302, headers: { location: it.blobs.sign(artifact.zip) } };
  };

  const inRepo = (repo: string) => {
    return <T extends { readonly repo: string }>(all: readonly T[]) => all.filter((x) => x.repo === repo);
  };
  const object = <T>(found: T | undefined, body: (one: T) => unknown): Answer => (found ? ok(body(found)) : missing);
  const issues = (asked: Asked, repo: string): Answer => {
    const [creator, label, wanted] = ["creator", "labels", "state"].map((k) => asked.query.get(k));
    const of = inRepo(repo);
    const all = [
      ...of(it.pulls).map((p) => ({ ...p, isPull: true })),
      ...of(it.issues).map((p) => ({ ...p, isPull: false })),
    ];
    const chosen = all
      .filter((p) => creator === null || p.author === creator)
      .filter((p) => label === null || p.labels?.includes(label as string))
      .filter((p) => wanted === "all" || (p.state ?? "open") === (wanted ?? "open"))
      .sort((a, b) => b.number - a.number);
    return page(asked, chosen, (some) => some.map((p) => make.issue(p, p.isPull)));
  };
  const assetOf = (asked: Asked, repo: string, id: number): Answer => {
    for (const release of inRepo(repo)(it.releases)) {
      const asset = release.assets.find((a) => a.id === id);
      if (!asset) continue;
      if (asked.accept !== "application/octet-stream") return ok(make.asset(release, asset));
      return { status: 302, headers: { location: it.blobs.sign(asset.bytes) } };
    }
    return missing;
  };

  /** Operations by what follows /repos/OWNER/REPO/; `x` is the variable part. */
  const routes: [RegExp, (asked: Asked, repo: string, x: string) => Answer][] = [
    [/^actions\/artifacts$/, (asked, repo) => artifactsPage(asked, inRepo(repo)(it.artifacts))],
    [/^actions\/artifacts\/(\d+)\/zip$/, (asked, repo, x) => zipOf(repo, Number(x), asked)],
    [
      /^actions\/artifacts\/(\d+)$/,
      (_, repo, x) =>
        object(
          inRepo(repo)(it.artifacts).find((a) => a.id === Number(x)),
          make.artifact,
        ),
    ],
    [
      /^actions\/runs\/(\d+)\/artifacts$/,
      (asked, repo, x) => {
        if (!inRepo(repo)(it.runs).some((r) => r.id === Number(x))) return missing;
        const artifacts = inRepo(repo)(it.artifacts).filter((a) => a.run === Number(x));
        return artifactsPage(asked, artifacts);
      },
    ],
    [
      /^actions\/runs$/,
      (asked, repo) => {
        const sha = asked.query.get("head_sha");
        const runs = inRepo(repo)(it.runs).filter((r) => sha === null || r.sha === sha);
        return page(asked, runs, (some) => ({ total_count: runs.length, workflow_runs: some.map(make.run) }));
      },
    ],
    [
      /^pulls\/(\d+)$/,
      (_, repo, x) =>
        object(
          inRepo(repo)(it.pulls).find((p) => p.number === Number(x)),
          make.pull,
        ),
    ],
    [/^issues$/, issues],
    [
      /^commits\/([0-9a-f]+)\/check-runs$/,
      (asked, repo, sha) => {
        const checks = inRepo(repo)(it.checks).filter((c) => c.sha === sha);
        return page(asked, checks, (some) => ({ total_count: checks.length, check_runs: some.map(make.check) }));
      },
    ],
    [
      /^commits\/([0-9a-f]+)\/status$/,
      (asked, repo, sha) => {
        const statuses = inRepo(repo)(it.statuses).filter((s) => s.sha === sha);
        return page(asked, statuses, (some) => make.combined(repo, sha, some));
      },
    ],
    [
      /^commits\/([0-9a-f]+)$/,
      (_, repo, x) => {
        const known = [...inRepo(repo)(it.pulls), ...inRepo(repo)(it.runs)].map((one) => one.sha);
        return object(
          known.find((sha) => sha.startsWith(x)),
          (sha) => make.commit(repo, sha),
        );
      },
    ],
    [/^releases\/latest$/, (_, repo) => object(inRepo(repo)(it.releases).at(-1), make.release)],
    [
      /^releases\/tags\/(.+)$/,
      (_, repo, x) =>
        object(
          inRepo(repo)(it.releases).find((r) => r.tag === decodeURIComponent(x)),
          make.release,
        ),
    ],
    [
      /^releases\/(\d+)\/assets$/,
      (asked, repo, x) => {
        const release = inRepo(repo)(it.releases).find((r) => r.id === Number(x));
        if (!release) return missing;
        return page(asked, release.assets, (some) => some.map((a) => make.asset(release, a)));
      },
    ],
    [/^releases\/assets\/(\d+)$/, (asked, repo, x) => assetOf(asked, repo, Number(x))],
  ];

  return (asked) => {
    if (asked.path === "/user" && asked.token) return ok(make.me(asked.token.of ?? "ada"));
    if (asked.path === "/user") return { status: 401, body: error(401, "Requires authentication") };
    const [, repo = "", rest = ""] = /^\/repos\/([^/]+\/[^/]+)\/(.*)$/.exec(asked.path) ?? [];
    const name = it.renamed.get(repo);
    if (name !== undefined) {
      const url = `${it.api}/repos/${name}/${rest}${asked.query.size > 0 ? `?${asked.query}` : ""}`;
      return {
        status: 301,
        body: { message: "Moved Permanently", url, documentation_url: DOCS },
        headers: { location: url },
      };
    }
    const sees = asked.token?.kind === "fine-grained" || asked.token?.may.includes("repo");
    if (!it.repos.has(repo) || (it.hidden.has(repo) && !sees)) return missing;
    for (const [pattern, answer] of routes) {
      const found = pattern.exec(rest);
      if (found) return answer(asked, repo, found[1] ?? "");
    }
    return missing;
  };
}
