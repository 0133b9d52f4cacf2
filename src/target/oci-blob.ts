import { hash } from "node:crypto";
import type { Blob } from "../oci/registry.ts";
import { fileBody } from "../transfer/multipart.ts";
import type { Body } from "../transfer/response.ts";
import type { Gathered } from "./gather.ts";

/** Bytes in memory as a blob. */
export function bytesBlob(bytes: Uint8Array, sha256 = hash("sha256", bytes)): Blob {
  const part = (start: number, end: number): Body => ({
    size: end - start,
    async *open() {
      yield bytes.subarray(start, end);
    },
  });
  return { ...part(0, bytes.length), digest: `sha256:${sha256}`, part };
}

/** A file of this machine as a blob. @param sha256 of all its bytes */
export function fileBlob(path: string, size: number, sha256: string): Blob {
  return {
    ...fileBody(path, size),
    digest: `sha256:${sha256}`,
    part: (start, end) => fileBody(path, size, start, end),
  };
}

/** What was gathered as a blob. */
export function blobOf({ body, sha256 }: Gathered): Blob {
  return body instanceof Uint8Array ? bytesBlob(body, sha256) : fileBlob(body.path, body.size, sha256);
}
