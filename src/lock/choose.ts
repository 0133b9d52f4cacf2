import { SourceError } from "../errors.ts";
import type { LockedPackage, LockFile, Skipped } from "./lock-file.ts";

/** Which parts of a lock file are wanted; everything where a list is empty. */
export interface LockChoice {
  /** Names of environments; of conda-lock's categories too. */
  readonly environments: readonly string[];
  /** Platforms by their name in the file or by subdir. */
  readonly platforms: readonly string[];
}

/**
 * The packages of the wanted environments and platforms, each once, and what of them is no conda package.
 * @throws SourceError NOT_FOUND when the file has none of what is asked for
 */
export function choosePackages(
  lock: LockFile,
  { environments, platforms }: LockChoice,
  what: string,
): { readonly packages: readonly LockedPackage[]; readonly skipped: readonly Skipped[] } {
  const all = lock.environments;
  const categories = [...new Set(all.flatMap((e) => e.packages.flatMap((p) => p.category ?? [])))];
  const names = [...new Set([...all.map((e) => e.name), ...categories])];
  needed("environment", environments, names, what);
  const named = all.filter((e) => platforms.length === 0 || fits(e, platforms));
  if (named.length === 0 && all.length > 0) {
    const there = all.flatMap((e) => e.platform ?? []);
    needed("platform", platforms, [...new Set(there)], what);
  }
  const packages = new Map<string, LockedPackage>();
  const skipped = new Map<string, Skipped>();
  for (const environment of named) {
    const whole = environments.length === 0 || environments.includes(environment.name);
    for (const one of environment.packages)
      if (whole || environments.includes(one.category ?? "")) packages.set(keyOf(one), one);
    if (whole) for (const one of environment.skipped) skipped.set(`${one.kind} ${one.location}`, one);
  }
  return { packages: [...packages.values()], skipped: [...skipped.values()] };
}

/** Equal names with other promises stay apart: they are told of when both are offered. */
function keyOf({ location, sha256, md5 }: LockedPackage): string {
  return `${location} ${sha256 ?? ""} ${md5 ?? ""}`;
}

function fits(
  { platform, subdir }: { platform: string | undefined; subdir: string | undefined },
  wanted: readonly string[],
): boolean {
  return platform === undefined || wanted.includes(platform) || (subdir !== undefined && wanted.includes(subdir));
}

function needed(kind: string, wanted: readonly string[], there: readonly string[], what: string): void {
  const missing = wanted.find((w) => !there.includes(w));
  if (missing === undefined) return;
  throw new SourceError("NOT_FOUND", {
    what: `${what}: it has no ${kind} ${missing}`,
    why: there.length === 0 ? `it names no ${kind}s` : `it has ${there.join(", ")}`,
    next: `choose among these with --${kind}, or leave the flag out to take all`,
  });
}
