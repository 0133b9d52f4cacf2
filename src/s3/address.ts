import { UsageError } from "../errors.ts";
import { redactUrl } from "../transfer/redact.ts";

/** How a bucket's name gets into an address: `https://BUCKET.host/key`, or `https://host/BUCKET/key`. */
export type AddressingStyle = "auto" | "path" | "virtual-host";

/** Where an S3 server is, as settings have it. */
export interface S3Place {
  /** Null for AWS itself. */
  readonly endpoint: string | null;
  readonly region: string | null;
  readonly addressingStyle: AddressingStyle;
}

/** Everything that settings say of S3. */
export interface S3Wishes extends S3Place {
  /** Sign no requests, whatever keys there are. */
  readonly anonymous: boolean;
}

/** A bucket and what goes before every key in it. */
export interface S3Address {
  readonly bucket: string;
  /** "" or ends in "/". */
  readonly prefix: string;
  /** The server that the address itself names. */
  readonly endpoint?: string;
}

/**
 * `s3://bucket/prefix`, or `http(s)://server/bucket/prefix` as MinIO shows it.
 * @throws UsageError BAD_TARGET
 */
export function parseS3Address(text: string): S3Address {
  const refuse = (why: string) =>
    new UsageError("BAD_TARGET", {
      what: `${redactUrl(text)}: not the address of a bucket`,
      why,
      next: "give s3://bucket/prefix, or http(s)://server/bucket/prefix for a server of your own",
    });
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refuse("it is no URL");
  }
  if (url.username || url.password)
    throw refuse(
      "it carries a user or password, and S3 has neither: keys come from the environment or rattler's store",
    );
  if (url.search || url.hash) throw refuse("it has a query or a fragment");
  let path: string[];
  try {
    path = url.pathname
      .split("/")
      .filter((part) => part !== "")
      .map(decodeURIComponent);
  } catch {
    throw refuse("its path is not percent-encoded UTF-8");
  }
  const isServer = url.protocol === "http:" || url.protocol === "https:";
  if (!isServer && url.protocol !== "s3:" && url.protocol !== "minio:") throw refuse(`it is a ${url.protocol} address`);
  if (isServer && path.length === 0) throw refuse("it names no bucket");
  const bucket = isServer ? (path.shift() as string) : url.hostname;
  // Older buckets may have upper case, underscores and up to 255 characters.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/.test(bucket) || bucket.includes(".."))
    throw refuse(`${JSON.stringify(bucket)} can't be the name of a bucket`);
  if (path.some((part) => part === "." || part === ".." || /[\p{Cc}/\\]/u.test(part)))
    throw refuse("its prefix holds characters or parts that keys should not have");
  const prefix = path.map((part) => `${part}/`).join("");
  return { bucket, prefix, ...(isServer ? { endpoint: url.origin } : {}) };
}

/** Names of AWS's own servers, which take buckets in their host name. */
const AWS = /(?:^|\.)amazonaws\.com(?:\.cn)?$/;

/** Where requests for a bucket go. */
export interface BucketUrl {
  /** Without the key: ends in "/". */
  readonly base: URL;
  /** Whether another region has another host. */
  readonly isAws: boolean;
}

/** @throws UsageError BAD_CONFIG for an endpoint that is no http(s) URL */
export function bucketUrl({ bucket }: S3Address, { endpoint, addressingStyle }: S3Place, region: string): BucketUrl {
  const refuse = (why: string) =>
    new UsageError("BAD_CONFIG", {
      what: `s3_endpoint ${redactUrl(endpoint ?? "")}`,
      why,
      next: "give the server's URL, such as http://localhost:9000 or https://s3.example.com",
    });
  const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  if (!/^[a-z0-9-]{1,64}$/.test(region)) throw refuse(`${JSON.stringify(region)} can't be the name of a region`);
  let server: URL;
  try {
    server = new URL(endpoint ?? `https://s3.${region}.${domain}`);
  } catch {
    throw refuse("it is no URL");
  }
  if (server.protocol !== "http:" && server.protocol !== "https:") throw refuse("it is no http(s) URL");
  if (server.username || server.password || server.search || server.hash)
    throw refuse("it holds more than a server and a path");
  const isAws = AWS.test(server.hostname);
  // A dot in the name would need a certificate for two levels, and upper case can't be told in a host name.
  const virtual =
    addressingStyle === "virtual-host" || (addressingStyle === "auto" && isAws && /^[a-z0-9][a-z0-9-]+$/.test(bucket));
  const base = new URL(server.origin);
  if (virtual) base.hostname = `${bucket}.${server.hostname}`;
  const path = server.pathname.replace(/\/+$/, "");
  base.pathname = virtual ? `${path}/` : `${path}/${encodeURIComponent(bucket)}/`;
  return { base, isAws: isAws && endpoint === null };
}
