import { crc32, inflateRawSync } from "node:zlib";
import { PackageError } from "../errors.ts";
import { LIMITS } from "./limits.ts";
import type { ReadAt } from "./read-at.ts";

/** One member of a zip, as its central directory tells. Offsets and sizes in bytes. */
export interface ZipMember {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly compressedSize: number;
  readonly size: number;
  readonly headerOffset: number;
  readonly encrypted: boolean;
  /** It is a symbolic link, and its content the path that it leads to. */
  readonly link: boolean;
}

export interface Zip {
  /** In the order of the directory; all of them, or those that `ZipOptions.keep` chose. */
  readonly members: readonly ZipMember[];
  /** Where the directory begins: no member's data lies behind it. */
  readonly directoryStart: number;
  /** The member's stored bytes: still deflated where `method` is 8, unchecked. At most `compressedSize` of them. */
  raw(member: ZipMember): Promise<Uint8Array>;
  /** Where the member's stored bytes begin in the file; they and `compressedSize` lie inside it. */
  dataAt(member: ZipMember): Promise<number>;
  /** The member's content, inflated and checked against its CRC; at most `limit` bytes. */
  content(member: ZipMember, limit: number): Promise<Uint8Array>;
}

export interface ZipOptions {
  /** Called with each member's name in the order of the directory; what it refuses is not kept in memory. Default: all. */
  readonly keep?: (name: string) => boolean;
  /** Most bytes of the central directory. Default: that of a package. */
  readonly directoryBytes?: number;
  /** Names that are not UTF-8 are read as Latin-1, where a package with such a name is refused. */
  readonly anyNames?: boolean;
}

/** Bytes of a local header before the member's name. */
export const LOCAL_HEADER = 30;

/** Of "version made by". */
const UNIX = 3;

const END = 0x06054b50;
const END64_LOCATOR = 0x07064b50;
const END64 = 0x06064b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;

// One read of this much usually holds the central directory and the whole info member (rattler reads as much).
const TAIL = 64 * 1024;

/** The end of a directory, and the longest comment that can follow it. */
const LONGEST_END = 22 + 0xffff;

/** Nearly all names need no decoder. */
const ASCII = /^[ -~]*$/;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Opens a zip by its central directory; local headers only tell where a member's data begins, since streaming
 * writers leave their sizes empty. Zip64 is read (APPNOTE 4.3.14, 4.5.3).
 * @throws PackageError DAMAGED, BAD_MEMBER or TOO_LARGE.
 */
export async function openZip(file: ReadAt, what: string, options: ZipOptions = {}): Promise<Zip> {
  const damaged = (why: string) =>
    new PackageError("DAMAGED", { what, why, next: "fetch it again, or tell whoever made it" });
  let tailStart = Math.max(0, file.size - TAIL);
  let tail = buffer(await file.read(tailStart, file.size - tailStart));
  const read = async (offset: number, length: number): Promise<Buffer> => {
    if (offset < 0 || length < 0 || offset + length > file.size)
      throw damaged(`it points to bytes ${offset}+${length}, but has ${file.size}`);
    if (offset >= tailStart) return tail.subarray(offset - tailStart, offset - tailStart + length);
    return buffer(await file.read(offset, length));
  };

  let endAt = endOfDirectory(tail);
  if (endAt < 0 && tailStart > 0) {
    tailStart = Math.max(0, file.size - LONGEST_END);
    tail = buffer(await file.read(tailStart, file.size - tailStart));
    endAt = endOfDirectory(tail);
  }
  if (endAt < 0) throw damaged("it has no end of a zip directory: it was cut, or is no zip");
  let count = tail.readUInt16LE(endAt + 10);
  let length = tail.readUInt32LE(endAt + 12);
  let start = tail.readUInt32LE(endAt + 16);
  const locatorAt = endAt - 20;
  if (locatorAt >= 0 && tail.readUInt32LE(locatorAt) === END64_LOCATOR) {
    const end64 = await read(number64(tail, locatorAt + 8), 56);
    if (end64.readUInt32LE(0) !== END64) throw damaged("its zip64 directory end is not where it says");
    count = number64(end64, 32);
    length = number64(end64, 40);
    start = number64(end64, 48);
  }
  const most = options.directoryBytes ?? LIMITS.directoryBytes;
  if (length > most) {
    throw new PackageError("TOO_LARGE", {
      what,
      why: `its zip directory has ${length} bytes, ${most} are allowed`,
      next: "leave it out",
    });
  }
  const members = parseDirectory(await read(start, length), count, options, damaged);

  const dataAt = async (member: ZipMember): Promise<number> => {
    const unreadable = refusedMember(member, what);
    if (unreadable) throw unreadable;
    const at = dataOffset(await read(member.headerOffset, LOCAL_HEADER), member, what);
    if (at + member.compressedSize > file.size) throw damaged(`its member ${member.name} is cut`);
    return at;
  };
  const raw = async (member: ZipMember): Promise<Uint8Array> => read(await dataAt(member), member.compressedSize);
  const content = async (member: ZipMember, limit: number): Promise<Uint8Array> => {
    const tooLarge = (bytes: number) =>
      new PackageError("TOO_LARGE", {
        what,
        why: `its member ${member.name} has ${bytes} bytes, ${limit} are allowed`,
        next: "leave it out",
      });
    if (member.size > limit || member.compressedSize > limit)
      throw tooLarge(Math.max(member.size, member.compressedSize));
    let bytes = await raw(member);
    if (member.method === 8) {
      try {
        bytes = inflateRawSync(bytes, { maxOutputLength: limit });
      } catch (e) {
        if ((e as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(limit + 1);
        throw damaged(`its member ${member.name} can't be inflated: ${(e as Error).message}`);
      }
    }
    if (bytes.length !== member.size || crc32(bytes) !== member.crc)
      throw damaged(`its member ${member.name} fails its CRC`);
    return bytes;
  };
  return { members, directoryStart: start, raw, dataAt, content };
}

/** Why a member can't be read, whatever its bytes are; undefined when it can. */
export function refusedMember(member: ZipMember, what: string): PackageError | undefined {
  if (member.encrypted) {
    return new PackageError("BAD_MEMBER", {
      what,
      why: `its member ${member.name} is encrypted`,
      next: "leave it out",
    });
  }
  if (member.method === 0 && member.size !== member.compressedSize) {
    return new PackageError("DAMAGED", {
      what,
      why: `its member ${member.name} is stored, but its sizes differ: ${member.compressedSize} and ${member.size}`,
      next: "fetch it again, or tell whoever made it",
    });
  }
  if (member.method === 0 || member.method === 8) return undefined;
  return new PackageError("BAD_MEMBER", {
    what,
    why: `its member ${member.name} uses zip method ${member.method}`,
    next: "only stored and deflated members can be read",
  });
}

/**
 * Where a member's data begins.
 * @param header the first `LOCAL_HEADER` bytes at its `headerOffset`.
 * @throws PackageError DAMAGED
 */
export function dataOffset(header: Uint8Array, member: ZipMember, what: string): number {
  const bytes = buffer(header);
  if (bytes.readUInt32LE(0) !== LOCAL) {
    throw new PackageError("DAMAGED", {
      what,
      why: `its member ${member.name} is not where the directory says`,
      next: "fetch it again, or tell whoever made it",
    });
  }
  return member.headerOffset + LOCAL_HEADER + bytes.readUInt16LE(26) + bytes.readUInt16LE(28);
}

/** Where the end of the directory stands in a zip's tail; -1 when it doesn't. */
function endOfDirectory(tail: Buffer): number {
  for (let i = tail.length - 22; i >= 0; i--)
    if (tail.readUInt32LE(i) === END && i + 22 + tail.readUInt16LE(i + 20) <= tail.length) return i;
  return -1;
}

function parseDirectory(
  directory: Buffer,
  count: number,
  { keep, anyNames }: ZipOptions,
  damaged: (why: string) => PackageError,
): ZipMember[] {
  const members: ZipMember[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== ENTRY)
      throw damaged(`its zip directory breaks off after ${i} of ${count} members`);
    const nameLength = directory.readUInt16LE(at + 28);
    const extraLength = directory.readUInt16LE(at + 30);
    const next = at + 46 + nameLength + extraLength + directory.readUInt16LE(at + 32);
    if (next > directory.length) throw damaged("a member of its zip directory is longer than the directory");
    if (nameLength > LIMITS.nameBytes)
      throw damaged(`a member's name has ${nameLength} bytes, ${LIMITS.nameBytes} are allowed`);
    let compressedSize = directory.readUInt32LE(at + 20);
    let size = directory.readUInt32LE(at + 24);
    let headerOffset = directory.readUInt32LE(at + 42);
    const extra = directory.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    for (let e = 0; e + 4 <= extra.length; ) {
      const end = e + 4 + extra.readUInt16LE(e + 2);
      if (extra.readUInt16LE(e) === 1 && end <= extra.length) {
        let f = e + 4;
        const take = (): number => {
          if (f + 8 > end) throw damaged("a zip64 field is shorter than it must be");
          f += 8;
          return number64(extra, f - 8);
        };
        if (size === 0xffffffff) size = take();
        if (compressedSize === 0xffffffff) compressedSize = take();
        if (headerOffset === 0xffffffff) headerOffset = take();
      }
      e = end;
    }
    let name = directory.toString("latin1", at + 46, at + 46 + nameLength);
    try {
      if (!ASCII.test(name)) name = utf8.decode(directory.subarray(at + 46, at + 46 + nameLength));
    } catch {
      if (!anyNames) throw damaged("a member's name is not UTF-8");
    }
    const begin = at;
    at = next;
    if (keep?.(name) === false) continue;
    members.push({
      name,
      method: directory.readUInt16LE(begin + 10),
      crc: directory.readUInt32LE(begin + 16),
      compressedSize,
      size,
      headerOffset,
      encrypted: (directory.readUInt16LE(begin + 8) & 1) === 1,
      // Unix wrote it, and its mode says so (APPNOTE 4.4.2, 4.4.15; S_IFLNK).
      link: directory[begin + 5] === UNIX && (directory.readUInt16LE(begin + 40) & 0xf000) === 0xa000,
    });
  }
  // Old writers count modulo 65,536. Whoever trusts the count would miss the rest.
  if (at + 4 <= directory.length && directory.readUInt32LE(at) === ENTRY)
    throw damaged(`its zip directory holds more than the ${count} members that it says`);
  return members;
}

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Eight bytes as a number. What exceeds 2^53 can't be an offset inside any file and fails the range checks. */
function number64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}
