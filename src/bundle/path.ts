import { closeSync, openSync, readSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { MANIFEST } from "./layout.ts";

/** Whether a path or `file:` URL, as typed, is one for a bundle. */
export function isBundlePath(text: string): boolean {
  return /\.tar$/i.test(text) && (!/^[a-z][a-z0-9+.-]+:\/\//i.test(text) || /^file:/i.test(text));
}

/** Whether there is a bundle at a path or `file:` URL, as typed: a tar that begins with a manifest. */
export function isBundle(text: string): boolean {
  if (!isBundlePath(text)) return false;
  const head = Buffer.alloc(MANIFEST.length + 1);
  try {
    const fd = openSync(/^file:/i.test(text) ? fileURLToPath(text) : text, "r");
    try {
      readSync(fd, head);
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
  return head.toString("latin1") === `${MANIFEST}\0`;
}
