import { closeSync, fstatSync, mkdirSync, openSync, rmSync } from "node:fs";
import { MirrorError, PackageError } from "../errors.ts";
import { readAtFile } from "../package/read-at.ts";
import { readMembers } from "./archives.ts";
import { UNPACK_LIMITS, type UnpackLimits } from "./limits.ts";
import { Meter, type Stop } from "./meter.ts";
import { Tree } from "./tree.ts";

/** What came out of a package. */
export interface Unpacked {
  /** Files, folders and links. */
  readonly members: number;
  /** Whether it lists its files where rattler and conda look for that: `info/paths.json`, or `info/files` of old packages. */
  readonly listsFiles: boolean;
  readonly warnings: readonly string[];
}

/**
 * Unpacks a package into a new folder, as rattler_package_streaming does: the files of all its archives in one tree, with
 * their permissions and times, hard links inside it, symbolic links as they stand. All of it, or nothing: after a failure the
 * folder is gone. Memory stays bounded whatever the package's size. File calls are synchronous: meant for worker threads.
 * @param fileName decides the format.
 * @param folder must not be there yet; its parent must.
 * @throws PackageError when it is damaged, hostile, or unpacks to more than `limits`; what the file system throws
 */
export async function unpack(
  path: string,
  fileName: string,
  folder: string,
  signal?: Stop,
  limits: UnpackLimits = UNPACK_LIMITS,
): Promise<Unpacked> {
  const fd = openSync(path, "r");
  const tree = new Tree(folder, fileName, limits.members);
  let made = false;
  try {
    const { size } = fstatSync(fd);
    mkdirSync(folder);
    made = true;
    const file = readAtFile(fd, size, fileName);
    const meter = new Meter(fileName, size, limits, signal);
    await readMembers(file, fileName, (member) => tree.add(member), meter);
    tree.finish();
    if (!tree.hasFile("info/index.json")) {
      throw new PackageError("NOT_A_PACKAGE", {
        what: `${fileName}: not a conda package`,
        why: "it has no info/index.json, where a package says what it is",
        next: "leave it out, or build it with rattler-build or conda-build",
      });
    }
    return {
      members: tree.members,
      listsFiles: tree.hasFile("info/paths.json") || tree.hasFile("info/files"),
      warnings: [...tree.warnings],
    };
  } catch (e) {
    tree.drop();
    if (made) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    throw told(e, fileName);
  } finally {
    closeSync(fd);
  }
}

/** File systems refuse some names that a tar can hold: that is the package's fault, and told as such. */
function told(e: unknown, what: string): unknown {
  if (e instanceof MirrorError) return e;
  const { code, message } = e as NodeJS.ErrnoException;
  const why =
    code === "EEXIST"
      ? `two of its members have names that this file system can't tell apart (${message})`
      : code === "ENAMETOOLONG" || code === "EILSEQ" || code === "EINVAL"
        ? `one of its members has a name that this file system can't hold (${message})`
        : undefined;
  if (why === undefined) return e;
  return new PackageError("BAD_MEMBER", {
    what,
    why,
    next: "unpack it on another file system, or leave it out",
    cause: e,
  });
}
