import { redactUrl } from "../transfer/redact.ts";
import { badLock } from "./bad-lock.ts";
import { promisesOf, type Table, tableOf, tablesOf, textOf } from "./fields.ts";
import type { LockedEnvironment, LockedPackage, LockFile, Skipped } from "./lock-file.ts";

/**
 * conda-lock.yml (CEP 37), and pixi.lock before version 4, which has the same shape: one list of packages, each with its
 * platform. There is one environment.
 * @throws SourceError BAD_LOCK
 */
export function readCondaLock(root: Table, version: number, what: string): LockFile {
  const platforms = new Map<string, { packages: LockedPackage[]; skipped: Skipped[] }>();
  for (const [i, entry] of tablesOf(root["package"], "package", what).entries()) {
    const where = `package[${i}]`;
    const [platform, url, manager] = [textOf(entry["platform"]), textOf(entry["url"]), textOf(entry["manager"])];
    if (platform === undefined) throw badLock(what, `${where} names no platform`);
    if (url === undefined) throw badLock(what, `${where} has no url`);
    let of = platforms.get(platform);
    if (!of) {
      of = { packages: [], skipped: [] };
      platforms.set(platform, of);
    }
    if (manager === "pip" || manager === "pypi") {
      of.skipped.push({ kind: "pypi", location: textOf(entry["name"]) ?? url });
      continue;
    }
    if (manager !== "conda")
      throw badLock(what, `${where} is of a manager that is not known: ${redactUrl(String(manager))}`);
    const { sha256, md5 } = tableOf(entry["hash"], `${where}.hash`, what);
    const [subdir, category] = [textOf(entry["subdir"]), textOf(entry["category"])];
    of.packages.push({
      location: url,
      relativeTo: "lock-file",
      ...promisesOf({ sha256, md5, size: entry["size"] }, url, what),
      ...(subdir === undefined ? {} : { subdir }),
      ...(category === undefined ? {} : { category }),
    });
  }
  const environments = [...platforms].map(
    ([platform, of]): LockedEnvironment => ({ name: "default", platform, subdir: platform, ...of }),
  );
  return { kind: `conda-lock version ${version}`, environments };
}
