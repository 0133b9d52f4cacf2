import { redactUrl } from "../transfer/redact.ts";
import { badLock } from "./bad-lock.ts";
import { isTable, promisesOf, textOf } from "./fields.ts";
import type { LockedPackage, LockFile, Skipped } from "./lock-file.ts";

/**
 * What an installed environment was made of: the JSON files of its `conda-meta` folder, one a package.
 * @param files name and text of each.
 * @throws SourceError BAD_LOCK
 */
export function readCondaMeta(files: Iterable<readonly [name: string, text: string]>, what: string): LockFile {
  const packages: LockedPackage[] = [];
  const skipped: Skipped[] = [];
  for (const [name, text] of files) {
    let record: unknown;
    try {
      record = JSON.parse(text);
    } catch (e) {
      throw badLock(what, `${name} is no JSON`, e);
    }
    if (!isTable(record)) throw badLock(what, `${name} is no record of a package`);
    const [url, subdir] = [textOf(record["url"]), textOf(record["subdir"])];
    // conda notes so what was made on the spot.
    if (url === undefined || url === "<unknown>" || !/[/\\]/.test(url)) {
      skipped.push({ kind: "no-url", location: textOf(record["fn"]) ?? name });
      continue;
    }
    packages.push({
      location: url,
      relativeTo: "lock-file",
      ...promisesOf(record, redactUrl(url), what),
      ...(subdir === undefined ? {} : { subdir }),
    });
  }
  const platform = packages.map((p) => p.subdir).find((s) => s !== undefined && s !== "noarch");
  return { kind: "environment", environments: [{ name: "default", platform, subdir: platform, packages, skipped }] };
}
