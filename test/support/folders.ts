import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { after } from "node:test";
import type { BuiltPackage } from "../packages/builder.ts";

/** A new folder that goes when the test file has ended. */
export function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), "mfm-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** From now on what this file's runs leave lies in a folder of temporary files of their own; gives what is left there. */
export function watchLeftovers(): () => string[] {
  const own = temporary();
  process.env["TMPDIR"] = own;
  return () => readdirSync(own).filter((f) => /^(mfm-scratch|meso-forge-mirror)-/.test(f));
}

/** Writes packages into a folder and gives their paths. */
export function written(folder: string, packages: readonly BuiltPackage[]): string[] {
  return packages.map((p) => {
    const path = join(folder, p.fileName);
    writeFileSync(path, p.bytes);
    return path;
  });
}

/** Every file below a folder that a client could see: path to "size-mtime". Our own corner is left out. */
export function visible(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  return Object.fromEntries(
    files
      .map((e) => join(e.parentPath, e.name))
      .map((path) => [relative(folder, path).replaceAll("\\", "/"), path] as const)
      .filter(([name]) => !name.startsWith(".meso-forge-mirror/"))
      .sort()
      .map(([name, path]) => [name, `${statSync(path).size}-${statSync(path).mtimeMs}`]),
  );
}

/** A subdir's index, parsed. */
export function repodata(channel: string, subdir: string): RepodataJson {
  return JSON.parse(readFileSync(join(channel, subdir, "repodata.json"), "utf8")) as RepodataJson;
}

export interface RepodataJson {
  readonly info: { readonly subdir: string };
  readonly packages: Record<string, Record<string, unknown>>;
  readonly "packages.conda": Record<string, Record<string, unknown>>;
  readonly removed: string[];
  readonly [key: string]: unknown;
}

/** The names of all packages that a channel's index lists in a subdir. */
export function listed(channel: string, subdir: string): string[] {
  const index = repodata(channel, subdir);
  return [...Object.keys(index.packages), ...Object.keys(index["packages.conda"])].sort();
}
