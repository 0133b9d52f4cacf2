import { cpSync, readdirSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { temporary } from "./folders.ts";

/** A copy of a channel's folder, with the notes beside it and the times of its files. */
export function copyOf(channel: string): string {
  const copy = join(temporary(), "channel");
  cpSync(channel, copy, { recursive: true, preserveTimestamps: true });
  return copy;
}

/** Everything in a folder, our own corner too: path to size, time and inode. */
export function everything(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).map((e) => join(e.parentPath, e.name));
  const said = (path: string) => {
    const s = statSync(path, { throwIfNoEntry: false });
    return `${s?.size}-${s?.mtimeMs}-${s?.ino}`;
  };
  return Object.fromEntries(files.sort().map((path) => [relative(folder, path), said(path)]));
}

/** "CODE subdir/file" of each finding; of shards without their hash. */
export function seen(report: {
  readonly findings: readonly { readonly code: string; readonly subdir: string; readonly fileName: string }[];
}): string[] {
  return report.findings.map((f) => `${f.code} ${f.subdir}/${f.fileName.replace(/^shards\/.*/, "shards")}`).sort();
}
