import type { Repodata } from "./repodata.ts";
import { forgetView } from "./summary.ts";

/**
 * Gives the memory of a large index back at once, instead of when the garbage collector comes by: the next one is about to be
 * read. The bytes must be nobody else's; nothing that shares them can be used afterwards.
 */
export function letGo(bytes: Uint8Array): void {
  forgetView();
  const { buffer, byteLength } = bytes;
  // What lies in node's pool of small buffers is not ours alone.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength && byteLength >= LARGE) buffer.transfer(0);
}

/** The same for an index that was read, and where things lie in it. */
export function letGoIndex({ bytes, maps }: Repodata): void {
  letGo(bytes);
  for (const { spans } of Object.values(maps)) letGo(new Uint8Array(spans.buffer, spans.byteOffset, spans.byteLength));
}

const LARGE = 1024 * 1024;
