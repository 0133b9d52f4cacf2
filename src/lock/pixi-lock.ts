import { formatOf, isSubdir } from "../conda/file-name.ts";
import { redactUrl } from "../transfer/redact.ts";
import { badLock } from "./bad-lock.ts";
import { baseName, promisesOf, type Table, tableOf, tablesOf, textOf } from "./fields.ts";
import type { LockedEnvironment, LockedPackage, LockFile, Skipped } from "./lock-file.ts";

/**
 * pixi.lock versions 4 to 7: environments select entries of one list of packages by their URL or path
 * (rattler_lock: parse/deserialize.rs). Versions 4 and 5 say `kind: conda` and `url`, later ones `conda: <url>`; from 7
 * on a platform is a name of its own, which `platforms` maps to a subdir.
 * @throws SourceError BAD_LOCK
 */
export function readPixiLock(root: Table, version: number, what: string): LockFile {
  const packages = new Map<string, LockedPackage>();
  for (const [i, entry] of tablesOf(root["packages"], "packages", what).entries()) {
    const location = textOf(version <= 5 ? entry["kind"] === "conda" && entry["url"] : entry["conda"]);
    if (location === undefined || location === "false") continue;
    const read = lockedPackage(location, entry, what);
    const same = packages.get(location);
    if (same && (differ(same.sha256, read.sha256) || differ(same.md5, read.md5)))
      throw badLock(what, `packages[${i}] promises other bytes for ${redactUrl(location)} than an earlier entry`);
    packages.set(location, { ...read, ...same });
  }
  const subdirs = platformsOf(root, what);
  const environments: LockedEnvironment[] = [];
  for (const [name, environment] of Object.entries(tableOf(root["environments"], "environments", what))) {
    const where = `environments.${name}`;
    const byPlatform = tableOf(tableOf(environment, where, what)["packages"], `${where}.packages`, what);
    for (const [platform, selected] of Object.entries(byPlatform)) {
      const chosen: LockedPackage[] = [];
      const skipped: Skipped[] = [];
      for (const one of tablesOf(selected, `${where}.packages.${platform}`, what)) {
        const location = textOf(one["conda"]);
        if (location === undefined) skipped.push(notConda(one, `${where}.packages.${platform}`, what));
        // Before version 7, a path without an archive's name is a folder to build a package from.
        else if (!formatOf(baseName(location))) skipped.push({ kind: "source", location });
        else {
          const found = packages.get(location);
          if (!found) throw badLock(what, `${where} names ${redactUrl(location)}, which is not among its packages`);
          chosen.push(found);
        }
      }
      const subdir = subdirs.get(platform) ?? (isSubdir(platform) ? platform : undefined);
      environments.push({ name, platform, subdir, packages: chosen, skipped });
    }
    // An environment without packages is there all the same, and may be asked for.
    if (Object.keys(byPlatform).length === 0)
      environments.push({ name, platform: undefined, subdir: undefined, packages: [], skipped: [] });
  }
  return { kind: `pixi.lock version ${version}`, environments };
}

function lockedPackage(location: string, entry: Table, what: string): LockedPackage {
  const subdir = textOf(entry["subdir"]);
  return {
    location,
    relativeTo: "lock-file",
    ...promisesOf(entry, location, what),
    ...(subdir === undefined ? {} : { subdir }),
  };
}

function platformsOf(root: Table, what: string): ReadonlyMap<string, string> {
  const subdirs = new Map<string, string>();
  for (const platform of tablesOf(root["platforms"], "platforms", what)) {
    const name = textOf(platform["name"]);
    const subdir = textOf(platform["subdir"]) ?? name;
    if (name !== undefined && subdir !== undefined) subdirs.set(name, subdir);
  }
  return subdirs;
}

function notConda(one: Table, where: string, what: string): Skipped {
  const pypi = textOf(one["pypi"]);
  if (pypi !== undefined) return { kind: "pypi", location: pypi };
  const source = textOf(one["conda_source"]);
  if (source !== undefined) return { kind: "source", location: source };
  throw badLock(what, `${where} has an entry of a kind that is not known: ${Object.keys(one).join(", ")}`);
}

function differ(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && a !== b;
}
