import { createHash } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import { readPackage } from "../../src/package/read.ts";
import { readAtBuffer } from "../../src/package/read-at.ts";
import { listening } from "./listening.ts";

/** What a service does to one request that brings a package. */
export interface Fault {
  /** 0: the connection breaks instead of an answer. */
  readonly status: number;
  /** The request is carried out first: its answer is lost. */
  readonly after?: true;
  readonly headers?: Record<string, string>;
}

export interface Asked {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Answer {
  readonly status: number;
  /** Sent as JSON, bytes as they are. */
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

/** A package that a service has. */
export interface Stored {
  readonly bytes: Buffer;
  readonly sha256: string;
  readonly md5: string;
  readonly subdir: string;
  readonly fileName: string;
  readonly name: string;
  readonly version: string;
}

/** An upload service on 127.0.0.1. */
export interface ServiceServer {
  readonly url: string;
  /** What `--target-type` and `--target-path` are. */
  readonly type: string;
  readonly target: string;
  /** The same, of a channel that is not there. */
  readonly unknownTarget: string;
  readonly env: Record<string, string>;
  /** The same with a key that has ended. */
  readonly expiredEnv: Record<string, string>;
  /** Everything that nobody must see. */
  readonly secrets: readonly string[];
  readonly stored: Map<string, Stored>;
  readonly requests: Asked[];
  /** The requests that brought packages. */
  readonly uploads: Asked[];
  /** For the next requests that bring packages. */
  readonly faults: Fault[];
  /** The next packages are damaged on their way in. */
  damage: number;
  /** The index and the files do not show yet what was stored. */
  late: boolean;
  /** Bytes of a package. */
  maxBytes: number;
}

/** What a service is made of. `carry` answers one request; it refuses what the real one refuses. */
export interface Protocol {
  readonly type: string;
  readonly key: string;
  readonly expiredKey: string;
  channel(url: string): { target: string; unknownTarget: string };
  env(url: string, key: string): Record<string, string>;
  /** Whether a request brings a package's bytes. */
  brings(asked: Asked): boolean;
  carry(asked: Asked, state: ServiceServer): Promise<Answer | undefined> | Answer | undefined;
}

/** Starts a service. Every answer with an error repeats the secrets that came: nobody must show them. */
export async function serviceServer(protocol: Protocol): Promise<ServiceServer> {
  const requests: Asked[] = [];
  const uploads: Asked[] = [];
  const stored = new Map<string, Stored>();
  const server = createServer((request, response) => {
    respond(request, response).catch((e: Error) => {
      response.writeHead(500).end(`the test's server failed: ${e.stack}`);
    });
  });
  const url = await listening(server);
  const { key, expiredKey } = protocol;
  const state: ServiceServer = {
    url,
    type: protocol.type,
    ...protocol.channel(url),
    env: protocol.env(url, key),
    expiredEnv: protocol.env(url, expiredKey),
    secrets: [key, expiredKey],
    stored,
    requests,
    uploads,
    faults: [],
    damage: 0,
    late: false,
    maxBytes: Number.POSITIVE_INFINITY,
  };

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const { pathname, searchParams } = new URL(request.url ?? "/", url);
    const { method = "GET", headers } = request;
    const asked: Asked = { method, path: decodeURIComponent(pathname), query: searchParams, headers, body };
    requests.push(asked);
    const answer = await answerTo(asked);
    if (answer.status === 0) {
      request.socket.destroy();
      return;
    }
    const bytes = Buffer.isBuffer(answer.body) ? answer.body : undefined;
    const echo = answer.status >= 400 ? { you_sent: [headers.authorization, headers["x-api-key"], pathname] } : {};
    const json = Array.isArray(answer.body) ? answer.body : { ...(answer.body as object | undefined), ...echo };
    response.writeHead(answer.status, bytes ? {} : { "content-type": "application/json", ...answer.headers });
    response.end(method === "HEAD" || answer.status === 204 ? undefined : (bytes ?? JSON.stringify(json)));
  }

  async function answerTo(asked: Asked): Promise<Answer> {
    const brings = protocol.brings(asked);
    if (brings) uploads.push(asked);
    const fault = brings ? state.faults.shift() : undefined;
    const told = fault && { status: fault.status, body: { detail: "a fault" }, headers: fault.headers ?? {} };
    if (told && !fault.after) return told;
    let carried = asked;
    if (brings && state.damage > 0) {
      state.damage--;
      // In the middle of the package, whatever is around it.
      const bytes = Buffer.from(asked.body);
      const at = bytes.length >> 1;
      bytes[at] = (bytes[at] as number) ^ 1;
      carried = { ...asked, body: bytes };
    }
    const answer = (await protocol.carry(carried, state)) ?? { status: 404, body: { detail: "not found" } };
    return told ?? answer;
  }
  return state;
}

export const hashOf = (algorithm: string, bytes: Buffer): string => createHash(algorithm).update(bytes).digest("hex");

/** A package as a service understands it; undefined for bytes that are none. */
export async function inspect(fileName: string, bytes: Buffer): Promise<Stored | undefined> {
  try {
    const info = await readPackage(fileName, readAtBuffer(bytes), ["info/index.json"]);
    const index = JSON.parse(Buffer.from(info.members.get("info/index.json") ?? []).toString("utf8")) as Record<
      string,
      string
    >;
    const { name = "", version = "", subdir = "" } = index;
    return { bytes, sha256: hashOf("sha256", bytes), md5: hashOf("md5", bytes), subdir, fileName, name, version };
  } catch {
    return undefined;
  }
}

/** What clients of a channel ask for: its index and its packages. */
export function serve(path: string, { stored, late }: ServiceServer): Answer | undefined {
  const [, subdir, fileName] = /^([a-z0-9-]+)\/([^/]+)$/.exec(path) ?? [];
  if (subdir === undefined || fileName === undefined || late) return undefined;
  const one = stored.get(path);
  if (one) return { status: 200, body: one.bytes };
  const all = [...stored.values()].filter((s) => s.subdir === subdir);
  if (fileName !== "repodata.json" || all.length === 0) return undefined;
  const index: Record<string, Record<string, unknown>> = { packages: {}, "packages.conda": {} };
  for (const { bytes, ...record } of all) {
    const map = record.fileName.endsWith(".conda") ? "packages.conda" : "packages";
    (index[map] as Record<string, unknown>)[record.fileName] = { ...record, size: bytes.length };
  }
  return { status: 200, body: { info: { subdir }, ...index } };
}

/** One part of a form. */
export interface Part {
  readonly headers: Record<string, string>;
  readonly name: string;
  readonly fileName: string | undefined;
  readonly body: Buffer;
}

/** The parts of a form (RFC 7578), or undefined where it is not well made. */
export function partsOf({ headers, body }: Asked): Part[] | undefined {
  const boundary = /^multipart\/form-data; boundary=([\w-]+)$/.exec(headers["content-type"] ?? "")?.[1];
  if (boundary === undefined || Number(headers["content-length"]) !== body.length) return undefined;
  const parts: Part[] = [];
  const mark = `--${boundary}`;
  let at = 0;
  for (;;) {
    if (body.toString("latin1", at, at + mark.length) !== mark) return undefined;
    at += mark.length;
    if (body.toString("latin1", at) === "--\r\n") return parts;
    const end = body.indexOf("\r\n\r\n", at);
    const next = body.indexOf(`\r\n${mark}`, end);
    if (body.toString("latin1", at, at + 2) !== "\r\n" || end < 0 || next < 0) return undefined;
    const lines = body.toString("utf8", at + 2, end).split("\r\n");
    const named = lines.map((l) => /^([^:]+): (.*)$/.exec(l)?.slice(1) as [string, string]);
    const partHeaders = Object.fromEntries(named.map(([k, v]) => [k.toLowerCase(), v]));
    const disposition = partHeaders["content-disposition"] ?? "";
    const [, name, , fileName] = /^form-data; name="([^"]+)"(; filename="([^"]+)")?$/.exec(disposition) ?? [];
    if (name === undefined) return undefined;
    parts.push({ headers: partHeaders, name, fileName, body: body.subarray(end + 4, next) });
    at = next + 2;
  }
}
