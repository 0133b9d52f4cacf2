import { hash } from "node:crypto";
import { copyFileSync, type Dirent, linkSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { TEMPORARY } from "./index-gist.ts";

/** A copy of a channel whose files keep inode and time, by which they are known; but not those that are written in place. */
export function copyChannel(channel: string, copy: string): string {
  mkdirSync(copy, { recursive: true });
  for (const entry of readdirSync(channel, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const to = join(copy, relative(channel, path));
    mkdirSync(entry.isDirectory() ? to : dirname(to), { recursive: true });
    if (entry.isFile()) (isWrittenInPlace(entry) ? copyFileSync : linkSync)(path, to);
  }
  return copy;
}

/** The databases, and whatever is still being written: new shards are, under their own names. */
function isWrittenInPlace({ name, parentPath }: Dirent): boolean {
  return /^(files\.db|lock)/.test(name) || TEMPORARY.test(name) || /incoming|shards$/.test(parentPath);
}

/** All that the next run finds in a channel, our own corner included, but for what is left of temporary files. */
export function stateOf(channel: string): string {
  const files = readdirSync(channel, { recursive: true, withFileTypes: true }).filter(
    (e) => e.isFile() && !TEMPORARY.test(e.name) && !e.parentPath.includes("incoming"),
  );
  const lines = files.map((e) => {
    const path = join(e.parentPath, e.name);
    return `${relative(channel, path)} ${hash("sha256", readFileSync(path))}`;
  });
  return lines.sort().join("\n");
}
