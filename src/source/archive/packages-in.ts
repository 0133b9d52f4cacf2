import { formatOf } from "../../conda/file-name.ts";
import { asMirrorError, InterruptedError, type MirrorError, PackageError, SourceError } from "../../errors.ts";
import type { Place } from "../../transfer/place.ts";
import type { PackageRef } from "../source.ts";
import { type ArchiveFile, HEAD, openArchiveFile } from "./archive-file.ts";
import type { Compression } from "./unpacked.ts";
import { type ArchiveOptions, Walk } from "./walk.ts";
import { tarMembers } from "./walk-tar.ts";
import { type Nested, zipMembers } from "./walk-zip.ts";

/**
 * Every package in an archive and in the archives inside it, as offers that are fetched from where they lie: of a zip whose
 * place answers range requests nothing but its directory is read here, and of its members only what is taken. Other
 * places are fetched once, to a file of the run; of a tar what is wanted is unpacked to such files.
 *
 * A member that can't be taken (encrypted, a bomb, …) is offered all the same, and says why when it is opened. An archive
 * inside that can't be read fails the enumeration when everything else has been offered.
 * @param place its `origin` is what the archive is called.
 * @throws SourceError NOT_FOUND when nothing matches, naming what there is; UNREADABLE when the archive can't be read.
 * @throws TransferError
 */
export async function* packagesIn(
  place: Place,
  options: ArchiveOptions,
  signal: AbortSignal,
): AsyncGenerator<PackageRef> {
  const walk = new Walk(place.origin, options, signal);
  try {
    const onBytes = walk.counter(place.origin);
    const file = await openArchiveFile(place, () => walk.scratchPath(), options.retry, signal, onBytes);
    walk.size = file.size;
    yield* membersOf(file, options.prefix ?? "", 0, walk);
  } catch (e) {
    if (signal.aborted) throw new InterruptedError(e);
    // The archive itself is no package that failed: nothing of this source can be had.
    if (e instanceof PackageError) throw new SourceError("UNREADABLE", { ...toldOf(e), cause: e });
    throw e;
  }
  if (signal.aborted) return;
  const error = walk.verdict();
  if (error) throw error;
}

async function* membersOf(file: ArchiveFile, prefix: string, depth: number, walk: Walk): AsyncGenerator<PackageRef> {
  const kind = await sniffed(file);
  const members: AsyncIterable<PackageRef | Nested> =
    kind === "zip" ? zipMembers(file, prefix, depth, walk) : tarMembers(file, kind, prefix, depth, walk);
  for await (const member of members) {
    if ("fileName" in member) yield member;
    else {
      try {
        yield* membersOf(await member.open(), `${member.path}/`, depth + 1, walk);
      } catch (e) {
        if (walk.signal.aborted || e instanceof SourceError) throw e;
        walk.failures.push(asMirrorError(e, `${walk.origin}/${member.path}`));
      }
    }
    if (walk.signal.aborted) return;
  }
}

/** What a file is, by its first bytes. @throws PackageError NOT_A_PACKAGE for what can't be looked into */
async function sniffed(file: ArchiveFile): Promise<"zip" | Compression> {
  const refuse = (why: string, next = "fetch it again, or check what it is") =>
    new PackageError("NOT_A_PACKAGE", { what: `${file.origin}: not an archive that can be read`, why, next });
  if (file.size === 0) throw refuse("it is empty");
  const bytes = Buffer.from(file.head ?? (await file.read(0, Math.min(HEAD, file.size))));
  const begins = (...magic: number[]) => magic.every((byte, i) => bytes[i] === byte);
  if (begins(0x50, 0x4b)) {
    if (formatOf(file.origin) === "conda") throw refuse("it is a package", "take it with --src-type local or url");
    return "zip";
  }
  if (begins(0x1f, 0x8b)) return "gzip";
  if (begins(0x28, 0xb5, 0x2f, 0xfd)) return "zstd";
  if (begins(0x42, 0x5a, 0x68)) return "bzip2";
  if (bytes.subarray(257, 262).toString("latin1") === "ustar") return "none";
  const packed = "unpack it, or pack it as .zip or .tar.gz";
  if (begins(0xfd, 0x37, 0x7a, 0x58, 0x5a)) throw refuse("it is compressed with xz", packed);
  if (begins(0x37, 0x7a, 0xbc, 0xaf)) throw refuse("it is a 7z archive", packed);
  if (begins(0x52, 0x61, 0x72, 0x21)) throw refuse("it is a RAR archive", packed);
  if (/^\s*</.test(bytes.toString("latin1"))) {
    throw refuse("it is a web page or XML", "check the address; it may be a page to sign in on, and need credentials");
  }
  // Programs that unpack themselves are zips with something in front; so is, perhaps, what lost its beginning.
  if (/\.(?:zip|exe)$/i.test(file.origin)) return "zip";
  if (/\.tar$/i.test(file.origin)) return "none";
  throw refuse("its first bytes are those of no archive");
}

function toldOf({ what, why, next }: MirrorError): { what: string; why: string; next: string } {
  return { what, why, next };
}
