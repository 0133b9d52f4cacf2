import { hash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { knownSubdirs } from "../conda/subdirs.ts";
import { TargetError, TransferError } from "../errors.ts";
import { parseS3Address, type S3Address } from "../s3/address.ts";
import { openS3Client, type S3Client } from "../s3/client.ts";
import { type LastingKeys, s3KeyProvider } from "../s3/credentials.ts";
import { S3Failure } from "../s3/failure.ts";
import { findListed, type ListedObject, listAll, listPage } from "../s3/list.ts";
import { openMultipart } from "../s3/multipart.ts";
import { deleteObject, type Expectation, getObject, headObject, keepsConditions, putObject } from "../s3/object.ts";
import { openS3Object } from "../s3/place.ts";
import { s3Placer } from "../s3/placer.ts";
import { type Digest, digestOf, digestOfFile } from "../transfer/digest.ts";
import { fileBody } from "../transfer/multipart.ts";
import type { PlacerPlan } from "../transfer/placer.ts";
import { pool } from "../transfer/pool.ts";
import { OWN_FOLDER } from "./folder.ts";
import { gather } from "./gather.ts";
import { incomingLeftovers, makeIncoming, removeIncoming } from "./incoming.ts";
import type { TargetContext } from "./kinds.ts";
import { objectHeaders } from "./object-headers.ts";
import { cornerOf } from "./s3-corner.ts";
import { type NewFile, type Precondition, PreconditionFailed, type Store, type StoredFile } from "./store.ts";

/** A larger file is read while it is sent. */
const WHOLE = 256 * 1024;

/** A larger file goes in parts. */
const IN_PARTS = 32 * 1024 * 1024;

/** Shards that are written, or names that are asked for, at the same time. */
const AT_ONCE = 16;

/** Fewer files than this are written without a look at what is there. */
const FEW = 16;

/**
 * A channel in a bucket of S3, or of a server that speaks its protocol. Nothing locks a bucket: every index is written on the
 * condition that it still is what was merged into.
 * @throws TargetError when there is no such bucket, or the keys are not those of the server
 */
export async function openS3(text: string, context: TargetContext): Promise<Store> {
  const address = parseS3Address(text);
  const { env, s3, warn } = context;
  const url = `s3://${address.bucket}/${address.prefix}`.replace(/\/$/, "");
  const keys = s3KeyProvider({ env, store: context.credentials, url, anonymous: s3.anonymous });
  const client = openS3Client(address, {
    endpoint: s3.endpoint,
    region: s3.region,
    addressingStyle: s3.addressingStyle,
    keys,
    requests: context.requests,
    connections: Math.max(context.concurrency, AT_ONCE),
    retryAttempts: context.retryAttempts,
    clock: context.clock,
  });
  try {
    return storeOver(client, context, await mayList(client, warn), address, keys);
  } catch (e) {
    await client.close();
    throw asTargetError(e);
  }
}

/** Whether the bucket may be listed. Asked first, since the answer also tells whether there is a bucket, and who we are. */
async function mayList(client: S3Client, warn: (message: string) => void): Promise<boolean> {
  try {
    await listPage(client, { folder: "", limit: 1 });
    return true;
  } catch (e) {
    if (!(e instanceof S3Failure) || e.status !== 403 || e.s3Code !== "AccessDenied") throw e;
    warn(
      `${client.where}: these keys may not list the bucket, so that what is missing can't be told from what is forbidden; grant s3:ListBucket`,
    );
    return false;
  }
}

function storeOver(
  client: S3Client,
  context: TargetContext,
  canList: boolean,
  address: S3Address,
  keys: LastingKeys,
): Store {
  const multipart = openMultipart(client, `${OWN_FOLDER}/uploads/`);
  let staging: Promise<string> | undefined;
  let corner: Promise<string | undefined> | undefined;
  let temporaries = 0;
  let conditions: Promise<boolean> | undefined;
  let swept: Promise<number> | undefined;

  const theCorner = (): Promise<string | undefined> => {
    corner ??= cornerOf(context.env, `${client.place().endpoint ?? ""} ${client.where}`);
    return corner;
  };
  const theStaging = (): Promise<string> => {
    staging ??= theCorner().then((own) => makeIncoming(own ?? join(tmpdir(), `meso-forge-mirror-${userId()}`)));
    return staging;
  };
  /** Where listing is forbidden, what is missing is told as forbidden. */
  const orMissing = async <T>(work: () => Promise<T | undefined>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (e) {
      const missing = !canList && e instanceof S3Failure && e.status === 403 && /^(?:AccessDenied)?$/.test(e.s3Code);
      if (missing) return undefined;
      throw asTargetError(e);
    }
  };
  const keepsThem = (): Promise<boolean> => {
    conditions ??= keepsConditions(client, `${OWN_FOLDER}/conditions.txt`).then((keeps) => {
      if (!keeps)
        context.warn(
          `${client.where}: this server keeps no conditions on writes (If-None-Match, If-Match): let no two runs write to it at the same time`,
        );
      return keeps;
    });
    return conditions;
  };
  let placing: Promise<PlacerPlan | undefined> | undefined;
  /** Keys that end are left to the main thread, which asks for new ones. */
  const makePlacer = async (): Promise<PlacerPlan | undefined> => {
    if (!(await keepsThem())) return undefined;
    const now = await keys();
    if (!keys.lasting()) return undefined;
    const headers = [".conda", ".tar.bz2"].map((ending) => [ending, objectHeaders(`noarch/x${ending}`)] as const);
    return s3Placer({ address, place: client.place(), keys: now, headers });
  };
  const statOf = (path: string, signal?: AbortSignal): Promise<StoredFile | undefined> =>
    orMissing(async () => {
      const head = await headObject(client, path, signal);
      if (!head) return undefined;
      const modified = Date.parse(head.headers.get("last-modified") ?? "");
      return { path, size: head.size, version: head.etag, ...(Number.isNaN(modified) ? {} : { modified }) };
    });

  /** Writes what is in memory or in a file of this machine. */
  const write = async (
    path: string,
    body: Uint8Array | { readonly path: string; readonly size: number },
    { sha256, md5 }: { readonly sha256: string; readonly md5?: string },
    expect: Precondition,
    signal?: AbortSignal,
  ): Promise<string> => {
    const known = md5 === undefined ? {} : { "x-amz-meta-package-sha256": sha256, "x-amz-meta-package-md5": md5 };
    const object = { key: path, headers: { ...objectHeaders(path), ...known }, sha256, expect: asExpectation(expect) };
    if (expect !== "any" && !(await keepsThem())) {
      const there = await statOf(path, signal);
      if (expect === "absent" ? there : there?.version !== expect.version) throw new PreconditionFailed(path);
      object.expect = "any";
    }
    let etag: string | undefined;
    if (body instanceof Uint8Array) etag = await putObject(client, { ...object, body }, signal);
    else if (body.size > IN_PARTS) etag = await multipart.put({ ...object, path: body.path, size: body.size }, signal);
    else if (body.size <= WHOLE) etag = await putObject(client, { ...object, body: await readFile(body.path) }, signal);
    else etag = await putObject(client, { ...object, body: fileBody(body.path, body.size) }, signal);
    if (etag === undefined) throw new PreconditionFailed(path);
    return etag;
  };

  const store: Store = {
    where: client.where,
    lockless: true,
    anyFile: true,
    async folders(signal) {
      const found = new Set<string>();
      if (!canList) {
        const has = async (subdir: string) => {
          if (await statOf(`${subdir}/repodata.json`, signal)) found.add(subdir);
        };
        for await (const _ of pool(knownSubdirs(), AT_ONCE, has, signal ?? NEVER));
        return [...found].sort();
      }
      try {
        let next: string | undefined;
        do {
          const page = await listPage(client, { folder: "", next }, signal);
          for (const folder of page.folders) found.add(folder);
          next = page.next;
        } while (next !== undefined);
      } catch (e) {
        throw asTargetError(e);
      }
      return [...found].sort();
    },
    stat: statOf,
    async find(folder, fileNames, signal) {
      if (canList && fileNames.length > AT_ONCE) {
        const there = await findListed(client, `${folder}/`, fileNames, signal).catch((e) => {
          throw asTargetError(e);
        });
        return new Map([...there].map(([fileName, object]) => [fileName, stored(object)]));
      }
      const found = new Map<string, StoredFile>();
      const look = async (fileName: string) => {
        const there = await statOf(`${folder}/${fileName}`, signal);
        if (there) found.set(fileName, there);
      };
      for await (const _ of pool(fileNames, AT_ONCE, look, signal ?? NEVER));
      return found;
    },
    async *list(folder, signal, only) {
      try {
        for await (const object of listAll(client, `${folder}/`, signal))
          if (only?.(object.key.slice(folder.length + 1)) !== false) yield stored(object);
      } catch (e) {
        throw asTargetError(e);
      }
    },
    get: (path, signal) =>
      orMissing(async () => {
        const object = await getObject(client, path, signal);
        return object && { bytes: object.bytes, version: object.etag };
      }),
    digest: (path, signal) =>
      orMissing(async () => {
        const head = await headObject(client, path, signal);
        if (!head) return undefined;
        const sha256 = head.headers.get("x-amz-meta-package-sha256")?.toLowerCase() ?? "";
        const md5 = head.headers.get("x-amz-meta-package-md5")?.toLowerCase() ?? "";
        if (/^[0-9a-f]{64}$/.test(sha256) && /^[0-9a-f]{32}$/.test(md5)) return { sha256, md5, size: head.size };
        return digestOfObject(client, path, signal);
      }),
    async put(path, body, expect, signal, after) {
      try {
        if (body instanceof Uint8Array) {
          await after;
          return await write(path, body, { sha256: hash("sha256", body) }, expect, signal);
        }
        if ("stagedPath" in body) {
          const facts = body.facts ?? (await digestOfFile(body.stagedPath));
          return await write(path, { path: body.stagedPath, size: facts.size }, facts, expect, signal);
        }
        const spool = async () => join(await theStaging(), `index-${temporaries++}`);
        const gathered = await gather(body, spool);
        try {
          await after;
          return await write(path, gathered.body, gathered, expect, signal);
        } finally {
          await gathered.drop();
        }
      } catch (e) {
        throw e instanceof PreconditionFailed ? e : asTargetError(e);
      }
    },
    async putNew(prefix, files, signal) {
      try {
        const first: NewFile[] = [];
        const iterator = files[Symbol.iterator]();
        for (let next = iterator.next(); !next.done; next = iterator.next()) {
          first.push(next.value);
          if (first.length === FEW) break;
        }
        /** One listing costs less than writing everything again. */
        const sizes = new Map<string, number>();
        if (first.length === FEW && canList) {
          const folders = new Set(first.map((f) => f.path.slice(0, f.path.lastIndexOf("/") + 1)));
          for (const folder of folders)
            for await (const { key, size } of listAll(client, prefix + folder, signal)) sizes.set(key, size);
        }
        const all = (function* () {
          yield* first;
          for (let next = iterator.next(); !next.done; next = iterator.next()) yield next.value;
        })();
        const put = async ({ path, bytes }: NewFile): Promise<void> => {
          if (sizes.get(prefix + path) === bytes.length) return;
          await write(prefix + path, bytes, { sha256: hash("sha256", bytes) }, "any", signal);
        };
        for await (const _ of pool(all, AT_ONCE, put, signal ?? NEVER));
        signal?.throwIfAborted();
      } catch (e) {
        throw asTargetError(e);
      }
    },
    async remove(path, signal) {
      await deleteObject(client, path, signal).catch((e) => {
        throw asTargetError(e);
      });
    },
    placer() {
      // What is wrong with the server is told by whoever writes to it.
      placing ??= makePlacer().catch(() => undefined);
      return placing;
    },
    staging: theStaging,
    corner: theCorner,
    placeOf(path) {
      const address = client.urlOf(path);
      if (address === undefined) return undefined;
      return { origin: client.name(path), address: { url: address }, open: openS3Object(client, path) };
    },
    async exclusive(work, signal) {
      await keepsThem();
      // What cannot be swept now, another run sweeps.
      swept ??= multipart.sweep(signal).catch(() => 0);
      await swept;
      return work();
    },
    async leftovers(remove, now, signal) {
      const uploads = canList ? await multipart.sweep(signal, remove ? undefined : "count") : 0;
      const own = await theCorner();
      const { files, bytes } = own === undefined ? { files: 0, bytes: 0 } : await incomingLeftovers(own, remove, now);
      // What an upload holds already is told by nobody.
      return { files: files + uploads + (remove ? ((await swept) ?? 0) : 0), bytes };
    },
    async close() {
      if (staging) await removeIncoming(staging);
      staging = undefined;
      await client.close();
    },
  };
  return store;
}

const NEVER = new AbortController().signal;

function userId(): string {
  return String(process.getuid?.() ?? "user");
}

function stored({ key, size, etag, modified }: ListedObject): StoredFile {
  return { path: key, size, version: etag, ...(modified === undefined ? {} : { modified }) };
}

function asExpectation(expect: Precondition): Expectation {
  return typeof expect === "object" ? { etag: expect.version } : expect;
}

/** Failures of the server, told as the target's: the exit code is 3, and the run ends with it where nothing can go on. */
function asTargetError(e: unknown): unknown {
  if (!(e instanceof TransferError)) return e;
  const code =
    e instanceof S3Failure && e.s3Code === "NoSuchBucket"
      ? "NOT_FOUND"
      : e.code === "REFUSED" || (e instanceof S3Failure && e.status < 500)
        ? "REFUSED"
        : "UNREACHABLE";
  return new TargetError(code, { what: e.what, why: e.why, next: e.next, cause: e });
}

/** Reads an object for what its bytes are, a part at a time. */
async function digestOfObject(client: S3Client, path: string, signal?: AbortSignal): Promise<Digest | undefined> {
  const response = await client.open({ method: "GET", key: path, answers: [404] }, signal);
  if (response.status === 404) {
    response.discard();
    return undefined;
  }
  return digestOf(response.chunks);
}
