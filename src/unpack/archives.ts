import type { Transform } from "node:stream";
import { crc32, createInflateRaw, createZstdDecompress } from "node:zlib";
import { decodeBzip2 } from "../codec/bzip2.ts";
import { decodeFrame } from "../codec/zstd-frames.ts";
import { formatOf } from "../conda/file-name.ts";
import { MirrorError, PackageError } from "../errors.ts";
import type { ReadAt } from "../package/read-at.ts";
import { safeMemberName, type TarBody, type TarMember, TarReader } from "../package/tar.ts";
import { openZip, type Zip, type ZipMember } from "../package/zip.ts";
import type { Meter } from "./meter.ts";

/** Told of every member of a package; gives who takes a file's content. */
export type Take = (member: TarMember) => TarBody | undefined;

/** The archives inside a `.conda`. */
export type Part = "info-" | "pkg-";

/** Compressed bytes that are read at a time. */
const PORTION = 256 * 1024;

/** Archives up to here are decoded in one call, as long as they unpack to no more than `SMALL_DECODED`. */
const SMALL = 512 * 1024;
const SMALL_DECODED = 8 * 1024 * 1024;

/**
 * Reads every member of a package, from the archives inside a `.conda` that are asked for, or from the whole of a `.tar.bz2`.
 * Memory stays bounded whatever their size.
 * @throws PackageError when it is damaged or hostile, or unpacks to more than `meter` allows; what `take` throws
 */
export async function readMembers(
  file: ReadAt,
  fileName: string,
  take: Take,
  meter: Meter,
  parts: readonly Part[] = ["info-", "pkg-"],
): Promise<void> {
  if (formatOf(fileName) === "conda") await readConda(file, fileName, take, meter, parts);
  else await readTarBz2(file, fileName, take, meter);
}

function tarInto(take: Take, fileName: string): TarReader {
  return new TarReader(fileName, { wants: () => false, collected: () => false, member: take });
}

async function readTarBz2(file: ReadAt, fileName: string, take: Take, meter: Meter): Promise<void> {
  const tar = tarInto(take, fileName);
  let done = false;
  for await (const chunk of decodeBzip2(file, fileName)) {
    meter.count(chunk.length);
    // What follows the end marker is decoded too, which checks the last block.
    done ||= tar.push(chunk);
  }
  if (!done) tar.end();
}

async function readConda(
  file: ReadAt,
  fileName: string,
  take: Take,
  meter: Meter,
  parts: readonly Part[],
): Promise<void> {
  const zip = await openZip(file, fileName);
  for (const member of zip.members) safeMemberName(member.name, fileName);
  for (const part of parts) {
    const archives = zip.members.filter((m) => m.name.startsWith(part) && m.name.endsWith(".tar.zst"));
    if (archives.length > 1) {
      throw new PackageError("BAD_MEMBER", {
        what: fileName,
        why: `it has ${archives.length} ${part}*.tar.zst archives, and readers would not agree on which counts`,
        next: "leave it out",
      });
    }
    for (const archive of archives) await readTarZst(file, zip, archive, fileName, take, meter);
  }
}

async function readTarZst(
  file: ReadAt,
  zip: Zip,
  member: ZipMember,
  fileName: string,
  take: Take,
  meter: Meter,
): Promise<void> {
  const damaged = (why: string) =>
    new PackageError("DAMAGED", {
      what: fileName,
      why: `its member ${member.name} ${why}`,
      next: "fetch it again, or tell whoever made it",
    });
  const tar = tarInto(take, fileName);
  if (member.method !== 0) {
    // Nobody writes deflated archives, but readers take them: their content is unpacked first, with the same meter.
    const stored = await inflated(file, await zip.dataAt(member), member, meter);
    if (crc32(stored) !== member.crc || stored.length !== member.size) throw damaged("fails its CRC");
    await decode({ size: stored.length, read: async (at, n) => stored.subarray(at, at + n) }, tar, meter, damaged);
    return;
  }
  if (member.size !== member.compressedSize) throw damaged("has two sizes");
  const start = await zip.dataAt(member);
  let crc = 0;
  let read = 0;
  const part: ReadAt = {
    size: member.compressedSize,
    async read(at, length) {
      const bytes = await file.read(start + at, length);
      // Read in order, though the end of a frame may be read again with the next one.
      if (at + length > read) {
        crc = crc32(bytes.subarray(read - at), crc);
        read = at + length;
      }
      return bytes;
    },
  };
  await decode(part, tar, meter, damaged);
  while (read < part.size) await part.read(read, Math.min(PORTION, part.size - read));
  if (crc !== member.crc) throw damaged("fails its CRC");
}

/** Every zstd frame of `file` into `tar`: node's decoders stop after the first, and tell where. */
async function decode(file: ReadAt, tar: TarReader, meter: Meter, damaged: (why: string) => Error): Promise<void> {
  if (file.size <= SMALL) {
    const bytes = await file.read(0, file.size);
    let at = 0;
    try {
      while (at < bytes.length) {
        const { content, bytes: taken } = decodeFrame(bytes.subarray(at), SMALL_DECODED);
        at += taken;
        meter.count(content.length);
        if (tar.push(content)) return;
      }
      tar.end();
      return;
    } catch (e) {
      if (e instanceof MirrorError) throw e;
      const { code } = e as NodeJS.ErrnoException;
      if (code === "ERR_BUFFER_TOO_LARGE") {
        await decodeFrom(file, at, tar, meter, damaged);
        return;
      }
      throw code?.startsWith("ZSTD_") ? damaged(`can't be decoded: ${(e as Error).message}`) : e;
    }
  }
  await decodeFrom(file, 0, tar, meter, damaged);
}

async function decodeFrom(
  file: ReadAt,
  from: number,
  tar: TarReader,
  meter: Meter,
  damaged: (why: string) => Error,
): Promise<void> {
  for (let at = from; at < file.size; ) {
    const decoder = createZstdDecompress({ chunkSize: PORTION });
    const feed = feedInto(decoder, file, at);
    try {
      for await (const chunk of decoder as AsyncIterable<Uint8Array>) {
        meter.count(chunk.length);
        if (tar.push(chunk)) return;
      }
    } catch (e) {
      const { code } = e as NodeJS.ErrnoException;
      throw code?.startsWith("ZSTD_") ? damaged(`can't be decoded: ${(e as Error).message}`) : e;
    } finally {
      decoder.destroy();
      await feed;
    }
    if (decoder.bytesWritten === 0) throw damaged("ends in the middle of its data");
    at += decoder.bytesWritten;
  }
  tar.end();
}

/** Writes a file into a decoder as fast as that takes it, until one of them ends. */
async function feedInto(decoder: Transform, file: ReadAt, from: number): Promise<void> {
  try {
    for (let at = from; at < file.size && !decoder.destroyed && !decoder.readableEnded; ) {
      const bytes = await file.read(at, Math.min(PORTION, file.size - at));
      at += bytes.length;
      if (!decoder.write(bytes)) await room(decoder);
    }
    if (!decoder.destroyed) decoder.end();
  } catch (e) {
    decoder.destroy(e as Error);
  }
}

function room(decoder: Transform): Promise<void> {
  const events = ["drain", "close", "error", "end"];
  return new Promise((resolve) => {
    const go = () => {
      for (const event of events) decoder.off(event, go);
      resolve();
    };
    for (const event of events) decoder.on(event, go);
  });
}

async function inflated(file: ReadAt, start: number, member: ZipMember, meter: Meter): Promise<Uint8Array> {
  const most = Math.min(meter.left, 1024 ** 3);
  const inflate = createInflateRaw({ chunkSize: PORTION });
  const feed = feedInto(
    inflate as never,
    { size: start + member.compressedSize, read: (at, n) => file.read(at, n) },
    start,
  );
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of inflate as AsyncIterable<Uint8Array>) {
      size += chunk.length;
      if (size > most) throw meter.tooLarge();
      parts.push(chunk);
    }
  } finally {
    inflate.destroy();
    await feed;
  }
  return Buffer.concat(parts);
}
