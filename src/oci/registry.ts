import { hash } from "node:crypto";
import { TransferError } from "../errors.ts";
import type { ApiAnswer, ApiClient, ApiRequest } from "../transfer/api.ts";
import type { HttpClient } from "../transfer/http.ts";
import type { Open } from "../transfer/place.ts";
import type { Body } from "../transfer/response.ts";
import { type RetryOptions, withRetries } from "../transfer/retry.ts";
import { failed, manifestRefused } from "./answers.ts";
import type { Actions, Authority } from "./authority.ts";

/** A blob, as manifests name it (OCI image-spec "descriptor"). */
export interface Descriptor {
  readonly mediaType: string;
  /** "sha256:" and 64 hex digits. */
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Manifest {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A manifest as it is there, and what it is called by its content. */
export interface FoundManifest {
  readonly manifest: Manifest;
  readonly digest: string;
}

/** A body that parts of can be sent. */
export interface Blob extends Body {
  /** "sha256:" and 64 hex digits. */
  readonly digest: string;
  /** Some of its bytes. */
  part(start: number, end: number): Body;
}

/** What one registry is asked for (OCI distribution-spec 1.1). */
export interface Registry {
  /** @throws TransferError; SERVER_ERROR where it is no manifest of one image */
  manifest(repository: string, reference: string, signal: AbortSignal): Promise<FoundManifest | undefined>;
  /** Gives its digest. */
  putManifest(repository: string, tag: string, manifest: Manifest, signal: AbortSignal): Promise<string>;
  /**
   * Removes a manifest, with every tag that it has. Many registries let nobody do so, or not these credentials.
   * @param digest "sha256:" and 64 hex digits.
   * @throws TransferError
   */
  removeManifest(repository: string, digest: string, signal: AbortSignal): Promise<void>;
  /** Sends a blob that is not there yet. False when it was. */
  putBlob(repository: string, blob: Blob, signal: AbortSignal): Promise<boolean>;
  /** A blob that fits into memory, checked against its digest. */
  blob(repository: string, wanted: Descriptor, signal: AbortSignal): Promise<Uint8Array>;
  /** Opens a blob as it is, for whoever checks it. */
  openBlob(repository: string, digest: string): Open;
}

export interface RegistryOptions {
  /** Origin, such as "https://ghcr.io". */
  readonly registry: string;
  readonly api: ApiClient;
  readonly http: HttpClient;
  readonly authority: Authority;
  readonly retry: Omit<RetryOptions, "signal">;
  /** What is asked for leave to do, also where it only reads: whoever may push sees what is missing as missing. Default: "pull". */
  readonly actions?: Actions;
  /** Larger blobs are sent in parts of this size. Default: 64 MiB, for proxies that take no larger requests. */
  readonly partBytes?: number;
}

export const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const PART = 64 * 1024 * 1024;
const MOST_MANIFEST = 4 * 1024 * 1024;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function openRegistry(options: RegistryOptions): Registry {
  const { registry, api, http, authority, retry } = options;
  const usual = options.actions ?? "pull";
  const partBytes = options.partBytes ?? PART;

  /** One request that the registry may first want to know more for. Statuses that are no answer to it are errors. */
  const once = async (
    repository: string,
    request: ApiRequest,
    answers: readonly number[],
    signal: AbortSignal,
    actions = usual,
  ): Promise<ApiAnswer> => {
    const known = new URL(request.url).origin === registry ? authority.current(repository, actions) : undefined;
    const send = (authorization: string | undefined) =>
      api.send(
        {
          ...request,
          anonymous: true,
          headers: { ...request.headers, ...(authorization === undefined ? {} : { authorization }) },
        },
        signal,
      );
    let answer = await send(known);
    if (answer.status === 401 && new URL(request.url).origin === registry) {
      const header = await authority.answer(answer.headers.get("www-authenticate"), repository, actions, signal);
      if (header !== known) answer = await send(header);
    }
    if (answers.includes(answer.status)) return answer;
    throw failed(new URL(request.url), answer);
  };
  const again = <T>(work: () => Promise<T>, signal: AbortSignal) => withRetries(work, { ...retry, signal });
  /**
   * Blobs on their way, by repository and digest. While one that is there is written once more, distribution 3 does not find it, and
   * refuses a manifest that names it: versions of a package have some in common.
   */
  const underway = new Map<string, Promise<boolean>>();
  const at = (repository: string, rest: string) => `${registry}/v2/${repository}/${rest}`;

  /** Where an upload goes on: on the same server, unless it names another that speaks TLS. */
  const located = (answer: ApiAnswer, from: string): string => {
    const to = answer.headers.get("location");
    const url = to === undefined ? undefined : new URL(to, from);
    if (url && (url.origin === registry || url.protocol === "https:")) return url.toString();
    throw new TransferError(
      "BAD_REDIRECT",
      {
        what: from,
        why: url ? `it sends an upload to ${url.origin}, without TLS` : "it names no place to upload to",
        next: "tell whoever runs the registry",
      },
      { mayPass: false },
    );
  };

  const upload = async (repository: string, blob: Blob, signal: AbortSignal): Promise<void> => {
    const begun = await once(
      repository,
      { method: "POST", url: at(repository, "blobs/uploads/"), headers: { "content-length": "0" } },
      [202],
      signal,
    );
    let to = located(begun, at(repository, "blobs/uploads/"));
    const type = { "content-type": "application/octet-stream" };
    try {
      let rest: Body | undefined = blob;
      if (blob.size > partBytes) {
        for (let start = 0; start < blob.size; start += partBytes) {
          const end = Math.min(start + partBytes, blob.size);
          const headers = { ...type, "content-range": `${start}-${end - 1}` };
          const request: ApiRequest = { method: "PATCH", url: to, headers, body: blob.part(start, end) };
          to = located(await once(repository, request, [202], signal), to);
        }
        rest = undefined;
      }
      const url = new URL(to);
      url.searchParams.set("digest", blob.digest);
      const headers = rest ? type : { ...type, "content-length": "0" };
      const request: ApiRequest = { method: "PUT", url: url.toString(), headers, ...(rest ? { body: rest } : {}) };
      const done = await once(repository, request, [201], signal);
      same(done, blob.digest);
    } catch (e) {
      // Registries drop what is unfinished by themselves, some after a week.
      await once(repository, { method: "DELETE", url: to }, [204, 404], AbortSignal.timeout(5000)).catch(
        () => undefined,
      );
      throw e;
    }
  };

  return {
    async manifest(repository, reference, signal) {
      const request: ApiRequest = {
        method: "GET",
        url: at(repository, `manifests/${reference}`),
        headers: { accept: `${MANIFEST}, ${DOCKER_MANIFEST}` },
        maxAnswerBytes: MOST_MANIFEST,
      };
      const answer = await again(() => once(repository, request, [200, 404], signal), signal);
      if (answer.status === 404) return undefined;
      const manifest = readManifest(answer.body);
      if (!manifest) throw odd(request.url, "what it gives is no manifest of an image");
      return { manifest, digest: `sha256:${hash("sha256", answer.body)}` };
    },
    async putManifest(repository, tag, manifest, signal) {
      const body = Buffer.from(JSON.stringify(manifest));
      const digest = `sha256:${hash("sha256", body)}`;
      const headers = { "content-type": manifest.mediaType ?? MANIFEST };
      const request: ApiRequest = { method: "PUT", url: at(repository, `manifests/${tag}`), headers, body };
      const put = async () => {
        const answer = await once(repository, request, [201, 400, 404], signal);
        if (answer.status !== 201) throw manifestRefused(new URL(request.url), answer);
        same(answer, digest);
      };
      await again(put, signal);
      return digest;
    },
    async removeManifest(repository, digest, signal) {
      const request: ApiRequest = { method: "DELETE", url: at(repository, `manifests/${digest}`) };
      await again(() => once(repository, request, [200, 202, 204, 404], signal, "pull,push,delete"), signal);
    },
    putBlob(repository, blob, signal) {
      const key = `${repository}@${blob.digest}`;
      const going = underway.get(key);
      if (going) return going;
      const put = again(async () => {
        const url = at(repository, `blobs/${blob.digest}`);
        const there = await once(repository, { method: "HEAD", url }, [200, 404], signal);
        if (there.status === 200) return false;
        await upload(repository, blob, signal);
        return true;
      }, signal).finally(() => underway.delete(key));
      underway.set(key, put);
      return put;
    },
    async blob(repository, wanted, signal) {
      const request: ApiRequest = {
        method: "GET",
        url: at(repository, `blobs/${wanted.digest}`),
        maxAnswerBytes: wanted.size,
      };
      return again(async () => {
        const { body } = await once(repository, request, [200], signal);
        if (`sha256:${hash("sha256", body)}` !== wanted.digest) {
          const why = `expected ${wanted.digest}, got other bytes (${body.length})`;
          throw new TransferError("HASH_MISMATCH", { what: request.url, why, next: "run again" }, { mayPass: true });
        }
        return body;
      }, signal);
    },
    openBlob(repository, digest) {
      const url = at(repository, `blobs/${digest}`);
      return async (request, signal) => {
        const authorization = authority.current(repository, usual);
        try {
          return await http.get(authorization === undefined ? url : { url, authorization }, request, signal);
        } catch (e) {
          if (!(e instanceof TransferError) || e.code !== "REFUSED") throw e;
        }
        // Its header tells where tokens are to be had; a request without a body gets it.
        const header = await authorityAfresh(repository, url, signal);
        return http.get({ url, authorization: header }, request, signal);
      };
    },
  };

  async function authorityAfresh(repository: string, url: string, signal: AbortSignal): Promise<string> {
    const answer = await api.send({ method: "HEAD", url, anonymous: true, follow: false }, signal);
    if (answer.status !== 401) throw failed(new URL(url), answer);
    return authority.answer(answer.headers.get("www-authenticate"), repository, usual, signal);
  }
}

function same(answer: ApiAnswer, digest: string): void {
  const said = answer.headers.get("docker-content-digest");
  if (said === undefined || said === digest || !DIGEST.test(said)) return;
  throw new TransferError(
    "HASH_MISMATCH",
    { what: answer.url, why: `we sent ${digest}, the registry has ${said}`, next: "run again" },
    { mayPass: true },
  );
}

/** A manifest of one image; undefined for anything else, lists of manifests among it. */
function readManifest(bytes: Uint8Array): Manifest | undefined {
  try {
    const value = JSON.parse(Buffer.from(bytes).toString("utf8")) as Manifest;
    if (!isDescriptor(value.config) || !Array.isArray(value.layers) || !value.layers.every(isDescriptor))
      return undefined;
    return value;
  } catch {
    return undefined;
  }
}

function isDescriptor(value: unknown): value is Descriptor {
  const d = value as Partial<Descriptor> | null | undefined;
  const known = typeof d?.mediaType === "string" && typeof d.digest === "string" && DIGEST.test(d.digest);
  return known && Number.isSafeInteger(d.size) && (d.size as number) >= 0;
}

function odd(what: string, why: string): TransferError {
  return new TransferError("SERVER_ERROR", { what, why, next: "check what lies under this name" }, { mayPass: false });
}
