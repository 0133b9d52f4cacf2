import { createHash, hash } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import type { Blob } from "../oci/registry.ts";
import { fileBody } from "../transfer/multipart.ts";
import type { Body } from "../transfer/response.ts";
import type { Pieces } from "./store.ts";

/** Larger content waits in a file, since its digest must be known before it is sent. */
const IN_MEMORY = 8 * 1024 * 1024;

/** Bytes in memory as a blob. */
export function bytesBlob(bytes: Uint8Array): Blob {
  const part = (start: number, end: number): Body => ({
    size: end - start,
    async *open() {
      yield bytes.subarray(start, end);
    },
  });
  return { ...part(0, bytes.length), digest: `sha256:${hash("sha256", bytes)}`, part };
}

/** A file of this machine as a blob. @param sha256 of all its bytes */
export function fileBlob(path: string, size: number, sha256: string): Blob {
  return {
    ...fileBody(path, size),
    digest: `sha256:${sha256}`,
    part: (start, end) => fileBody(path, size, start, end),
  };
}

/** What comes in pieces as a blob; `drop` gives up the file that it waits in. */
export async function gathered(
  pieces: Pieces,
  newPath: () => Promise<string>,
): Promise<{ readonly blob: Blob; drop(): Promise<void> }> {
  const sha256 = createHash("sha256");
  const parts: Uint8Array[] = [];
  let size = 0;
  let path: string | undefined;
  let file: FileHandle | undefined;
  const drop = async () => {
    if (path !== undefined) await rm(path, { force: true });
  };
  try {
    for await (const piece of pieces) {
      sha256.update(piece);
      size += piece.length;
      if (!file && size > IN_MEMORY) {
        path = await newPath();
        file = await open(path, "wx");
        for (const part of parts.splice(0)) await file.writeFile(part);
      }
      if (file) await file.writeFile(piece);
      else parts.push(Buffer.from(piece));
    }
    if (path === undefined) return { blob: bytesBlob(Buffer.concat(parts)), drop };
    return { blob: fileBlob(path, size, sha256.digest("hex")), drop };
  } catch (e) {
    await drop();
    throw e;
  } finally {
    await file?.close();
  }
}
