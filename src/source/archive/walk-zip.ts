import { printable } from "../../errors.ts";
import { ARCHIVE_LIMITS } from "../../package/limits.ts";
import { safeMemberName } from "../../package/tar.ts";
import { openZip, type ZipMember } from "../../package/zip.ts";
import type { PackageRef } from "../source.ts";
import { type ArchiveFile, localArchive } from "./archive-file.ts";
import { refusedRef, type Walk } from "./walk.ts";
import { MemberFile } from "./zip-members.ts";

/** An archive inside another, ready to be looked into. */
export interface Nested {
  readonly path: string;
  open(): Promise<ArchiveFile>;
}

/**
 * The packages of a zip, by its directory alone; archives in it are handed on. A name that leads out of the archive
 * condemns all of it, though no such name is ever followed: whoever makes one means harm.
 * @param prefix of every path in it.
 */
export async function* zipMembers(
  file: ArchiveFile,
  prefix: string,
  depth: number,
  walk: Walk,
): AsyncGenerator<PackageRef | Nested> {
  const { signal, options } = walk;
  const wanted: { path: string; kind: "package" | "archive" }[] = [];
  const zip = await openZip(file, file.origin, {
    directoryBytes: ARCHIVE_LIMITS.directoryBytes,
    anyNames: true,
    keep(name) {
      // Some writers on Windows separate folders as that system does.
      const path = prefix + safeMemberName(name, file.origin).replaceAll("\\", "/");
      const kind = name.endsWith("/") ? undefined : walk.sort(path, depth);
      if (kind) wanted.push({ path, kind });
      return kind !== undefined;
    },
  });
  const scratchPath = () => walk.scratchPath();
  for (const [i, { path, kind }] of wanted.entries()) {
    if (signal.aborted) return;
    const member = zip.members[i] as ZipMember;
    const origin = `${walk.origin}/${printable(path)}`;
    const content = new MemberFile(file, zip, member, origin);
    if (kind === "archive") {
      yield {
        path,
        async open() {
          const refusal = content.refusal();
          if (refusal) throw refusal;
          if (content.stored) return content.archive(signal);
          const unpacked = await content.unpack(scratchPath, signal);
          return localArchive(unpacked, member.size, origin, options.retry, signal);
        },
      };
      continue;
    }
    const fileName = path.slice(path.lastIndexOf("/") + 1);
    const ref = { fileName, origin, key: `${options.key}!/${path}`, member: path, size: member.size };
    let refusal = content.refusal();
    const address = refusal
      ? undefined
      : await content.address().catch((e) => {
          refusal = e;
          return undefined;
        });
    if (refusal) yield refusedRef(ref, refusal);
    else
      yield {
        ...ref,
        crc32: member.crc,
        ...(address ? { address } : {}),
        open: content.open,
        lookInto: (s, atAnyCost) => content.lookInto(scratchPath, s, atAnyCost),
      };
  }
}
