import { createHash } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import type { Pieces } from "./store.ts";

/** More waits in a file, since its hash must be known before it is sent. */
const IN_MEMORY = 8 * 1024 * 1024;

export interface Gathered {
  readonly body: Uint8Array | { readonly path: string; readonly size: number };
  readonly sha256: string;
  /** Gives up the file that it waits in. */
  drop(): Promise<void>;
}

/** Pieces put together: in memory while they are few, else in a file. @param newPath a name for it */
export async function gather(pieces: Pieces, newPath: () => Promise<string>): Promise<Gathered> {
  const sha256 = createHash("sha256");
  const parts: Uint8Array[] = [];
  let size = 0;
  let file: FileHandle | undefined;
  let path: string | undefined;
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
    const body = path === undefined ? Buffer.concat(parts) : { path, size };
    return { body, sha256: sha256.digest("hex"), drop };
  } catch (e) {
    await drop();
    throw e;
  } finally {
    await file?.close();
  }
}
