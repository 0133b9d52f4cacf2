import { createHash, hash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { hostname } from "node:os";
import { InterruptedError } from "../errors.ts";
import { pool } from "../transfer/pool.ts";
import type { S3Client } from "./client.ts";
import { S3Failure } from "./failure.ts";
import { bareEtag, listAll } from "./list.ts";
import { conditionsOf, deleteObject, headObject, type NewObject, putObject, UNMET, unmet } from "./object.ts";
import { asXmlText, elementsOf, textOf } from "./xml.ts";

const MiB = 1024 * 1024;

/** Bytes of a part: S3 takes 5 MiB at least. */
const PART = 8 * MiB;

/** S3 takes 10,000. */
const MOST_PARTS = 9000;

/** Parts in memory at the same time, over all uploads of a run. */
const BUFFERS = 4;

/** Notes of uploads of other machines are left alone until they are this old. */
const ABANDONED_MS = 24 * 60 * 60 * 1000;

const HOST = hostname();

export interface LargeObject extends Omit<NewObject, "body"> {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** Uploads in parts, each noted while it lasts, so that what a killed run leaves can be found and given up. */
export interface Multipart {
  /**
   * Uploads a file in parts, and makes the object of them in one step.
   * @returns its ETag without quotes; undefined when what is there is not what was expected.
   */
  put(object: LargeObject, signal?: AbortSignal): Promise<string | undefined>;
  /** Gives up uploads that runs of ours began and did not end, or only counts them. Gives how many there are. */
  sweep(signal?: AbortSignal, only?: "count"): Promise<number>;
}

/** @param notes the folder for notes, below the client's prefix; ends in "/". */
export function openMultipart(client: S3Client, notes: string): Multipart {
  const buffers = bufferPool();
  let noted = 0;

  const put: Multipart["put"] = async (object, signal) => {
    // What is there already need not be sent to find that out.
    if (object.expect === "absent" && (await headObject(client, object.key, signal))) return undefined;
    for (let again = 0; ; again++) {
      const outcome = await upload(object, signal);
      if (outcome !== "lost") return outcome;
      if (again === 2) throw lost(client.name(object.key));
    }
  };

  /** "lost" when the server knows the upload no more. */
  const upload = async (object: LargeObject, signal?: AbortSignal): Promise<string | undefined | "lost"> => {
    const { key, expect } = object;
    const write = conditionsOf(expect);
    const begun = Date.now();
    const create = await client.request(
      {
        method: "POST",
        key,
        query: { uploads: "" },
        headers: { ...object.headers, ...write.mark, "x-amz-checksum-algorithm": "SHA256" },
      },
      signal,
    );
    const uploadId = textOf(textIn(create.body), "UploadId");
    if (!uploadId) throw new S3Failure(client.name(key), 500, create.headers, create.body);
    const note = `${notes}${begun.toString(36)}-${process.pid}-${noted++}.json`;
    try {
      await writeNote(client, note, { key, uploadId, host: HOST, pid: process.pid, begun });
      if (create.tries > 1) await giveUpLost(client, key, uploadId, begun, notes);
      const parts = await sendParts(client, object, uploadId, buffers, signal);
      return await complete(client, object, uploadId, parts, write, signal);
    } catch (e) {
      if (!(e instanceof S3Failure && e.s3Code === "NoSuchUpload")) throw e;
      return "lost";
    } finally {
      // After an abort too. What can't be given up now is given up by a later run, which finds the note.
      await giveUp(client, key, uploadId)
        .then(() => deleteObject(client, note))
        .catch(() => undefined);
    }
  };
  return {
    put,
    async sweep(signal, only) {
      let count = 0;
      for await (const { key: note } of listAll(client, notes, signal)) {
        const found = await readNote(client, note, signal);
        if (found && !isOver(found)) continue;
        count++;
        if (only) continue;
        if (found) await giveUp(client, found.key, found.uploadId);
        await deleteObject(client, note, signal);
      }
      return count;
    },
  };
}

function lost(what: string): S3Failure {
  const said = "<Code>NoSuchUpload</Code><Message>the upload was ended by somebody else, again and again</Message>";
  return new S3Failure(what, 404, new Map(), Buffer.from(said));
}

interface Part {
  readonly number: number;
  readonly etag: string;
  /** Base64. */
  readonly sha256: string;
}

async function sendParts(
  client: S3Client,
  { key, path, size, sha256 }: LargeObject,
  uploadId: string,
  buffers: BufferPool,
  signal: AbortSignal = new AbortController().signal,
): Promise<Part[]> {
  const partSize = Math.max(PART, Math.ceil(size / MOST_PARTS / MiB) * MiB);
  const file = await open(path, "r");
  const stopping = new AbortController();
  const either = AbortSignal.any([signal, stopping.signal]);
  const whole = createHash("sha256");
  const parts: Part[] = [];
  let read: Promise<unknown> = Promise.resolve();
  const send = async (number: number): Promise<Part> => {
    const buffer = await buffers.take(partSize);
    try {
      const start = (number - 1) * partSize;
      const bytes = buffer.subarray(0, Math.min(partSize, size - start));
      // In order, since the whole is hashed as well: the file may not change under us.
      read = read.then(async () => {
        await readFully(file, bytes, start);
        whole.update(bytes);
      });
      await read;
      const bodySha256 = hash("sha256", bytes);
      const base64 = Buffer.from(bodySha256, "hex").toString("base64");
      const answer = await client.request(
        {
          method: "PUT",
          key,
          query: { partNumber: String(number), uploadId },
          headers: { "x-amz-checksum-sha256": base64 },
          body: bytes,
          bodySha256,
        },
        either,
      );
      return { number, etag: bareEtag(answer.headers.get("etag")), sha256: base64 };
    } finally {
      buffers.give(buffer);
    }
  };
  try {
    const numbers = Array.from({ length: Math.ceil(size / partSize) }, (_, i) => i + 1);
    try {
      for await (const part of pool(numbers, BUFFERS, send, either)) parts.push(part);
    } catch (e) {
      stopping.abort();
      throw e;
    }
    if (signal.aborted || parts.length < numbers.length) throw new InterruptedError();
    if (whole.digest("hex") !== sha256) throw new Error(`${path} changed while it was being sent`);
    return parts.sort((a, b) => a.number - b.number);
  } finally {
    await file.close();
  }
}

async function readFully(file: FileHandle, bytes: Uint8Array, start: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, at, bytes.length - at, start + at);
    if (bytesRead === 0) throw new Error("a package on its way became shorter");
    at += bytesRead;
  }
}

async function complete(
  client: S3Client,
  { key, expect }: LargeObject,
  uploadId: string,
  parts: readonly Part[],
  write: ReturnType<typeof conditionsOf>,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const list = parts.map(
    (p) =>
      `<Part><PartNumber>${p.number}</PartNumber><ETag>${asXmlText(`"${p.etag}"`)}</ETag><ChecksumSHA256>${p.sha256}</ChecksumSHA256></Part>`,
  );
  const body = Buffer.from(
    `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${list.join("")}</CompleteMultipartUpload>`,
  );
  for (let again = 0; ; again++) {
    const answer = await client.request(
      {
        method: "POST",
        key,
        query: { uploadId },
        headers: { ...write.headers, "content-type": "application/xml" },
        body,
        bodySha256: hash("sha256", body),
        answers: UNMET,
      },
      signal,
    );
    const xml = textIn(answer.body);
    if (answer.status >= 300) {
      const etag = await unmet(client, key, answer, write.id, signal);
      if (etag === undefined && textOf(xml, "Code") === "NoSuchUpload") {
        // Without a condition nothing marks what was written as ours.
        const there =
          expect === "any" && (answer.tries > 1 || again > 0) ? await headObject(client, key, signal) : undefined;
        if (there) return there.etag;
        throw new S3Failure(client.name(key), answer.status, answer.headers, answer.body);
      }
      return etag;
    }
    const etag = textOf(xml, "ETag");
    if (etag !== undefined) return bareEtag(etag);
    // The status was sent before the work was done, and the work failed.
    if (again === 2) throw new S3Failure(client.name(key), 500, answer.headers, answer.body);
  }
}

/** Ends an upload and forgets its parts; fine when it is over. */
async function giveUp(client: S3Client, key: string, uploadId: string): Promise<void> {
  await client.request({ method: "DELETE", key, query: { uploadId }, answers: [404] });
}

/** Gives up uploads of a key that were begun by requests whose answers were lost: nobody noted them. */
async function giveUpLost(client: S3Client, key: string, ours: string, begun: number, notes: string): Promise<void> {
  const { body } = await client.request({ method: "GET", query: { uploads: "", prefix: client.prefix + key } });
  const noted = new Set<string>();
  for await (const note of listAll(client, notes)) {
    const found = await readNote(client, note.key);
    if (found) noted.add(found.uploadId);
  }
  for (const one of elementsOf(textIn(body), "Upload")) {
    const uploadId = textOf(one, "UploadId");
    const since = Date.parse(textOf(one, "Initiated") ?? "");
    if (!uploadId || uploadId === ours || noted.has(uploadId) || textOf(one, "Key") !== client.prefix + key) continue;
    if (since >= begun - 60_000) await giveUp(client, key, uploadId);
  }
}

interface Note {
  readonly key: string;
  readonly uploadId: string;
  readonly host: string;
  readonly pid: number;
  /** Milliseconds since 1970. */
  readonly begun: number;
}

async function writeNote(client: S3Client, key: string, note: Note): Promise<void> {
  const body = Buffer.from(JSON.stringify(note));
  const headers = { "content-type": "application/json", "cache-control": "no-store" };
  await putObject(client, { key, headers, body, sha256: hash("sha256", body), expect: "any" });
}

async function readNote(client: S3Client, key: string, signal?: AbortSignal): Promise<Note | undefined> {
  try {
    const { status, body } = await client.request({ method: "GET", key, answers: [404] }, signal);
    const note = status === 200 ? (JSON.parse(textIn(body)) as Note | null) : null;
    return typeof note?.key === "string" && typeof note.uploadId === "string" ? note : undefined;
  } catch (e) {
    if (e instanceof SyntaxError) return undefined;
    throw e;
  }
}

function isOver({ host, pid, begun }: Note): boolean {
  if (host === HOST && Number.isInteger(pid)) {
    try {
      process.kill(pid, 0);
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === "ESRCH") return true;
    }
  }
  return !(Date.now() - begun < ABANDONED_MS);
}

interface BufferPool {
  take(bytes: number): Promise<Buffer>;
  give(buffer: Buffer): void;
}

/** A few buffers that all uploads share: memory does not grow with their number. */
function bufferPool(): BufferPool {
  const idle: Buffer[] = [];
  const waiting: (() => void)[] = [];
  let out = 0;
  return {
    async take(bytes) {
      // Who waits is handed the place of who gives one back, so that nobody overtakes: parts are read in order.
      if (out === BUFFERS) await new Promise<void>((resolve) => waiting.push(resolve));
      else out++;
      const buffer = idle.pop();
      return buffer && buffer.length >= bytes ? buffer : Buffer.allocUnsafeSlow(bytes);
    },
    give(buffer) {
      idle.push(buffer);
      const next = waiting.shift();
      if (next) next();
      else out--;
    },
  };
}

function textIn(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("utf8");
}
