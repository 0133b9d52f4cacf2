import { createHash } from "node:crypto";
import { open, rm } from "node:fs/promises";
import type { Pieces } from "./store.ts";

/** A larger file is read while it is sent. */
export const WHOLE = 256 * 1024;

/** An index file that is larger is put together on disk, since its hash must be known before it is sent. */
const IN_MEMORY = 8 * 1024 * 1024;

/** A file as a body that is read while it is sent, from its start each time. */
export function fileBody(path: string, size: number): { size: number; open(): AsyncGenerator<Uint8Array> } {
  return {
    size,
    async *open() {
      const file = await open(path, "r");
      try {
        for (let at = 0; at < size; ) {
          // Fresh each time: what was handed to a socket may not be written over.
          const room = Buffer.allocUnsafe(Math.min(WHOLE, size - at));
          const { bytesRead } = await file.read(room, 0, room.length, at);
          if (bytesRead === 0) return;
          at += bytesRead;
          yield room.subarray(0, bytesRead);
        }
      } finally {
        await file.close();
      }
    },
  };
}

export interface Gathered {
  readonly body: Uint8Array | { readonly path: string; readonly size: number };
  readonly sha256: string;
  drop(): Promise<void>;
}

/** Pieces put together: in memory while they are few, else in a file. */
export async function gather(pieces: Pieces, spool: () => Promise<string>): Promise<Gathered> {
  const sha256 = createHash("sha256");
  const parts: Uint8Array[] = [];
  let size = 0;
  let file: Awaited<ReturnType<typeof open>> | undefined;
  let path: string | undefined;
  const drop = async () => {
    if (path !== undefined) await rm(path, { force: true });
  };
  try {
    for await (const piece of pieces) {
      sha256.update(piece);
      size += piece.length;
      if (!file && size > IN_MEMORY) {
        path = await spool();
        file = await open(path, "wx");
        for (const part of parts.splice(0)) await file.writeFile(part);
      }
      if (file) await file.writeFile(piece);
      else parts.push(Buffer.from(piece));
    }
    const body = path === undefined ? Buffer.concat(parts) : { path, size };
    return { body, sha256: sha256.digest("hex"), drop };
  } catch (e) {
    await drop();
    throw e;
  } finally {
    await file?.close();
  }
}
