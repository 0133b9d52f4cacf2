import { NO_RUN_EXPORTS } from "./run-exports.ts";

/**
 * Bytes as they cross threads: as Latin-1 text, which costs a tenth of what a buffer does. A view must never cross by
 * itself: with it goes a copy of all of the buffer that it looks at.
 */
export function sentBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/** The bytes that were sent. */
export function bytesSent(text: string): Uint8Array {
  return text === "{}" ? NO_RUN_EXPORTS : Buffer.from(text, "latin1");
}
