import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { listening } from "../listening.ts";

/** A build of the tests. Dates and the rest are filled in. */
export interface Build {
  readonly id: number;
  readonly buildNumber: string;
  readonly definition: { readonly id: number; readonly name: string };
  readonly branch: string;
  readonly commit: string;
  /** Of a pull request: its head, `commit` being that of the merge. */
  readonly headCommit?: string;
  /** null while it runs. */
  readonly result: "succeeded" | "partiallySucceeded" | "failed" | "canceled" | null;
  readonly jobs: readonly { readonly id: string; readonly name: string; readonly result: string | null }[];
  readonly artifacts: readonly Artifact[];
}

export interface Artifact {
  readonly name: string;
  readonly type: "PipelineArtifact" | "Container" | "FilePath";
  readonly zip: Uint8Array;
  /** Id of the job that made it. */
  readonly source?: string;
}

export interface AzureServer {
  readonly url: string;
  /** Where files of type PipelineArtifact are: another host. */
  readonly files: string;
  /** "organisation/project" to its builds. */
  readonly projects: Map<string, Build[]>;
  /** Projects that are shown to tokens alone. */
  readonly hidden: Set<string>;
  /** Tokens, and whether they may read builds. */
  readonly tokens: Map<string, boolean>;
  /** How those who may not are turned away. */
  turnAway: "page" | "page-203" | "redirect" | "status";
  /** Items on a page at most. */
  pageSize: number;
  /** Requests to come are answered so: 429 with seconds to wait. */
  readonly throttle: number[];
  readonly requests: { host: "api" | "files"; path: string; status: number; headers: IncomingMessage["headers"] }[];
  most: number;
  delay: number;
}

const PAGE = '\r\n<!DOCTYPE html><html lang="en-US"><head><title>Azure DevOps Services | Sign In</title></head></html>';
const GUID = "84710dde-1620-425b-80d0-4cf5baca359d";

/**
 * The REST API of Azure DevOps Services on 127.0.0.1, as far as we use it, from its documentation (Build: builds, artifacts,
 * timeline, definitions; api-version 6.0). Ends with the test file.
 */
export async function azureServer(): Promise<AzureServer> {
  const it: AzureServer = {
    url: "",
    files: "",
    projects: new Map(),
    hidden: new Set(),
    tokens: new Map(),
    turnAway: "page",
    pageSize: 100,
    throttle: [],
    requests: [],
    most: 0,
    delay: 0,
  };
  let active = 0;
  const listen = async (host: "api" | "files", answer: (request: IncomingMessage, url: URL) => Answer) => {
    const server = createServer((request: IncomingMessage, response: ServerResponse) => {
      if (host === "files") {
        active++;
        it.most = Math.max(it.most, active);
        response.on("close", () => active--);
      }
      setTimeout(
        () => {
          const url = new URL(request.url ?? "/", "http://azure");
          const { status, headers, body } = answer(request, url);
          it.requests.push({
            host,
            path: decodeURIComponent(url.pathname) + url.search,
            status,
            headers: request.headers,
          });
          response.writeHead(status, headers).end(body);
        },
        host === "files" ? it.delay : 0,
      );
    });
    return listening(server);
  };
  const urls = { url: await listen("api", api(it)), files: await listen("files", files(it)) };
  return Object.assign(it, urls);
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string | Uint8Array;
}

function json(body: unknown, headers: Record<string, string> = {}, status = 200): Answer {
  return {
    status,
    headers: { "content-type": "application/json; charset=utf-8; api-version=6.0", ...headers },
    body: JSON.stringify(body),
  };
}

function turnedAway(it: AzureServer): Answer {
  const html = { "content-type": "text/html; charset=utf-8" };
  switch (it.turnAway) {
    case "page":
      return { status: 200, headers: html, body: PAGE };
    case "page-203":
      return { status: 203, headers: html, body: PAGE };
    case "redirect":
      return { status: 302, headers: { ...html, location: `${it.url}/_signin?realm=dev.azure.com` }, body: "" };
    case "status":
      return { status: 401, headers: html, body: "" };
  }
}

/** Files of pipeline artifacts: packed as they are sent, so that there is neither a length nor a range. */
function files(it: AzureServer): (request: IncomingMessage, url: URL) => Answer {
  return (request, url) => {
    const [, organisation, , project, , id, , name] = url.pathname.split("/").map(decodeURIComponent);
    const key = `${organisation}/${project}`;
    if (request.headers.authorization !== undefined || it.hidden.has(key)) return turnedAway(it);
    const build = it.projects.get(key)?.find((b) => b.id === Number(id));
    const artifact = build?.artifacts.find((a) => a.name === name);
    if (!artifact || url.searchParams.get("format") !== "zip") return json({ message: "not found" }, {}, 404);
    return {
      status: 200,
      headers: { "content-type": "application/zip", "transfer-encoding": "chunked" },
      body: artifact.zip,
    };
  };
}

function api(it: AzureServer): (request: IncomingMessage, url: URL) => Answer {
  return (request, url) => {
    if (url.pathname === "/_signin") return { status: 200, headers: { "content-type": "text/html" }, body: PAGE };
    const wait = it.throttle.shift();
    if (wait !== undefined)
      return json({ message: "TF400733: The request has been canceled" }, { "retry-after": String(wait) }, 429);
    const [, organisation, project, area, ...rest] = url.pathname.split("/").map(decodeURIComponent);
    const key = [...it.projects.keys()].find(
      (k) => k === `${organisation}/${project}` || (project === GUID && k.startsWith(`${organisation}/`)),
    );
    const { authorization } = request.headers;
    const token = /^Basic (.+)$/.exec(authorization ?? "")?.[1];
    const pat = token === undefined ? undefined : Buffer.from(token, "base64").toString().replace(/^:/, "");
    if (pat !== undefined && !it.tokens.has(pat)) return turnedAway(it);
    if (pat !== undefined && it.tokens.get(pat) === false)
      return json({ message: "TF400813: The user is not authorized to access this resource." }, {}, 403);
    if (key === undefined)
      return pat === undefined
        ? turnedAway(it)
        : json({ message: `TF200016: The following project does not exist: ${project}.` }, {}, 404);
    if (it.hidden.has(key) && pat === undefined) return turnedAway(it);
    if (area !== "_apis" || rest[0] !== "build") return json({ message: "no such area" }, {}, 404);
    if (!url.searchParams.has("api-version")) return json({ message: "No api-version was supplied" }, {}, 400);
    return operation(it, key, rest.slice(1), url.searchParams);
  };
}

function operation(it: AzureServer, key: string, path: readonly string[], query: URLSearchParams): Answer {
  const builds = it.projects.get(key) ?? [];
  const page = (items: readonly unknown[]): Answer => {
    const size = Math.min(it.pageSize, Number(query.get("$top") ?? 1000));
    const from = Number(query.get("continuationToken") ?? 0);
    const some = items.slice(from, from + size);
    const more = from + size < items.length ? { "x-ms-continuationtoken": String(from + size) } : {};
    return json({ count: some.length, value: some }, more as Record<string, string>);
  };
  const missing = (id: string) => json({ message: `The requested build ${id} could not be found.` }, {}, 404);
  if (path[0] === "definitions") {
    const all = new Map(builds.map((b) => [b.definition.id, b.definition]));
    return page([...all.values()].filter((d) => d.name === (query.get("name") ?? d.name)));
  }
  if (path[0] !== "builds") return json({ message: "no such resource" }, {}, 404);
  if (path.length === 1) {
    const definitions = query.get("definitions")?.split(",").map(Number);
    const [branch, result] = [query.get("branchName"), query.get("resultFilter")];
    const chosen = builds
      .filter((b) => b.result !== null || query.get("statusFilter") !== "completed")
      .filter((b) => definitions === undefined || definitions.includes(b.definition.id))
      .filter((b) => branch === null || b.branch === branch)
      .filter((b) => result === null || result.split(",").includes(b.result ?? ""))
      .sort((a, b) => b.id - a.id);
    return page(chosen.map((b) => buildJson(it, key, b)));
  }
  const build = builds.find((b) => b.id === Number(path[1]));
  if (!build) return missing(path[1] as string);
  if (path.length === 2) return json(buildJson(it, key, build));
  if (path[2] === "timeline") {
    if (build.jobs.length === 0) return { status: 204, headers: {}, body: "" };
    return json({ id: GUID, records: build.jobs.flatMap(jobRecords) });
  }
  if (path[2] !== "artifacts") return json({ message: "no such resource" }, {}, 404);
  const name = query.get("artifactName");
  if (name === null)
    return json({
      count: build.artifacts.length,
      value: build.artifacts.map((a, i) => artifactJson(it, key, build, a, i)),
    });
  const artifact = build.artifacts.find((a) => a.name === name);
  if (!artifact) return json({ message: `Artifact ${name} was not found for build ${build.id}.` }, {}, 404);
  if (query.get("$format") !== "zip") return json(artifactJson(it, key, build, artifact, 0));
  return { status: 200, headers: { "content-type": "application/zip" }, body: artifact.zip };
}

function buildJson(it: AzureServer, key: string, build: Build): object {
  return {
    _links: { web: { href: `${it.url}/${key}/_build/results?buildId=${build.id}` } },
    triggerInfo: build.headCommit === undefined ? {} : { "pr.sourceSha": build.headCommit, "pr.number": "1" },
    id: build.id,
    buildNumber: build.buildNumber,
    status: build.result === null ? "inProgress" : "completed",
    ...(build.result === null ? {} : { result: build.result, finishTime: "2026-11-20T11:00:00.1234567Z" }),
    queueTime: "2026-11-20T10:00:00.1234567Z",
    startTime: "2026-11-20T10:00:10.1234567Z",
    url: `${it.url}/${GUID}/_apis/build/Builds/${build.id}`,
    definition: { ...build.definition, url: "", path: "\\", type: "build" },
    project: { id: GUID, name: key.split("/")[1], state: "wellFormed" },
    sourceBranch: build.branch,
    sourceVersion: build.commit,
    reason: build.headCommit === undefined ? "individualCI" : "pullRequest",
  };
}

function jobRecords({ id, name, result }: Build["jobs"][number]): object[] {
  const state = result === null ? "inProgress" : "completed";
  return [
    { id, parentId: null, type: "Job", name, state, result, attempt: 1 },
    { id: id.replace(/^./, "0"), parentId: id, type: "Task", name: "Run", state, result, attempt: 1 },
  ];
}

function artifactJson(it: AzureServer, key: string, build: Build, artifact: Artifact, i: number): object {
  const [organisation, project] = key.split("/") as [string, string];
  const encoded = encodeURIComponent(artifact.name);
  const at = `${it.url}/${encodeURIComponent(organisation)}/${encodeURIComponent(project)}/_apis/build/builds/${build.id}/artifacts`;
  const downloadUrl =
    artifact.type === "PipelineArtifact"
      ? `${it.files}/${encodeURIComponent(organisation)}/_apis/${encodeURIComponent(project)}/builds/${build.id}/artifact/${encoded}/content?format=zip`
      : `${at}?artifactName=${encoded}&api-version=6.0&$format=zip`;
  return {
    id: build.id * 100 + i,
    name: artifact.name,
    source: artifact.source ?? "00000000-0000-0000-0000-000000000000",
    resource: {
      type: artifact.type,
      data: artifact.type === "FilePath" ? "\\\\share\\drop" : "data",
      properties:
        artifact.type === "FilePath" ? {} : { artifactsize: String(artifact.zip.length), RootId: "R", HashType: "VSO" },
      url: `${at}?artifactName=${encoded}&api-version=6.0`,
      ...(artifact.type === "FilePath" ? {} : { downloadUrl }),
    },
  };
}
