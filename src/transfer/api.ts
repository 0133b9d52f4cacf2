import { Readable } from "node:stream";
import type { Agent, Dispatcher } from "undici";
import { credentialsOf } from "../auth/credentials.ts";
import type { Prove, Proven } from "../auth/prove.ts";
import { InterruptedError, TransferError } from "../errors.ts";
import { authorizationIn, type HttpSettings, redirected, translate, USER_AGENT } from "./http.ts";
import { hideAuthorization, hideSecret, hideToken, redactUrl } from "./redact.ts";
import type { Body } from "./response.ts";

export type { Body } from "./response.ts";

export interface ApiRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** May carry user and password: they are sent to that URL's own origin and nowhere else. */
  readonly url: string;
  /** By lower-case name. Credentials among them stay with the URL's own origin. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | Body;
  /** No credentials of the settings and the store are added. Default: those that are bound to the host. */
  readonly anonymous?: boolean;
  /** False gives a redirect as the answer. Default: GET and HEAD follow. */
  readonly follow?: boolean;
  /** An answer that is larger is refused. Default: 64 MiB. */
  readonly maxAnswerBytes?: number;
}

export interface ApiAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
  /** Where the answer came from, after redirects. */
  readonly url: string;
}

/** Requests to services: any method, answers that fit into memory. Packages are fetched by `HttpClient` instead. */
export interface ApiClient {
  /**
   * One request, every status an answer. GET and HEAD follow redirects; credentials don't follow to another origin.
   * Retries are the caller's (`withRetries`, `refusedBy`).
   * @throws TransferError when no answer came; InterruptedError on abort.
   */
  send(request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 15_000;
const IDLE_TIMEOUT_MS = 60_000;
/** A large body has more time than an answer: as much more as a line takes that just carries it (64 KiB a second). */
const SLOWEST_BYTES_PER_MS = 64;
const MAX_ANSWER = 64 * 1024 * 1024;
/** What proves who we are, in any service's words: these stay with the origin they were given for. */
const SECRET_HEADERS = ["authorization", "cookie", "x-api-key", "private-token", "proxy-authorization"];

/**
 * Opens connections when they are first needed: undici takes 90 ms to load.
 * @param prove adds what the store has for a URL.
 */
export function openApi(settings: HttpSettings, prove: Prove): ApiClient {
  const credentials = credentialsOf(settings.tokens);
  const total = settings.totalTimeoutMs;
  let opened: Promise<Dispatcher> | undefined;
  const open = async (): Promise<Dispatcher> => {
    const { Agent } = await import("undici");
    const options: Agent.Options = {
      connections: settings.connections,
      connect: { timeout: Math.min(CONNECT_TIMEOUT_MS, total) },
      headersTimeout: Math.min(IDLE_TIMEOUT_MS, total),
      bodyTimeout: Math.min(IDLE_TIMEOUT_MS, total),
    };
    if (!settings.proxies) return new Agent(options);
    const { openProxies } = await import("./proxies.ts");
    return openProxies(options, settings.proxies, Math.min(CONNECT_TIMEOUT_MS, total));
  };

  const send: ApiClient["send"] = async (request, signal) => {
    const own: Record<string, string> = { ...request.headers };
    const bare = request.anonymous || own["authorization"] !== undefined;
    const proven: Proven = bare ? { url: request.url } : await prove(request.url);
    let url = new URL(proven.url);
    hideToken(url);
    const first = url.origin;
    const authorization = authorizationIn(url) ?? proven.authorization;
    if (authorization !== undefined) own["authorization"] ??= authorization;
    const follows = request.follow !== false && (request.method === "GET" || request.method === "HEAD");
    if (signal.aborted) throw new InterruptedError();
    opened ??= open();
    const dispatcher = await opened;
    const limitMs = Math.ceil(total + sizeOf(request) / SLOWEST_BYTES_PER_MS);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(limitMs)]);
    try {
      for (let hops = 0; ; hops++) {
        url.username = "";
        url.password = "";
        url.hash = "";
        const headers = { ...(request.anonymous ? {} : credentials.headersFor(url)), ...own };
        for (const name of SECRET_HEADERS) {
          const value = headers[name];
          if (value !== undefined) name.endsWith("authorization") ? hideAuthorization(value) : hideSecret(value);
        }
        if (url.origin !== first) for (const name of SECRET_HEADERS) if (own[name] !== undefined) delete headers[name];
        const answer = await dispatcher.request({
          origin: url.origin,
          path: url.pathname + url.search,
          method: request.method,
          headers: {
            "user-agent": USER_AGENT,
            accept: "*/*",
            "accept-encoding": "identity",
            ...headers,
            ...lengthOf(request),
          },
          body: bodyOf(request),
          signal: limit,
        });
        const said = headersOf(answer.headers);
        if (follows && [301, 302, 303, 307, 308].includes(answer.statusCode)) {
          await answer.body.dump();
          url = redirected(url, said.get("location"), hops);
          continue;
        }
        const body = await whole(answer.body, url, request.maxAnswerBytes ?? MAX_ANSWER);
        return { status: answer.statusCode, headers: said, body, url: url.toString() };
      }
    } catch (e) {
      throw translate(limit.aborted && !signal.aborted ? totalTimeout() : e, url, limitMs, signal);
    }
  };

  return {
    send,
    async close() {
      await (await opened?.catch(() => undefined))?.destroy();
    },
  };
}

function totalTimeout(): Error {
  return Object.assign(new Error("the time was up"), { code: "TOTAL_TIMEOUT" });
}

function lengthOf(request: ApiRequest): Record<string, string> {
  const size = sizeOf(request);
  return size > 0 ? { "content-length": String(size) } : {};
}

/** Bytes of a body that is streamed. */
function sizeOf({ body }: ApiRequest): number {
  return typeof body === "object" && "open" in body ? body.size : 0;
}

function bodyOf({ body }: ApiRequest): Readable | Uint8Array | string | null {
  if (body === undefined) return null;
  return typeof body === "object" && "open" in body ? Readable.from(body.open(), { objectMode: false }) : body;
}

function headersOf(raw: Readonly<Record<string, string | string[] | undefined>>): ReadonlyMap<string, string> {
  const said = new Map<string, string>();
  for (const [name, value] of Object.entries(raw))
    if (value !== undefined) said.set(name.toLowerCase(), Array.isArray(value) ? value.join(", ") : value);
  return said;
}

async function whole(chunks: AsyncIterable<Uint8Array>, url: URL, limit: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > limit) {
      throw new TransferError(
        "SERVER_ERROR",
        {
          what: redactUrl(url),
          why: `the answer is longer than ${limit} bytes`,
          next: "check the URL and whoever runs the server",
        },
        { mayPass: false },
      );
    }
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}
