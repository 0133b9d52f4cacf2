import { basicAuthorization } from "../auth/credential.ts";
import { credentialsOf, type TokenSettings } from "../auth/credentials.ts";
import type { Prove, Proven } from "../auth/prove.ts";
import { InterruptedError, TransferError } from "../errors.ts";
import { VERSION } from "../version.ts";
import type { PaceSettings } from "./pace.ts";
import type { ByteStream, OpenRequest } from "./place.ts";
import { makePortions, type Portions } from "./portions.ts";
import type { ProxySettings } from "./proxies.ts";
import { hideAuthorization, hideToken, redactText, redactUrl, withoutSignature } from "./redact.ts";
import type { Requests, Response } from "./response.ts";
import { parseRetryAfter } from "./retry.ts";
import { openWire } from "./wire.ts";

/** What requests are made with. Plain data: worker threads open clients of their own with it. */
export interface HttpSettings {
  /** Sockets per host; as many transfers as may run at once. */
  readonly connections: number;
  /** Milliseconds that one request may take in all, body included. */
  readonly totalTimeoutMs: number;
  readonly tokens: TokenSettings;
  /** Set when the environment names a proxy. */
  readonly proxies: ProxySettings | undefined;
  /** Set where the bytes a second are limited. */
  readonly pace?: PaceSettings | undefined;
}

/** GET over pooled connections: redirects by hand, credentials by host, three timeouts. Retries are the caller's. */
export interface HttpClient {
  /**
   * @param address may carry user and password, as a URL: they are sent to that URL's own origin and nowhere else. A bare
   *   URL gets what the store has for it.
   * @throws TransferError for every status but 200, 206 and (with `unlessVersion`) 304; InterruptedError on abort.
   */
  get(address: string | Proven, request: OpenRequest, signal: AbortSignal): Promise<ByteStream | "unchanged">;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 15_000;
const IDLE_TIMEOUT_MS = 60_000;
const MAX_REDIRECTS = 10;
export const USER_AGENT = `meso-forge-mirror/${VERSION}`;

/** The proxies that an environment names (HTTP_PROXY, HTTPS_PROXY, NO_PROXY), if any. */
export function proxiesOf(env: NodeJS.ProcessEnv): ProxySettings | undefined {
  const httpProxy = withScheme(env["http_proxy"] || env["HTTP_PROXY"]);
  const httpsProxy = withScheme(env["https_proxy"] || env["HTTPS_PROXY"]);
  const noProxy = env["no_proxy"] ?? env["NO_PROXY"];
  if (!httpProxy && !httpsProxy) return undefined;
  return {
    ...(httpProxy ? { httpProxy } : {}),
    ...(httpsProxy ? { httpsProxy } : {}),
    ...(noProxy === undefined ? {} : { noProxy }),
  };
}

/** "proxy:3128" is a proxy that speaks HTTP, as curl has it. */
function withScheme(proxy: string | undefined): string | undefined {
  return !proxy || /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
}

/**
 * @param prove adds what the store has for a URL; a worker thread gets addresses that are proven already.
 * @param portions where the buffers of bodies are taken from.
 */
export function openHttp(
  settings: HttpSettings,
  prove: Prove | undefined,
  portions: Portions = makePortions(),
): HttpClient {
  const total = settings.totalTimeoutMs;
  const limits = {
    connections: settings.connections,
    connectTimeoutMs: Math.min(CONNECT_TIMEOUT_MS, total),
    idleTimeoutMs: Math.min(IDLE_TIMEOUT_MS, total),
    pace: settings.pace,
  };
  const credentials = credentialsOf(settings.tokens);
  const { proxies } = settings;
  let opened: Promise<Requests> | undefined;
  const open = async (): Promise<Requests> =>
    proxies ? (await import("./proxied.ts")).openProxied(limits, proxies) : openWire(limits, portions);

  const get: HttpClient["get"] = async (address, request, signal) => {
    const proven = typeof address === "string" ? await (prove?.(address) ?? { url: address }) : address;
    let url = new URL(proven.url);
    hideToken(url);
    const own = authorizationIn(url) ?? proven.authorization;
    const first = url.origin;
    url.username = "";
    url.password = "";
    url.hash = "";
    if (signal.aborted) throw new InterruptedError();
    opened ??= open();
    const requests = await opened;
    const began = performance.now();
    try {
      for (let hops = 0; ; hops++) {
        const headers: Record<string, string> = {
          "user-agent": USER_AGENT,
          accept: "*/*",
          "accept-encoding": "identity",
          ...credentials.headersFor(url),
        };
        if (own && url.origin === first) headers["authorization"] = own;
        if (url.origin === first) Object.assign(headers, request.headers);
        if (headers["authorization"] !== undefined) hideAuthorization(headers["authorization"]);
        conditions(headers, request);
        const withinMs = hops === 0 ? total : Math.max(1, total - (performance.now() - began));
        const response = await requests.get(url, headers, { signal, withinMs });
        const { status } = response;
        if (status === 301 || status === 302 || status === 303 || status === 307 || status === 308) {
          response.discard();
          url = redirected(url, response.headers.get("location"), hops);
          continue;
        }
        return await answer(url, status, response, request, (e) => translate(e, url, total, signal));
      }
    } catch (e) {
      throw translate(e, url, total, signal);
    }
  };

  return {
    get,
    close: async () => {
      await (await opened?.catch(() => undefined))?.close();
    },
  };
}

/** The body, its errors turned into ours. */
async function* told(chunks: AsyncIterable<Uint8Array>, tell: (e: unknown) => unknown): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (e) {
    throw tell(e);
  }
}

async function answer(
  url: URL,
  status: number,
  response: Response,
  request: OpenRequest,
  tell: (e: unknown) => unknown,
): Promise<ByteStream | "unchanged"> {
  if (status === 304 && request.unlessVersion !== undefined) {
    response.discard();
    return "unchanged";
  }
  if (status !== 200 && status !== 206) throw await refusal(url, status, response);
  const length = numberOf(response.headers.get("content-length"));
  let start = 0;
  let size = length;
  if (status === 206) {
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
    start = Number(range?.[1]);
    size = range?.[3] === "*" ? undefined : Number(range?.[3]);
    if (!range || start !== (request.start ?? 0)) {
      response.discard();
      throw new TransferError(
        "SERVER_ERROR",
        {
          what: redactUrl(url),
          why: `the server answered with another part of the file than was asked for (${response.headers.get("content-range") ?? "no Content-Range"})`,
          next: "run again, or use another mirror",
        },
        { mayPass: true },
      );
    }
  }
  const version = versionOf(response, size);
  if (request.unlessVersion !== undefined && status === 200 && version === request.unlessVersion) {
    // A server that knows no conditional requests, but tells by its headers that nothing changed.
    response.discard();
    return "unchanged";
  }
  return {
    start,
    size,
    version,
    chunks: told(response.chunks, tell),
    owned: response.owned,
    cancel: () => response.discard(),
  };
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
    response.headers.get("etag") ??
    response.headers.get("last-modified") ??
    (size === undefined ? undefined : `size:${size}`)
  );
}

/** The address that an answer redirects to. @throws TransferError BAD_REDIRECT */
export function redirected(from: URL, location: string | undefined, hops: number): URL {
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
  return refusedBy(url, status, response.headers, await wordsOf(response));
}

async function wordsOf(response: Response): Promise<string> {
  let words = "";
  try {
    for await (const chunk of response.chunks) {
      words += Buffer.from(chunk).toString("utf8");
      if (words.length > 2000) break;
    }
  } catch {
    // The status says enough.
  }
  return words;
}

/** What an answer with an error status is to us: with the server's own words, and whether the same may succeed later. */
export function refusedBy(
  url: URL,
  status: number,
  headers: ReadonlyMap<string, string>,
  words: string,
): TransferError {
  const text = /html/i.test(headers.get("content-type") ?? "") ? "" : redactText(withoutSignature(words, url));
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
  if (status === 203)
    return new TransferError(
      "SIGN_IN",
      {
        what,
        why: `${why}, as Azure DevOps does to those who are not signed in`,
        next: `give a token for ${url.host}`,
      },
      { mayPass: false },
    );
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
    { mayPass, retryAfterMs: parseRetryAfter(headers.get("retry-after"), Date.now()) },
  );
}

/** Whatever a request failed with, as an error of ours. */
export function translate(e: unknown, url: URL, totalMs: number, signal: AbortSignal): unknown {
  if (e instanceof TransferError || e instanceof InterruptedError) return e;
  if (signal.aborted) return new InterruptedError(e);
  const error = e as NodeJS.ErrnoException;
  const code = (error.code ?? (error.cause as NodeJS.ErrnoException | undefined)?.code ?? "").replace(/^UND_ERR_/, "");
  const what = redactUrl(url);
  if (code === "TOTAL_TIMEOUT")
    return timedOut(url, `nothing more was waited for after ${Number((totalMs / 1000).toFixed(1))} s`);
  if (code === "CONNECT_TIMEOUT") return timedOut(url, "no connection was made in time");
  if (code === "HEADERS_TIMEOUT") return timedOut(url, "no answer came in time");
  if (code === "BODY_TIMEOUT") return timedOut(url, "the server stopped sending");
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
  if (
    code === "ECONNREFUSED" ||
    code === "EHOSTUNREACH" ||
    code === "ENETUNREACH" ||
    code === "EAI_AGAIN" ||
    code === "NO_TUNNEL"
  ) {
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

/** What the user and password of a URL stand for. */
export function authorizationIn(url: URL): string | undefined {
  if (!url.username && !url.password) return undefined;
  return basicAuthorization(decoded(url.username), decoded(url.password));
}

/** As it is where a "%" stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}
