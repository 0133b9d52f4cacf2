import { posix } from "node:path";
import { PackageError, printable } from "../../errors.ts";

/** A member without content of its own. */
export interface Link {
  /** As it stands there. */
  readonly target: string;
  /** A hard link names another member; a symbolic one a path, beginning in its own folder. */
  readonly kind: "hardlink" | "symlink";
}

/**
 * The path of the member that a link leads to; undefined when that lies outside the archive. No link is ever followed on
 * this machine: this is about names alone.
 * @param prefix of every path in the archive
 */
export function targetOf(link: Link, path: string, prefix: string): string | undefined {
  const from = link.kind === "hardlink" ? "." : posix.dirname(path.slice(prefix.length));
  if (link.target.startsWith("/")) return undefined;
  const target = posix.normalize(posix.join(from, link.target));
  return target === ".." || target.startsWith("../") ? undefined : prefix + target;
}

/** Why a package that is a link can't be taken. */
export function leadsNowhere(origin: string, link: Link): PackageError {
  return new PackageError("BAD_MEMBER", {
    what: origin,
    why: `it is a link to ${printable(link.target)}, which the archive does not hold or --src-path does not choose`,
    next: "take the package that it leads to",
  });
}
