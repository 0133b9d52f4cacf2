import { formatOf, isSubdir } from "../conda/file-name.ts";
import { redactUrl } from "../transfer/redact.ts";
import { badLock } from "./bad-lock.ts";
import { baseName, promisesOf } from "./fields.ts";
import type { LockedPackage, LockFile, Skipped } from "./lock-file.ts";

/** Whether a text is a list of URLs as `conda list --explicit` writes it. */
export function isExplicit(text: string): boolean {
  return /^[ \t]*@EXPLICIT[ \t]*\r?$/m.test(text);
}

/**
 * `@EXPLICIT` text (CEP 23): a URL or path a line, each with an optional `#<md5>`, `#<sha256>` or `#sha256:<sha256>`.
 * Comments and blank lines may stand everywhere; `# platform: linux-64` names the platform.
 * @throws SourceError BAD_LOCK
 */
export function readExplicit(text: string, what: string): LockFile {
  const packages: LockedPackage[] = [];
  const skipped: Skipped[] = [];
  let platform: string | undefined;
  for (const [i, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === "" || line === "@EXPLICIT") continue;
    if (line.startsWith("#")) {
      platform ??= /^#\s*platform:\s*(\S+)$/.exec(line)?.[1];
      const fileName = /^#\s*no URL for:\s*(.+)$/.exec(line)?.[1];
      if (fileName !== undefined) skipped.push({ kind: "no-url", location: fileName });
      continue;
    }
    packages.push(onLine(line, i + 1, what));
  }
  // Without the comment, the packages' own folders tell.
  const subdirs = new Set(packages.map((p) => p.subdir).filter((s) => s !== undefined && s !== "noarch"));
  if (platform === undefined && subdirs.size === 1) [platform] = [...subdirs];
  return {
    kind: "@EXPLICIT list",
    environments: [{ name: "default", platform, subdir: platform, packages, skipped }],
  };
}

function onLine(line: string, number: number, what: string): LockedPackage {
  const hash = line.lastIndexOf("#");
  const location = hash < 0 ? line : line.slice(0, hash);
  const bad = (why: string) => badLock(what, `line ${number}: ${redactUrl(location)} ${why}`);
  if (!formatOf(baseName(location))) throw bad("ends in neither .conda nor .tar.bz2");
  const subdir = location.split(/[\\/]/).at(-2);
  const known = { location, relativeTo: "working-directory", ...(isSubdir(subdir ?? "") ? { subdir } : {}) } as const;
  if (hash < 0) return known as LockedPackage;
  const promise = /^(?:(md5|sha256)[:=])?([0-9a-fA-F]+)$/.exec(line.slice(hash + 1));
  const digits = promise?.[2] ?? "";
  const kind = promise?.[1] ?? (digits.length === 64 ? "sha256" : "md5");
  if (digits.length !== (kind === "sha256" ? 64 : 32))
    throw bad("is followed by neither an MD5 (32 hex digits) nor a SHA-256 (64)");
  return { ...known, ...promisesOf({ [kind]: digits }, location, what) } as LockedPackage;
}
