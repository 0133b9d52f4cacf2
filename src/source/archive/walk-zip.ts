import { asMirrorError, type MirrorError, PackageError, printable } from "../../errors.ts";
import { ARCHIVE_LIMITS, LIMITS } from "../../package/limits.ts";
import { safeMemberName } from "../../package/tar.ts";
import { LOCAL_HEADER, openZip, type Zip, type ZipMember } from "../../package/zip.ts";
import type { PackageRef } from "../source.ts";
import { type ArchiveFile, localArchive } from "./archive-file.ts";
import { type Link, leadsNowhere, targetOf } from "./links.ts";
import { refusedRef, type Walk } from "./walk.ts";
import { MemberFile } from "./zip-members.ts";

/** An archive inside another, ready to be looked into. */
export interface Nested {
  readonly path: string;
  open(): Promise<ArchiveFile>;
}

/** A member that is wanted. */
interface Entry {
  readonly path: string;
  readonly kind: "package" | "archive";
  readonly member: ZipMember;
  /** For people. */
  readonly origin: string;
  readonly content: MemberFile;
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
  const wanted: Pick<Entry, "path" | "kind">[] = [];
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
  const entries = wanted.map(({ path, kind }, i): Entry => {
    const member = zip.members[i] as ZipMember;
    const origin = `${walk.origin}/${printable(path)}`;
    return { path, kind, member, origin, content: new MemberFile(file, zip, member, origin) };
  });
  refuseOverlaps(entries, file.origin);
  const files = new Map(entries.filter((e) => !e.member.link).map((e) => [e.path, e]));
  for (const entry of entries) {
    if (walk.signal.aborted) return;
    // A link to an archive: that one is looked into under its own name.
    if (entry.kind === "package") yield await offer(entry, await contentOf(entry, zip, prefix, files), walk);
    else if (!entry.member.link) yield { path: entry.path, open: () => openNested(entry, walk) };
  }
}

/** Members that share bytes: how a small zip offers far more than it holds. @throws PackageError */
function refuseOverlaps(entries: readonly Entry[], what: string): void {
  const inOrder = entries.toSorted((a, b) => a.member.headerOffset - b.member.headerOffset);
  for (const [i, { path, member }] of inOrder.entries()) {
    const before = inOrder[i - 1];
    if (!before || before.member.headerOffset + LOCAL_HEADER + before.member.compressedSize <= member.headerOffset)
      continue;
    throw new PackageError("BAD_MEMBER", {
      what,
      why: `its members ${before.path} and ${path} share bytes`,
      next: "it is hostile or broken; leave it out",
    });
  }
}

/** The entry that has an entry's bytes: itself, or the one that it is a link to. */
async function contentOf(
  entry: Entry,
  zip: Zip,
  prefix: string,
  files: ReadonlyMap<string, Entry>,
): Promise<Entry | MirrorError> {
  if (!entry.member.link) return entry;
  try {
    const target = Buffer.from(await zip.content(entry.member, LIMITS.nameBytes)).toString();
    const link: Link = { target, kind: "symlink" };
    return files.get(targetOf(link, entry.path, prefix) ?? "") ?? leadsNowhere(entry.origin, link);
  } catch (e) {
    return asMirrorError(e, entry.origin);
  }
}

async function offer(entry: Entry, content: Entry | MirrorError, walk: Walk): Promise<PackageRef> {
  const { path, origin } = entry;
  const fileName = path.slice(path.lastIndexOf("/") + 1);
  const ref = { fileName, origin, key: `${walk.options.key}!/${path}`, member: path };
  if (!("member" in content)) return refusedRef(ref, content);
  const { size, crc } = content.member;
  const refusal = content.content.refusal();
  if (refusal) return refusedRef({ ...ref, size }, refusal);
  try {
    const address = await content.content.address();
    return {
      ...ref,
      size,
      crc32: crc,
      ...(address ? { address } : {}),
      open: content.content.open,
      lookInto: content.content.lookInto,
    };
  } catch (e) {
    return refusedRef({ ...ref, size }, asMirrorError(e, origin));
  }
}

async function openNested({ content, member, origin }: Entry, walk: Walk): Promise<ArchiveFile> {
  const refusal = content.refusal();
  if (refusal) throw refusal;
  if (content.stored) return content.archive(walk.signal);
  const path = await walk.scratchPath();
  const told = walk.counter(origin);
  await content.unpack(path, walk.signal, (bytes, size) => {
    walk.spend(bytes);
    told(bytes, size);
  });
  return localArchive(path, member.size, origin, walk.options.retry, walk.signal);
}
