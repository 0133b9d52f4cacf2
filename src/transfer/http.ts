import { Agent, type Dispatcher, EnvHttpProxyAgent } from "undici";
import type { Credentials } from "../auth/credentials.ts";
import { InterruptedError, TransferError } from "../errors.ts";
import { VERSION } from "../version.ts";
import { exchange, type Response } from "./exchange.ts";
import type { ByteStream, OpenRequest } from "./place.ts";
import { redactText, redactUrl } from "./redact.ts";
import { parseRetryAfter } from "./retry.ts";

export interface HttpOptions {
  /** Sockets per host; as many transfers as may run at once. */
  readonly connections: number;
  /** Milliseconds that one request may take in all, body included. */
  readonly totalTimeoutMs: number;
  readonly credentials: Credentials;
  /** Where HTTP_PROXY, HTTPS_PROXY and NO_PROXY are read from. */
  readonly env?: NodeJS.ProcessEnv;
}

/** GET over pooled connections: redirects by hand, credentials by host, three timeouts. Retries are the caller's. */
export interface HttpClient {
  /**
   * @param url may carry user and password: they are sent to that URL's own origin and nowhere else.
   * @throws TransferError for every status but 200, 206 and (with `unlessVersion`) 304; InterruptedError on abort.
   */
  get(url: string, request: OpenRequest, signal: AbortSignal): Promise<ByteStream | "unchanged">;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 15_000;
const IDLE_TIMEOUT_MS = 60_000;
const MAX_REDIRECTS = 10;
const USER_AGENT = `meso-forge-mirror/${VERSION}`;

export function openHttp(options: HttpOptions): HttpClient {
  const env = options.env ?? process.env;
  const total = options.totalTimeoutMs;
  const agentOptions: Agent.Options = {
    connections: options.connections,
    connect: { timeout: Math.min(CONNECT_TIMEOUT_MS, total) },
    headersTimeout: Math.min(IDLE_TIMEOUT_MS, total),
    bodyTimeout: Math.min(IDLE_TIMEOUT_MS, total),
    pipelining: 1,
    maxRedirections: 0,
  } as Agent.Options;
  const proxied = env["http_proxy"] || env["HTTP_PROXY"] || env["https_proxy"] || env["HTTPS_PROXY"];
  const dispatcher: Dispatcher = proxied
    ? new EnvHttpProxyAgent({
        ...agentOptions,
        httpProxy: env["http_proxy"] ?? env["HTTP_PROXY"],
        httpsProxy: env["https_proxy"] ?? env["HTTPS_PROXY"],
        noProxy: env["no_proxy"] ?? env["NO_PROXY"] ?? "",
      } as EnvHttpProxyAgent.Options)
    : new Agent(agentOptions);

  const get: HttpClient["get"] = async (address, request, signal) => {
    let url = new URL(address);
    const own = userinfoOf(url);
    const first = url.origin;
    url.username = "";
    url.password = "";
    url.hash = "";
    const timer = new AbortController();
    const onAbort = () => timer.abort(new InterruptedError());
    if (signal.aborted) throw new InterruptedError();
    signal.addEventListener("abort", onAbort, { once: true });
    const clock = setTimeout(() => {
      timer.abort(timedOut(url, `nothing more was waited for after ${total / 1000} s`));
    }, total);
    const finish = () => {
      clearTimeout(clock);
      signal.removeEventListener("abort", onAbort);
    };
    try {
      for (let hops = 0; ; hops++) {
        const headers: Record<string, string> = {
          "user-agent": USER_AGENT,
          accept: "*/*",
          "accept-encoding": "identity",
          ...options.credentials.headersFor(url),
        };
        if (own && url.origin === first) headers["authorization"] = own;
        conditions(headers, request);
        const response = await exchange(dispatcher, url, headers, timer.signal, {
          translate: (e) => translate(e, url, timer.signal),
          finish,
        });
        const { status } = response;
        if (status === 301 || status === 302 || status === 303 || status === 307 || status === 308) {
          response.discard();
          url = redirected(url, headerOf(response, "location"), hops);
          continue;
        }
        return await answer(url, status, response, request, finish);
      }
    } catch (e) {
      finish();
      throw translate(e, url, timer.signal);
    }
  };

  return {
    get,
    close: async () => {
      await dispatcher.destroy();
    },
  };
}

async function answer(
  url: URL,
  status: number,
  response: Response,
  request: OpenRequest,
  finish: () => void,
): Promise<ByteStream | "unchanged"> {
  if (status === 304 && request.unlessVersion !== undefined) {
    response.discard();
    finish();
    return "unchanged";
  }
  if (status !== 200 && status !== 206) throw await refusal(url, status, response);
  const length = numberOf(headerOf(response, "content-length"));
  let start = 0;
  let size = length;
  if (status === 206) {
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headerOf(response, "content-range") ?? "");
    start = Number(range?.[1]);
    size = range?.[3] === "*" ? undefined : Number(range?.[3]);
    if (!range || start !== (request.start ?? 0)) {
      response.discard();
      throw new TransferError(
        "SERVER_ERROR",
        {
          what: redactUrl(url),
          why: `the server answered with another part of the file than was asked for (${headerOf(response, "content-range") ?? "no Content-Range"})`,
          next: "run again, or use another mirror",
        },
        { mayPass: true },
      );
    }
  }
  const version = versionOf(response, size);
  const cancel = () => {
    response.discard();
    finish();
  };
  if (request.unlessVersion !== undefined && status === 200 && version === request.unlessVersion) {
    // A server that knows no conditional requests, but tells by its headers that nothing changed.
    cancel();
    return "unchanged";
  }
  return { start, size, version, chunks: response.chunks, cancel };
}

function conditions(headers: Record<string, string>, request: OpenRequest): void {
  if (request.start || request.end !== undefined) {
    headers["range"] = `bytes=${request.start ?? 0}-${request.end === undefined ? "" : request.end - 1}`;
    // If-Range takes a strong ETag or a date (RFC 9110 §13.1.5).
    if (request.ifVersion && !request.ifVersion.startsWith("W/") && !request.ifVersion.startsWith("size:"))
      headers["if-range"] = request.ifVersion;
  }
  const known = request.unlessVersion;
  if (known !== undefined && !known.startsWith("size:"))
    headers[known.startsWith('"') || known.startsWith("W/") ? "if-none-match" : "if-modified-since"] = known;
}

function versionOf(response: Response, size: number | undefined): string | undefined {
  return (
    headerOf(response, "etag") ??
    headerOf(response, "last-modified") ??
    (size === undefined ? undefined : `size:${size}`)
  );
}

function redirected(from: URL, location: string | undefined, hops: number): URL {
  const refuse = (why: string) =>
    new TransferError(
      "BAD_REDIRECT",
      { what: redactUrl(from), why, next: "check the URL; if it is right, tell whoever runs the server" },
      { mayPass: false },
    );
  if (hops === MAX_REDIRECTS) throw refuse(`it was redirected more than ${MAX_REDIRECTS} times`);
  if (!location) throw refuse("it redirects, but does not say where to");
  let to: URL;
  try {
    to = new URL(location, from);
  } catch {
    throw refuse("it redirects to something that is no URL");
  }
  if (to.protocol !== "https:" && to.protocol !== "http:")
    throw refuse(`it redirects to a ${to.protocol} address, which is not followed`);
  if (from.protocol === "https:" && to.protocol === "http:")
    throw refuse(
      `it redirects from https to plain http (${redactUrl(to)}), where anybody on the way could change the bytes`,
    );
  to.username = "";
  to.password = "";
  to.hash = "";
  return to;
}

async function refusal(url: URL, status: number, response: Response): Promise<TransferError> {
  let words = "";
  try {
    for await (const chunk of response.chunks) {
      words += Buffer.from(chunk).toString("utf8");
      if (words.length > 2000) break;
    }
  } catch {
    // The status says enough.
  }
  const text = /html/i.test(headerOf(response, "content-type") ?? "") ? "" : redactText(words);
  const why = `the server answered ${status}${text ? `: ${text}` : ""}`;
  const what = redactUrl(url);
  if (status === 401 || status === 403 || status === 407) {
    return new TransferError(
      "REFUSED",
      {
        what,
        why,
        next: `give credentials for ${url.host} (https://user:password@… or a token in the configuration), or check that they may read this`,
      },
      { mayPass: false },
    );
  }
  if (status === 404 || status === 410)
    return new TransferError(
      "NOT_FOUND",
      { what, why, next: "check the URL; the package may have been moved or removed" },
      { mayPass: false },
    );
  const mayPass =
    status === 408 || status === 425 || status === 429 || (status >= 500 && status !== 501 && status !== 505);
  const next = mayPass ? "run again later, or raise --retry-attempts" : "check the URL and whoever runs the server";
  return new TransferError(
    "SERVER_ERROR",
    { what, why, next },
    { mayPass, retryAfterMs: parseRetryAfter(headerOf(response, "retry-after"), Date.now()) },
  );
}

function translate(e: unknown, url: URL, signal: AbortSignal): unknown {
  if (e instanceof TransferError || e instanceof InterruptedError) return e;
  if (signal.aborted && (signal.reason instanceof TransferError || signal.reason instanceof InterruptedError))
    return signal.reason;
  const error = e as NodeJS.ErrnoException;
  const code = error.code ?? (error.cause as NodeJS.ErrnoException | undefined)?.code ?? "";
  const what = redactUrl(url);
  if (code === "UND_ERR_CONNECT_TIMEOUT") return timedOut(url, "no connection was made in time");
  if (code === "UND_ERR_HEADERS_TIMEOUT") return timedOut(url, "no answer came in time");
  if (code === "UND_ERR_BODY_TIMEOUT") return timedOut(url, "the server stopped sending");
  const why = redactText(error.message || code || String(e));
  if (code === "ENOTFOUND")
    return new TransferError(
      "UNREACHABLE",
      { what, why: `no address is known for ${url.host} (${why})`, next: "check the URL and the network", cause: e },
      { mayPass: false },
    );
  if (/^(?:ERR_TLS|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO)/.test(code)) {
    return new TransferError(
      "UNREACHABLE",
      {
        what,
        why: `its certificate is not trusted (${why})`,
        next: "point NODE_EXTRA_CA_CERTS at your organisation's certificate file",
        cause: e,
      },
      { mayPass: false },
    );
  }
  if (code === "ECONNREFUSED" || code === "EHOSTUNREACH" || code === "ENETUNREACH" || code === "EAI_AGAIN") {
    return new TransferError(
      "UNREACHABLE",
      {
        what,
        why: `${url.host} can't be reached (${why})`,
        next: "check the URL, the network and the proxy settings",
        cause: e,
      },
      { mayPass: true },
    );
  }
  return new TransferError(
    "CUT",
    { what, why: `the connection broke (${why})`, next: "run again; what arrived whole is kept", cause: e },
    { mayPass: true },
  );
}

function timedOut(url: URL, why: string): TransferError {
  return new TransferError(
    "TIMEOUT",
    { what: redactUrl(url), why, next: "run again, or raise --timeout-seconds" },
    { mayPass: true },
  );
}

function userinfoOf(url: URL): string | undefined {
  if (!url.username && !url.password) return undefined;
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return `Basic ${Buffer.from(pair).toString("base64")}`;
}

function headerOf(response: Response, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}
