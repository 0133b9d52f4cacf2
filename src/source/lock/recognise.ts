import { closeSync, openSync, readSync, statSync } from "node:fs";
import { formatOf } from "../../conda/file-name.ts";
import { baseName } from "../../lock/fields.ts";

/** Whether a path or URL, as typed, is of a lock file: by its name, or by what a file begins with. */
export function isLock(text: string): boolean {
  const name = baseName(text);
  if (/^(?:.*\.lock|.*-lock\.ya?ml)$/i.test(name)) return true;
  if (/^[a-z][a-z0-9+.-]+:/i.test(text)) return false;
  if (name === "conda-meta") return isFolder(text);
  return /\.(?:ya?ml|txt|lock|json)$/i.test(name) && looksLikeLock(text);
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Whether a file begins as lock files do. */
function looksLikeLock(path: string): boolean {
  if (formatOf(path) || statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return false;
  const head = Buffer.alloc(64 * 1024);
  try {
    const fd = openSync(path, "r");
    try {
      const text = head.toString("utf8", 0, readSync(fd, head));
      if (/^\s*\[/.test(text)) return /"dist_name"/.test(text);
      return /^[ \t]*@EXPLICIT[ \t]*\r?$/m.test(text) || /^(?:version: *\d+|package:|packages:)[ \t]*\r?$/m.test(text);
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}
