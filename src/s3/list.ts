import { TransferError } from "../errors.ts";
import type { S3Client } from "./client.ts";
import { elementsOf, textOf } from "./xml.ts";

/** An object as a listing tells of it. */
export interface ListedObject {
  /** Below the client's prefix. */
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Without quotes. */
  readonly etag: string;
  /** When it was written, in milliseconds since 1970; undefined where the server does not tell. */
  readonly modified: number | undefined;
}

export interface ListPage {
  readonly objects: readonly ListedObject[];
  /** What stands between the folder asked for and the next "/", for keys that have one. */
  readonly folders: readonly string[];
  /** Set where more follows. */
  readonly next: string | undefined;
}

export interface ListRequest {
  /** What keys begin with, below the client's prefix: "" or a folder's path that ends in "/". */
  readonly folder: string;
  /** Where an earlier page ended. */
  readonly next?: string | undefined;
  /** Only keys behind this one. */
  readonly after?: string;
  /** Keys at most; servers give up to 1000. */
  readonly limit?: number;
}

/**
 * One page of what lies right inside a folder, in the order of keys.
 * @throws TransferError SERVER_ERROR where it is no whole listing: what it leaves out would count as gone
 */
export async function listPage(client: S3Client, request: ListRequest, signal?: AbortSignal): Promise<ListPage> {
  const { folder, next, after, limit } = request;
  const prefix = client.prefix + folder;
  const query = {
    "list-type": "2",
    delimiter: "/",
    "encoding-type": "url",
    ...(prefix === "" ? {} : { prefix }),
    ...(next === undefined ? {} : { "continuation-token": next }),
    ...(after === undefined ? {} : { "start-after": client.prefix + after }),
    ...(limit === undefined ? {} : { "max-keys": String(limit) }),
  };
  const { body } = await client.request({ method: "GET", query }, signal);
  const xml = Buffer.from(body).toString("utf8");
  if (!xml.includes("<ListBucketResult") || !xml.includes("</ListBucketResult>"))
    throw odd(client, "what came is no listing of a bucket, or not all of one");
  // A plus sign is a space in this coding.
  const decoded =
    textOf(xml, "EncodingType") === "url"
      ? (s: string) => decodeURIComponent(s.replaceAll("+", " "))
      : (s: string) => s;
  const below = (text: string | undefined): string | undefined => {
    const key = text === undefined ? undefined : decoded(text);
    return key?.startsWith(prefix) ? key.slice(client.prefix.length) : undefined;
  };
  const objects: ListedObject[] = [];
  for (const one of elementsOf(xml, "Contents")) {
    const key = below(textOf(one, "Key"));
    const size = Number(textOf(one, "Size"));
    if (key === undefined || key.endsWith("/") || !Number.isSafeInteger(size)) continue;
    const modified = Date.parse(textOf(one, "LastModified") ?? "");
    const etag = bareEtag(textOf(one, "ETag"));
    objects.push({ key, size, etag, modified: Number.isNaN(modified) ? undefined : modified });
  }
  const folders: string[] = [];
  for (const one of elementsOf(xml, "CommonPrefixes")) {
    const path = below(textOf(one, "Prefix"));
    if (path !== undefined) folders.push(path.slice(folder.length).replace(/\/$/, ""));
  }
  const more = textOf(xml, "IsTruncated") === "true" ? textOf(xml, "NextContinuationToken") : undefined;
  if (textOf(xml, "IsTruncated") === "true" && (!more || more === next))
    throw odd(client, "more follows, and the server does not tell how to get it");
  return { objects, folders, next: more };
}

function odd(client: S3Client, why: string): TransferError {
  return new TransferError(
    "SERVER_ERROR",
    {
      what: `the listing of ${client.where}`,
      why,
      next: "nothing was changed; check --s3-endpoint, and that the server speaks ListObjectsV2",
    },
    { mayPass: false },
  );
}

/** Everything right inside a folder. */
export async function* listAll(client: S3Client, folder: string, signal?: AbortSignal): AsyncGenerator<ListedObject> {
  let next: string | undefined;
  do {
    const page: ListPage = await listPage(client, { folder, next }, signal);
    yield* page.objects;
    next = page.next;
  } while (next !== undefined);
}

/**
 * Those of the names that lie right inside a folder. Never more requests than names, nor more than pages: each page is asked for
 * from the next name on.
 */
export async function findListed(
  client: S3Client,
  folder: string,
  names: readonly string[],
  signal?: AbortSignal,
): Promise<Map<string, ListedObject>> {
  const found = new Map<string, ListedObject>();
  // S3 orders keys by their bytes; the names of packages are ASCII.
  const sorted = [...new Set(names)].sort();
  let next: string | undefined;
  for (let i = 0; i < sorted.length; ) {
    const first = sorted[i] as string;
    const from = next === undefined ? { after: `${folder}${justBefore(first)}` } : { next };
    const page: ListPage = await listPage(client, { folder, ...from }, signal);
    const there = new Map(page.objects.map((o) => [o.key.slice(folder.length), o]));
    const last = page.objects.at(-1)?.key.slice(folder.length) ?? "";
    for (; i < sorted.length; i++) {
      const name = sorted[i] as string;
      if (page.next !== undefined && name > last) break;
      const object = there.get(name);
      if (object) found.set(name, object);
    }
    // A page that did not get as far as the first name is followed by the next one.
    next = last < first ? page.next : undefined;
  }
  return found;
}

/** A text that sorts before a name, with nothing that names are made of between. */
function justBefore(name: string): string {
  const last = name.charCodeAt(name.length - 1);
  return `${name.slice(0, -1)}${String.fromCharCode(last - 1)}~~~~`;
}

/** An ETag without its quotes. */
export function bareEtag(text: string | undefined): string {
  return (text ?? "").replace(/^(?:W\/)?"|"$/g, "");
}
