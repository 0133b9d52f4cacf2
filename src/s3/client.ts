import { InterruptedError } from "../errors.ts";
import { type HttpSettings, translate, USER_AGENT } from "../transfer/http.ts";
import { makePortions } from "../transfer/portions.ts";
import type { Body, RequestLimits, Requests, Response } from "../transfer/response.ts";
import { type Clock, withRetries } from "../transfer/retry.ts";
import { openWire } from "../transfer/wire.ts";
import { bucketUrl, type S3Address, type S3Place } from "./address.ts";
import type { S3KeyProvider } from "./credentials.ts";
import { S3Failure } from "./failure.ts";
import { EMPTY_SHA256, escapedKey, presignedUrl, queryText, type S3Keys, signedHeaders } from "./sign.ts";

/** One request to a bucket. */
export interface S3Request {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Below the address's prefix; undefined for the bucket itself. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  /** By lower-case name; all are signed. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | Body;
  /** SHA-256 of the body, 64 hex digits; needed where there is one. */
  readonly bodySha256?: string;
  /** Whoever asks tries again by himself. */
  readonly once?: boolean;
  /** Statuses besides 2xx that are answers, not failures. */
  readonly answers?: readonly number[];
}

export interface S3Answer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
  /** How often it was asked: an earlier try may have been heard, and only its answer lost. */
  readonly tries: number;
}

/** Requests to one bucket: signed, tried again after what may pass, to the region it turns out to lie in. */
export interface S3Client {
  /** `s3://bucket/prefix` */
  readonly where: string;
  readonly bucket: string;
  /** "" or ends in "/". */
  readonly prefix: string;
  /** The server's address and the region as it turned out to be. */
  place(): S3Place;
  /** For errors: `s3://bucket/prefix/key`. */
  name(key: string): string;
  /** @throws S3Failure for other statuses; TransferError when no answer came; InterruptedError on abort. */
  request(request: S3Request, signal?: AbortSignal): Promise<S3Answer>;
  /** As `request`, with a body that comes as it is read. It is not asked for again when it breaks. */
  open(request: S3Request, signal?: AbortSignal): Promise<Response & { readonly tries: number }>;
  /** A URL that gives the object without keys for an hour, so a secret. Undefined before the first request. */
  urlOf(key: string): string | undefined;
  close(): Promise<void>;
}

export interface S3ClientOptions extends S3Place {
  readonly keys: S3KeyProvider;
  readonly requests: HttpSettings;
  /** Sockets; as many requests may be under way at once. */
  readonly connections: number;
  /** Repetitions after the first try. */
  readonly retryAttempts: number;
  readonly clock: Clock;
  /** The limit on what is fetched; set for sources. */
  readonly pace?: HttpSettings["pace"];
}

const NOTHING = new Uint8Array(0);
const FOREVER = new AbortController().signal;
const CONNECT_TIMEOUT_MS = 15_000;
const IDLE_TIMEOUT_MS = 60_000;
/** Seconds that an address made by `urlOf` is good for. */
const URL_SECONDS = 3600;
/** Where nothing names a region: the one that servers of one's own have. AWS tells the right one. */
const DEFAULT_REGION = "us-east-1";

export function openS3Client(address: S3Address, options: S3ClientOptions): S3Client {
  const { requests: settings, clock } = options;
  const total = settings.totalTimeoutMs;
  const place: S3Place = { ...options, endpoint: address.endpoint ?? options.endpoint };
  const limits: RequestLimits = {
    connections: options.connections,
    connectTimeoutMs: Math.min(CONNECT_TIMEOUT_MS, total),
    idleTimeoutMs: Math.min(IDLE_TIMEOUT_MS, total),
    pace: options.pace,
  };
  let region = options.region ?? DEFAULT_REGION;
  let server = bucketUrl(address, place, region);
  /** Milliseconds by which the server's clock is ahead of ours. */
  let ahead = 0;
  let lastKeys: { readonly keys: S3Keys | undefined } | undefined;
  const where = `s3://${address.bucket}/${address.prefix}`.replace(/\/$/, "");
  const name = (key: string) => `${where}/${key}`;
  let opened: Promise<Requests> | undefined;
  const open = async (): Promise<Requests> => {
    if (!settings.proxies) return openWire(limits, makePortions());
    return (await import("../transfer/proxied.ts")).openProxied(limits, settings.proxies);
  };

  const urlFor = (key: string | undefined, query: Readonly<Record<string, string>> = {}): URL => {
    const url = new URL(server.base);
    if (key !== undefined) url.pathname += escapedKey(address.prefix + key);
    url.search = queryText(query);
    return url;
  };
  const once = async (request: S3Request, renewed: boolean, signal: AbortSignal): Promise<Response> => {
    const keys = await options.keys({ renewed });
    lastKeys = { keys };
    opened ??= open();
    const wire = await opened;
    const url = urlFor(request.key, request.query);
    const payloadSha256 = request.bodySha256 ?? EMPTY_SHA256;
    const toSign = { method: request.method, url, headers: request.headers ?? {}, payloadSha256 };
    const scope = { region, now: Date.now() + ahead };
    const headers = keys ? signedHeaders(toSign, keys, scope) : { ...toSign.headers };
    const outgoing = {
      method: request.method,
      url,
      headers: { ...headers, "user-agent": USER_AGENT, accept: "*/*", "accept-encoding": "identity" },
      ...(request.body ? { body: request.body } : {}),
    };
    return await wire.send(outgoing, { signal, withinMs: total });
  };
  const what = ({ key }: S3Request): string => (key === undefined ? where : name(key));

  /** What can be set right at once: another region, a clock that is off, keys that have ended. */
  const setRight = (failure: S3Failure, headers: ReadonlyMap<string, string>): "again" | "renew" | undefined => {
    if (failure.region !== undefined && failure.region !== region && [301, 307, 400, 403].includes(failure.status)) {
      if (!/^[a-z0-9-]{1,64}$/.test(failure.region)) return undefined;
      region = failure.region;
      server = bucketUrl(address, place, region);
      return "again";
    }
    if (failure.s3Code === "RequestTimeTooSkewed") {
      const now = Date.parse(headers.get("date") ?? "");
      if (Number.isNaN(now)) return undefined;
      ahead = now - Date.now();
      return "again";
    }
    return failure.s3Code === "ExpiredToken" ? "renew" : undefined;
  };

  const openOnce = async (request: S3Request, signal: AbortSignal): Promise<Response> => {
    let renewed = false;
    for (let mended = 0; ; mended++) {
      const url = urlFor(request.key);
      try {
        const response = await once(request, renewed, signal);
        const { status } = response;
        if ((status >= 200 && status < 300) || request.answers?.includes(status)) return response;
        const failure = new S3Failure(what(request), status, response.headers, await wordsOf(response));
        const way = mended < 2 ? setRight(failure, response.headers) : undefined;
        if (!way) throw failure;
        renewed = way === "renew";
      } catch (e) {
        if (signal.aborted) throw new InterruptedError(e);
        throw isOurs(e) ? e : translate(e, url, total, signal);
      }
    }
  };
  const retried = async <T>({ once }: S3Request, work: () => Promise<T>, signal: AbortSignal): Promise<T> =>
    withRetries(work, { attempts: once ? 0 : options.retryAttempts, longestWaitMs: total, clock, signal });

  return {
    where,
    bucket: address.bucket,
    prefix: address.prefix,
    place: () => ({ endpoint: place.endpoint, region, addressingStyle: place.addressingStyle }),
    name,
    request(request, signal = FOREVER) {
      let tries = 0;
      return retried(
        request,
        async () => {
          tries++;
          const response = await openOnce(request, signal);
          try {
            const { status, headers } = response;
            const body = request.method === "HEAD" ? NOTHING : await bytesOf(response);
            return { status, headers, tries, body };
          } catch (e) {
            throw isOurs(e) ? e : translate(e, urlFor(request.key), total, signal);
          }
        },
        signal,
      );
    },
    open(request, signal = FOREVER) {
      let tries = 0;
      return retried(
        request,
        async () => {
          tries++;
          const response = await openOnce(request, signal);
          const tell = (e: unknown) => (isOurs(e) ? e : translate(e, urlFor(request.key), total, signal));
          return { ...response, chunks: told(response.chunks, tell), tries };
        },
        signal,
      );
    },
    urlOf(key) {
      if (!lastKeys) return undefined;
      const url = urlFor(key);
      const scope = { region, now: Date.now() + ahead };
      return lastKeys.keys ? presignedUrl(url, lastKeys.keys, scope, URL_SECONDS) : url.toString();
    },
    async close() {
      await (await opened?.catch(() => undefined))?.close();
    },
  };
}

function isOurs(e: unknown): boolean {
  return typeof e === "object" && e !== null && "family" in e;
}

async function* told(chunks: AsyncIterable<Uint8Array>, tell: (e: unknown) => unknown): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (e) {
    throw tell(e);
  }
}

/** What a server says about a failure; no more of it than tells. */
async function wordsOf(response: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of response.chunks) {
      parts.push(chunk);
      size += chunk.length;
      if (size > 64 * 1024) break;
    }
  } catch {
    // The status says enough.
  }
  return Buffer.concat(parts);
}

/** A body in one piece: into one buffer where its length is known, without a second copy. */
async function bytesOf(response: Response): Promise<Uint8Array> {
  const length = Number(response.headers.get("content-length") ?? Number.NaN);
  const known = Number.isSafeInteger(length) && length > 256 * 1024;
  const whole = known ? Buffer.allocUnsafeSlow(length) : undefined;
  const parts: Uint8Array[] = [];
  let at = 0;
  for await (const chunk of response.chunks) {
    if (whole) whole.set(chunk, at);
    else parts.push(chunk);
    at += chunk.length;
  }
  if (whole) return at === whole.length ? whole : whole.subarray(0, at);
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}
