import { badLock } from "./bad-lock.ts";
import { tablesOf, textOf } from "./fields.ts";
import type { LockedPackage, LockFile, Skipped } from "./lock-file.ts";

/**
 * What `conda list --json` prints. It tells neither archive format nor hash: both are what the channel says.
 * @throws SourceError BAD_LOCK
 */
export function readCondaList(list: unknown, what: string): LockFile {
  const packages: LockedPackage[] = [];
  const skipped: Skipped[] = [];
  for (const [i, entry] of tablesOf(list, "the list", what).entries()) {
    const [base, platform, dist] = [textOf(entry["base_url"]), textOf(entry["platform"]), textOf(entry["dist_name"])];
    if (dist === undefined) throw badLock(what, `its entry ${i + 1} has no dist_name`);
    if (platform === "pypi" || textOf(entry["channel"]) === "pypi") skipped.push({ kind: "pypi", location: dist });
    else if (base === undefined || platform === undefined || !/^https?:\/\//i.test(base))
      skipped.push({ kind: "no-url", location: dist });
    else {
      const stem = `${base.replace(/\/+$/, "")}/${platform}/${dist}`;
      const subdir = platform;
      packages.push({ location: `${stem}.conda`, orElse: `${stem}.tar.bz2`, relativeTo: "lock-file", subdir });
    }
  }
  const platform = packages.map((p) => p.subdir).find((s) => s !== undefined && s !== "noarch");
  return { kind: "conda list", environments: [{ name: "default", platform, subdir: platform, packages, skipped }] };
}
