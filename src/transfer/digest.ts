import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";

/** What bytes are. */
export interface Digest {
  /** 64 hex digits. */
  readonly sha256: string;
  /** 32 hex digits. */
  readonly md5: string;
  /** Bytes. */
  readonly size: number;
}

/** What bytes are that come in chunks. */
export async function digestOf(chunks: AsyncIterable<Uint8Array>): Promise<Digest> {
  const [sha256, md5] = [createHash("sha256"), createHash("md5")];
  let size = 0;
  for await (const chunk of chunks) {
    sha256.update(chunk);
    md5.update(chunk);
    size += chunk.length;
  }
  return { sha256: sha256.digest("hex"), md5: md5.digest("hex"), size };
}

/** What the bytes of a file of this machine are. @throws ErrnoException */
export function digestOfFile(path: string, signal?: AbortSignal): Promise<Digest> {
  return digestOf(createReadStream(path, { highWaterMark: 1024 * 1024, ...(signal ? { signal } : {}) }));
}
