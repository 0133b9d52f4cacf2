import { createHmac, hash } from "node:crypto";

/** What signs requests. */
export interface S3Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** What is signed for: a moment and a region. */
export interface SigningScope {
  readonly region: string;
  /** Milliseconds since 1970, on the server's clock. */
  readonly now: number;
}

export interface ToSign {
  readonly method: string;
  readonly url: URL;
  /** By lower-case name; all are signed. */
  readonly headers: Readonly<Record<string, string>>;
  /** SHA-256 of the body, 64 hex digits. */
  readonly payloadSha256: string;
}

/** SHA-256 of nothing. */
export const EMPTY_SHA256 = hash("sha256", "");

const ALGORITHM = "AWS4-HMAC-SHA256";

/** Text as S3 wants it in paths and queries: UTF-8, everything escaped but unreserved characters (RFC 3986). */
export function escaped(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** A key as the path of a URL. */
export function escapedKey(key: string): string {
  return key.split("/").map(escaped).join("/");
}

/** A query in the order in which it is signed. */
export function queryText(query: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(query).map(([name, value]) => [escaped(name), escaped(value)] as const);
  return pairs
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
}

/**
 * The headers of a request with those that sign it (AWS Signature Version 4, payload signed). The URL's path and query must
 * be as `escapedKey` and `queryText` make them.
 */
export function signedHeaders(request: ToSign, keys: S3Keys, scope: SigningScope): Record<string, string> {
  const { stamp, day } = momentOf(scope.now);
  const headers: Record<string, string> = {
    ...request.headers,
    host: request.url.host,
    "x-amz-content-sha256": request.payloadSha256,
    "x-amz-date": stamp,
  };
  if (keys.sessionToken) headers["x-amz-security-token"] = keys.sessionToken;
  const names = Object.keys(headers).sort();
  const signed = names.join(";");
  const canonical = [
    request.method,
    request.url.pathname,
    request.url.search.slice(1),
    ...names.map((name) => `${name}:${(headers[name] as string).trim().replace(/ +/g, " ")}`),
    "",
    signed,
    request.payloadSha256,
  ].join("\n");
  const where = `${day}/${scope.region}/s3/aws4_request`;
  const signature = signatureOf(canonical, stamp, where, keys, day, scope.region);
  delete headers["host"];
  headers["authorization"] =
    `${ALGORITHM} Credential=${keys.accessKeyId}/${where}, SignedHeaders=${signed}, Signature=${signature}`;
  return headers;
}

/** A URL that anybody can GET for so many seconds. It holds a signature, so it is a secret. */
export function presignedUrl(url: URL, keys: S3Keys, scope: SigningScope, seconds: number): string {
  const { stamp, day } = momentOf(scope.now);
  const where = `${day}/${scope.region}/s3/aws4_request`;
  const query = queryText({
    "X-Amz-Algorithm": ALGORITHM,
    "X-Amz-Credential": `${keys.accessKeyId}/${where}`,
    "X-Amz-Date": stamp,
    "X-Amz-Expires": String(seconds),
    ...(keys.sessionToken ? { "X-Amz-Security-Token": keys.sessionToken } : {}),
    "X-Amz-SignedHeaders": "host",
  });
  const canonical = ["GET", url.pathname, query, `host:${url.host}`, "", "host", "UNSIGNED-PAYLOAD"].join("\n");
  const signature = signatureOf(canonical, stamp, where, keys, day, scope.region);
  return `${url.origin}${url.pathname}?${query}&X-Amz-Signature=${signature}`;
}

function momentOf(now: number): { stamp: string; day: string } {
  const stamp = new Date(now).toISOString().replace(/[-:]|\.\d+/g, "");
  return { stamp, day: stamp.slice(0, 8) };
}

function signatureOf(
  canonical: string,
  stamp: string,
  where: string,
  keys: S3Keys,
  day: string,
  region: string,
): string {
  const text = `${ALGORITHM}\n${stamp}\n${where}\n${hash("sha256", canonical)}`;
  return createHmac("sha256", signingKey(keys, day, region))
    .update(text)
    .digest("hex");
}

/** The last key made: it holds for a day and a region, and making it costs four times what a signature does. */
let made: { readonly of: string; readonly key: Buffer } | undefined;

function signingKey({ secretAccessKey }: S3Keys, day: string, region: string): Buffer {
  const of = `${day}/${region}/${secretAccessKey}`;
  if (made?.of === of) return made.key;
  let key = Buffer.from(`AWS4${secretAccessKey}`);
  for (const part of [day, region, "s3", "aws4_request"]) key = createHmac("sha256", key).update(part).digest();
  made = { of, key };
  return key;
}
