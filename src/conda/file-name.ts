import { PackageError } from "../errors.ts";

/** Characters of a package file name (CEP 26). */
const MAX_FILE_NAME = 211;

export type ArchiveFormat = "conda" | "tar.bz2";

/** A package file's name in its parts. The name is a claim; `info/index.json` is the truth. */
export interface FileNameParts {
  readonly name: string;
  readonly version: string;
  readonly build: string;
  readonly format: ArchiveFormat;
}

// Wider than CEP 26 (old packages have upper case), narrower than any file system: no separators,
// no drive letters, no control characters, nothing hidden.
const SAFE = /^[A-Za-z0-9_][A-Za-z0-9_.+!~-]*$/;

/** The archive format that a file's name ends in, case-sensitive as every indexer reads it; undefined for other files. */
export function formatOf(fileName: string): ArchiveFormat | undefined {
  if (fileName.endsWith(".conda")) return "conda";
  if (fileName.endsWith(".tar.bz2")) return "tar.bz2";
  return undefined;
}

/**
 * Splits `<name>-<version>-<build>.<ext>` from the right (CEP 26; rattler_conda_types archive_identifier.rs).
 * @throws PackageError BAD_NAME when it is no package's name or could not be a safe file name.
 */
export function parseFileName(fileName: string): FileNameParts {
  const refuse = (why: string) =>
    new PackageError("BAD_NAME", {
      what: `${JSON.stringify(fileName).slice(1, -1)}: not a conda package's file name`,
      why,
      next: "a package is named <name>-<version>-<build>.conda or .tar.bz2; rename the file or leave it out",
    });
  const format = formatOf(fileName);
  if (!format) throw refuse("it ends in neither .conda nor .tar.bz2");
  if (fileName.length > MAX_FILE_NAME)
    throw refuse(`it has ${fileName.length} characters, ${MAX_FILE_NAME} are allowed`);
  if (!SAFE.test(fileName)) throw refuse("it holds characters that package names can't have");
  const stem = fileName.slice(0, -(format.length + 1));
  const lastDash = stem.lastIndexOf("-");
  const dash = stem.lastIndexOf("-", lastDash - 1);
  if (lastDash < 0 || dash < 1) throw refuse("name, version and build must be joined by two dashes");
  const parts = {
    name: stem.slice(0, dash),
    version: stem.slice(dash + 1, lastDash),
    build: stem.slice(lastDash + 1),
    format,
  };
  if (!parts.version || !parts.build) throw refuse("its version or build is empty");
  return parts;
}

/** Whether a name is a conda package's, and safe as a file's. */
export function isPackageName(fileName: string): boolean {
  try {
    parseFileName(fileName);
    return true;
  } catch {
    return false;
  }
}

/** Whether `subdir` has the form of a platform folder: `noarch` or `<os>-<arch>` (CEP 26). */
export function isSubdir(subdir: string): boolean {
  return subdir.length <= 32 && (subdir === "noarch" || /^[a-z0-9]+-[a-z0-9]+$/.test(subdir));
}
