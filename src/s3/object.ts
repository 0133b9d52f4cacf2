import { hash, randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { TargetError } from "../errors.ts";
import type { Body } from "../transfer/response.ts";
import type { S3Answer, S3Client, S3Request } from "./client.ts";
import { S3Failure } from "./failure.ts";
import { bareEtag } from "./list.ts";
import { textOf } from "./xml.ts";

/** What an object may be written over: anything, nothing, or the version that was read. */
export type Expectation = "any" | "absent" | { readonly etag: string };

export interface NewObject {
  readonly key: string;
  /** By lower-case name: content type, cache control, metadata. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | Body;
  /** Of the body, 64 hex digits. */
  readonly sha256: string;
  readonly expect: Expectation;
}

/** What is known of an object without reading it. */
export interface ObjectHead {
  readonly size: number;
  /** Without quotes. */
  readonly etag: string;
  readonly headers: ReadonlyMap<string, string>;
}

/** Written with an object, so that its writer knows it again when the answer to a write was lost. */
const WRITE_ID = "x-amz-meta-write-id";

/** The statuses with which a conditional write is refused because its condition does not hold. */
export const UNMET = [404, 409, 412];

/** Undefined when there is no such object. */
export async function headObject(
  client: S3Client,
  key: string,
  signal?: AbortSignal,
  extra: Readonly<Record<string, string>> = {},
): Promise<ObjectHead | undefined> {
  const request: S3Request = { method: "HEAD", key, headers: extra, answers: [404] };
  const { status, headers } = await client.request(request, signal);
  if (status === 404) return undefined;
  return { size: Number(headers.get("content-length") ?? 0), etag: bareEtag(headers.get("etag")), headers };
}

/** How often an object is read again whose bytes are not those that its checksum says. */
const MISREADINGS = 5;

/**
 * An object and its version, which belong together: where its checksum was stored, the bytes are held to it. A server that
 * keeps content and attributes apart (versitygw with a sidecar) may give old bytes with a new ETag while the object is being
 * replaced, and a write on the condition of that ETag would undo another's.
 * @returns undefined when there is no such object
 */
export async function getObject(
  client: S3Client,
  key: string,
  signal?: AbortSignal,
): Promise<{ readonly bytes: Uint8Array; readonly etag: string } | undefined> {
  const headers = { "x-amz-checksum-mode": "ENABLED" };
  for (let again = 0; ; again++) {
    const answer = await client.request({ method: "GET", key, headers, answers: [404] }, signal);
    if (answer.status === 404) return undefined;
    const said = answer.headers.get("x-amz-checksum-sha256") ?? "";
    // Of objects made of parts it is the checksum of theirs, and ends in their number.
    const known = /^[A-Za-z0-9+/]{43}=$/.test(said);
    if (!known || hash("sha256", answer.body, "base64") === said)
      return { bytes: answer.body, etag: bareEtag(answer.headers.get("etag")) };
    if (again === MISREADINGS) throw damaged(client.name(key));
    await pause(Math.random() * 100 * (again + 1), undefined, signal ? { signal } : {});
  }
}

function damaged(what: string): TargetError {
  return new TargetError("BAD_INDEX", {
    what: `${what}: can't be read`,
    why: "its bytes are not those that were written: their SHA-256 is not the one that was stored with them",
    next: "nothing was changed; restore it, or remove it to have it made anew",
  });
}

/**
 * Writes an object in one request; the server checks its hash and keeps it.
 * @returns its ETag without quotes; undefined when what is there is not what was expected.
 */
export async function putObject(
  client: S3Client,
  object: NewObject,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const { key, headers, body, sha256, expect } = object;
  const write = conditionsOf(expect);
  const request: S3Request = {
    method: "PUT",
    key,
    headers: {
      ...headers,
      ...write.headers,
      ...write.mark,
      "x-amz-checksum-sha256": Buffer.from(sha256, "hex").toString("base64"),
    },
    body,
    bodySha256: sha256,
    answers: expect === "any" ? [] : UNMET,
  };
  const answer = await client.request(request, signal);
  if (answer.status < 300) return bareEtag(answer.headers.get("etag"));
  return unmet(client, key, answer, write.id, signal);
}

/** The headers of a write that depends on what is there, and what marks it as this one. */
export function conditionsOf(expect: Expectation): {
  readonly id: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly mark: Readonly<Record<string, string>>;
} {
  if (expect === "any") return { id: "", headers: {}, mark: {} };
  const id = randomUUID();
  const headers: Record<string, string> =
    expect === "absent" ? { "if-none-match": "*" } : { "if-match": `"${expect.etag}"` };
  return { id, headers, mark: { [WRITE_ID]: id } };
}

/**
 * What became of a write whose condition was not met. Where it was asked for more than once, an earlier try may be what
 * is there now.
 */
export async function unmet(
  client: S3Client,
  key: string,
  answer: S3Answer,
  id: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const code = textOf(Buffer.from(answer.body).toString("utf8"), "Code");
  if (answer.status === 404 && code !== "NoSuchKey" && code !== "NoSuchUpload")
    throw new S3Failure(client.name(key), answer.status, answer.headers, answer.body);
  return answer.tries > 1 || code === "NoSuchUpload" ? writtenAs(client, key, id, signal) : undefined;
}

/** The ETag of an object if it is what was written under this mark. */
async function writtenAs(client: S3Client, key: string, id: string, signal?: AbortSignal): Promise<string | undefined> {
  const head = await headObject(client, key, signal);
  return head?.headers.get(WRITE_ID) === id ? head.etag : undefined;
}

/** Removes an object; fine when there is none. */
export async function deleteObject(client: S3Client, key: string, signal?: AbortSignal): Promise<void> {
  await client.request({ method: "DELETE", key, answers: [404] }, signal);
}

/**
 * Whether a server keeps conditions on writes. It is asked twice to write a small object that must not be there, and once to
 * write over a version that never was: a server that does so would let two writers lose each other's records.
 */
export async function keepsConditions(client: S3Client, key: string, signal?: AbortSignal): Promise<boolean> {
  const body = Buffer.from("written to see whether this server keeps conditions on writes; it may be deleted\n");
  const put = (headers: Record<string, string>) =>
    client.request(
      {
        method: "PUT",
        key,
        headers: { ...headers, "content-type": "text/plain" },
        body,
        bodySha256: hash("sha256", body),
        answers: [400, 404, 409, 412, 501],
      },
      signal,
    );
  // The first one is refused already where an earlier run has asked.
  const first = await put({ "if-none-match": "*" });
  const refused = first.status === 412 ? first : await put({ "if-none-match": "*" });
  if (refused.status !== 412 && refused.status !== 409) return false;
  const { status } = await put({ "if-match": '"00000000000000000000000000000000"' });
  return status === 412 || status === 409;
}
