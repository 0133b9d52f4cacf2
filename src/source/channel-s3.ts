import type { CredentialStore } from "../auth/credential-store.ts";
import { isSubdir } from "../conda/file-name.ts";
import { SourceError, TransferError } from "../errors.ts";
import { parseS3Address, type S3Wishes } from "../s3/address.ts";
import { openS3Client, type S3Client } from "../s3/client.ts";
import { s3KeyProvider } from "../s3/credentials.ts";
import { S3Failure } from "../s3/failure.ts";
import { listPage } from "../s3/list.ts";
import { openS3Object } from "../s3/place.ts";
import type { HttpClient, HttpSettings } from "../transfer/http.ts";
import { pool } from "../transfer/pool.ts";
import { readAll } from "../transfer/read-all.ts";
import { redactUrl } from "../transfer/redact.ts";
import { type RetryOptions, withRetries } from "../transfer/retry.ts";
import type { ChannelAddress } from "./channel-address.ts";
import type { ChannelFile, ChannelPlace, PackagePlace } from "./channel-place.ts";

export interface S3ChannelContext {
  readonly http: HttpClient;
  readonly requests: HttpSettings;
  readonly retry: Omit<RetryOptions, "signal">;
  readonly credentials: CredentialStore;
  readonly env: NodeJS.ProcessEnv;
  readonly s3: S3Wishes;
  /** Told of the connections that are opened here. */
  readonly closing: ((one: S3Client) => void) | undefined;
}

/**
 * A channel in a bucket, read with keys or, where it is asked for, without.
 * @param base `s3://bucket/prefix/`
 * @param known subdirs to look for where the bucket may not be listed
 */
export function s3Place(
  address: ChannelAddress,
  base: string,
  { http, requests, retry, credentials, env, s3, closing }: S3ChannelContext,
  known: readonly string[],
): ChannelPlace {
  const bucket = parseS3Address(base);
  const url = base.replace(/\/$/, "");
  const client = openS3Client(bucket, {
    ...s3,
    keys: s3KeyProvider({ env, store: credentials, url, anonymous: s3.anonymous }),
    requests,
    connections: requests.connections,
    retryAttempts: retry.attempts,
    clock: retry.clock,
    pace: requests.pace,
  });
  closing?.(client);
  const keyOf = (at: string): string => decodeURIComponent(at.slice(base.length));
  const packageAt = (at: string): PackagePlace => {
    if (!/^s3:/i.test(at))
      return { origin: redactUrl(at), key: at, address: { url: at }, open: (request, s) => http.get(at, request, s) };
    const key = keyOf(at);
    return { origin: client.name(key), key: at, open: openS3Object(client, key, true) };
  };
  const read = async (
    path: string,
    limit: number,
    signal: AbortSignal,
    unlessVersion?: string,
  ): Promise<ChannelFile | "unchanged" | undefined> => {
    let version: string | undefined;
    const object = openS3Object(client, path, true);
    let unchanged = false;
    const place: PackagePlace = {
      origin: client.name(path),
      key: path,
      open: async (request, s) => {
        const stream = await object({ ...request, ...(unlessVersion === undefined ? {} : { unlessVersion }) }, s);
        unchanged = stream === "unchanged";
        if (stream !== "unchanged") version = stream.version;
        return stream;
      },
    };
    try {
      const bytes = await withRetries(() => readAll(place, limit, signal), { ...retry, signal });
      return unchanged ? "unchanged" : { bytes, version };
    } catch (e) {
      if (isMissing(e)) return undefined;
      throw e;
    }
  };
  return {
    address,
    key: `${client.place().endpoint ?? ""} ${base}`,
    read,
    async isUnchanged(path, version, signal) {
      const open = () => openS3Object(client, path, true)({ unlessVersion: version }, signal);
      const stream = await withRetries(open, { ...retry, signal }).catch((e: unknown) => {
        if (isMissing(e)) return undefined;
        throw e;
      });
      if (stream && stream !== "unchanged") stream.cancel();
      return stream === "unchanged";
    },
    async subdirs(among, signal) {
      const there: string[] = [];
      const look = async (subdir: string) => {
        for (const file of ["repodata.json", "repodata.json.zst"]) {
          if (!(await exists(client, `${subdir}/${file}`, signal))) continue;
          there.push(subdir);
          return;
        }
      };
      for await (const _ of pool(among ?? (await foldersOf(client, signal)) ?? known, PROBES, look, signal));
      return there.sort();
    },
    async readAt(at, limit, signal) {
      if (/^s3:/i.test(at)) {
        const file = await read(keyOf(at), limit, signal);
        return file === "unchanged" ? undefined : file;
      }
      const bytes = await withRetries(() => readAll(packageAt(at), limit, signal), { ...retry, signal });
      return { bytes, version: undefined };
    },
    resolve(from, relative) {
      const to = new URL(relative, base + from.split("/").map(encodeURIComponent).join("/"));
      const inside = to.protocol === "s3:" && to.toString().startsWith(base) && !/%2f|%5c|\/\.\.?\//i.test(to.pathname);
      if (inside || to.protocol === "https:") {
        to.username = "";
        to.password = "";
        return to.toString();
      }
      throw new SourceError("BAD_INDEX", {
        what: `${address.name}: its index points elsewhere`,
        why: `${JSON.stringify(redactUrl(relative))} is neither in the channel's part of the bucket nor an https address`,
        next: "the channel's index is wrong; tell its owner",
      });
    },
    package: packageAt,
  };
}

/** Subdirs that are asked for at the same time. */
const PROBES = 8;

/** The folders of the channel that may be subdirs; undefined where the bucket may not be listed. */
async function foldersOf(client: S3Client, signal: AbortSignal): Promise<string[] | undefined> {
  try {
    const found: string[] = [];
    let next: string | undefined;
    do {
      const page = await listPage(client, { folder: "", next }, signal);
      found.push(...page.folders.filter(isSubdir));
      next = page.next;
    } while (next !== undefined);
    return found;
  } catch (e) {
    if (e instanceof S3Failure && e.s3Code === "AccessDenied") return undefined;
    throw e;
  }
}

async function exists(client: S3Client, key: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await client.request({ method: "HEAD", key, answers: [404] }, signal)).status !== 404;
  } catch (e) {
    if (isMissing(e)) return false;
    throw e;
  }
}

/** Where listing is not allowed, S3 answers 403 for a key that is missing. What can't be read at all shows as no channel. */
function isMissing(e: unknown): boolean {
  if (!(e instanceof TransferError)) return false;
  if (e instanceof S3Failure && e.s3Code === "NoSuchBucket") return false;
  return e.code === "NOT_FOUND" || (e instanceof S3Failure && e.status === 403 && /^(?:AccessDenied)?$/.test(e.s3Code));
}
