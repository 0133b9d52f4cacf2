import { createZstdDecompress } from "node:zlib";
import { decodeFrames } from "../codec/zstd-frames.ts";
import { type ArchiveFormat, formatOf } from "../conda/file-name.ts";
import { MirrorError, PackageError } from "../errors.ts";
import { LIMITS } from "./limits.ts";
import type { ReadAt } from "./read-at.ts";
import { safeMemberName, TarReader } from "./tar.ts";
import { openZip } from "./zip.ts";

/** Members of `info/` that a channel's index is made of (CEP 34). The recipes tell channeldata where the source came from. */
export type InfoMember =
  | "info/index.json"
  | "info/about.json"
  | "info/run_exports.json"
  | "info/paths.json"
  | "info/files"
  | "info/recipe/meta.yaml"
  | "info/recipe/meta.yaml.rendered"
  | "info/meta.yaml";

export interface ReadOptions {
  /**
   * Wanted members to search for behind the `info/` of a `.tar.bz2` too, and how many decoded bytes of it. Without it
   * what has not come by the end of `info/` counts as absent (docs/decisions/008-stop-after-info.md).
   */
  readonly beyondInfo?: { readonly members: readonly InfoMember[]; readonly bytes: number };
}

/**
 * For whoever needs recipes: conda-build puts the files of `info/` itself first, but those of its folders among the
 * payload, by growing size.
 */
export const RECIPE_BEYOND_INFO: ReadOptions = {
  beyondInfo: { members: ["info/recipe/meta.yaml"], bytes: 1024 * 1024 },
};

export interface PackageInfo {
  readonly format: ArchiveFormat;
  /** The content of each wanted member that the package has. */
  readonly members: ReadonlyMap<InfoMember, Uint8Array>;
  /** What is odd about the archive though it can be used, in words for its owner. */
  readonly warnings: readonly string[];
}

const INDEX: InfoMember = "info/index.json";

/** Members that are made objects of as a whole. `info/paths.json` is scanned as bytes. */
const PARSED: readonly string[] = [INDEX, "info/about.json", "info/run_exports.json"];

// Whole info archives up to here are decoded in one call; larger ones as a stream with constant memory.
const IN_ONE_CALL = 256 * 1024;

/**
 * Reads the wanted members of a package's `info/` and no more of it than they need: from a `.conda` its central
 * directory and info member, from a `.tar.bz2` as many blocks as it takes. There `info/index.json` is searched to the
 * end; once it was found, the first member outside `info/` ends the reading, and what was wanted and has not come by
 * then counts as absent, unless `options` ask for more.
 * @param fileName decides the format together with the first bytes; both must agree.
 * @throws PackageError when it is no package, is damaged, hostile, or has no `info/index.json` though that was wanted.
 */
export async function readPackage(
  fileName: string,
  file: ReadAt,
  wanted: readonly InfoMember[],
  options: ReadOptions = {},
): Promise<PackageInfo> {
  const format = await checkFormat(fileName, file);
  const collected = new Map<InfoMember, Uint8Array>();
  const warnings: string[] = [];
  // In a .conda the whole info archive is at hand, and copies that differ are seen and refused. A .tar.bz2 is left as
  // soon as everything was found, so the first copy counts, as it does for rattler and conda-index.
  const all = format === "conda";
  const beyond = options.beyondInfo ?? { members: [], bytes: 0 };
  let begun = false;
  let passed = 0;
  const tar = new TarReader(fileName, {
    ends(name, size) {
      if (size > LIMITS.parsedBytes && PARSED.includes(name)) {
        throw new PackageError("TOO_LARGE", {
          what: fileName,
          why: `its member ${name} has ${size} bytes, ${LIMITS.parsedBytes} are allowed`,
          next: "the package is hostile or broken; leave it out",
        });
      }
      if (all || name === "" || name === "info") return false; // the archive's own folder, and that of info
      if (name.startsWith("info/")) {
        begun ||= !wanted.includes(INDEX);
        return false;
      }
      if (!begun) return false;
      passed += size;
      return passed > beyond.bytes || beyond.members.every((m) => collected.has(m));
    },
    wants: (name) => wanted.includes(name as InfoMember),
    collected(name, content) {
      const earlier = collected.get(name as InfoMember);
      if (earlier && Buffer.compare(earlier, content) !== 0) {
        throw new PackageError("BAD_MEMBER", {
          what: fileName,
          why: `it holds ${name} twice, with different content: readers would not agree on what it is`,
          next: "the package is hostile or broken; leave it out",
        });
      }
      collected.set(name as InfoMember, content);
      begun ||= name === INDEX;
      return !all && collected.size === wanted.length;
    },
  });
  try {
    if (format === "conda") await readConda(fileName, file, tar, warnings);
    else await readTarBz2(fileName, file, tar, warnings);
  } catch (e) {
    if (e instanceof MirrorError) throw e;
    throw new PackageError("DAMAGED", {
      what: fileName,
      why: (e as Error).message,
      next: "fetch it again, or tell whoever made it",
      cause: e,
    });
  }
  if (wanted.includes(INDEX) && !collected.has(INDEX)) {
    throw new PackageError("NOT_A_PACKAGE", {
      what: `${fileName}: not a conda package`,
      why: "it has no info/index.json, where a package says what it is",
      next: "leave it out, or build it with rattler-build or conda-build",
    });
  }
  return { format, members: collected, warnings };
}

async function checkFormat(fileName: string, file: ReadAt): Promise<ArchiveFormat> {
  const format = formatOf(fileName);
  const refuse = (why: string) =>
    new PackageError("NOT_A_PACKAGE", {
      what: `${fileName}: not a conda package`,
      why,
      next: "leave it out, or fetch it again if it should be one",
    });
  if (!format) throw refuse("its name ends in neither .conda nor .tar.bz2");
  if (file.size === 0) throw refuse("it is empty");
  const first = await file.read(0, Math.min(4, file.size));
  const magic = Buffer.from(first.buffer, first.byteOffset, first.length);
  const seen =
    magic.subarray(0, 3).toString("latin1") === "BZh"
      ? "tar.bz2"
      : magic.subarray(0, 2).toString("latin1") === "PK"
        ? "conda"
        : undefined;
  if (seen === format) return format;
  const is = seen
    ? `a ${seen === "conda" ? "zip (.conda)" : "bzip2 (.tar.bz2)"} file`
    : /^\s*</.test(magic.toString("latin1"))
      ? "a web page or XML"
      : "neither a zip nor bzip2";
  throw refuse(`its name says .${format}, but its first bytes are those of ${is}`);
}

async function readConda(fileName: string, file: ReadAt, tar: TarReader, warnings: string[]): Promise<void> {
  const zip = await openZip(file, fileName);
  for (const member of zip.members) safeMemberName(member.name, fileName);
  const infos = zip.members.filter((m) => m.name.startsWith("info-") && m.name.endsWith(".tar.zst"));
  const info = infos[0];
  if (!info) {
    const nested = zip.members.find((m) => /(?:^|\/)info-[^/]*\.tar\.zst$/.test(m.name));
    throw new PackageError("NOT_A_PACKAGE", {
      what: `${fileName}: not a conda package`,
      why: nested
        ? `its info archive lies in a folder (${nested.name}): the package was unpacked and zipped again`
        : "it has no info-*.tar.zst member",
      next: nested ? "use the file as it was built" : "leave it out, or fetch it again",
    });
  }
  if (infos.length > 1) {
    throw new PackageError("BAD_MEMBER", {
      what: fileName,
      why: `it has ${infos.length} info archives, and readers would not agree on which counts`,
      next: "leave it out",
    });
  }
  if (info.compressedSize > LIMITS.infoBytes) throw bomb(fileName, LIMITS.infoBytes);
  if (info.method !== 0) warnings.push("its info archive is compressed inside the zip: rattler_index can't read it");
  const raw = info.method === 0 ? await zip.raw(info) : await zip.content(info, LIMITS.infoBytes);
  if (raw.length <= IN_ONE_CALL) {
    tar.push(decodeSmall(raw, fileName));
  } else {
    await decodeLarge(raw, tar, fileName);
  }
  tar.end();
}

/** Every frame of a zstd file, with windows up to zstd's usual 128 MiB. */
function decodeSmall(raw: Uint8Array, what: string): Uint8Array {
  const limit = decodedLimit(raw.length);
  try {
    return decodeFrames(raw, limit);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") throw bomb(what, limit);
    throw new PackageError("DAMAGED", {
      what,
      why: `its info archive can't be decoded: ${(e as Error).message}`,
      next: "fetch it again, or tell whoever made it",
      cause: e,
    });
  }
}

async function decodeLarge(raw: Uint8Array, tar: TarReader, what: string): Promise<void> {
  const limit = decodedLimit(raw.length);
  for (let at = 0, decoded = 0; at < raw.length; ) {
    const decoder = createZstdDecompress();
    decoder.end(raw.subarray(at));
    for await (const chunk of decoder as AsyncIterable<Uint8Array>) {
      decoded += chunk.length;
      if (decoded > limit) throw bomb(what, limit);
      if (tar.push(chunk)) return;
    }
    at += decoder.bytesWritten;
  }
}

function decodedLimit(bytes: number): number {
  return Math.min(LIMITS.infoBytes, Math.max(LIMITS.ratioFrom, bytes * LIMITS.ratio));
}

function bomb(what: string, limit: number): PackageError {
  return new PackageError("TOO_LARGE", {
    what,
    why: `its info archive unpacks to more than ${limit} bytes`,
    next: "the package is hostile or broken; leave it out",
  });
}

async function readTarBz2(fileName: string, file: ReadAt, tar: TarReader, warnings: string[]): Promise<void> {
  const { decodeBzip2 } = await import("../codec/bzip2.ts");
  const summary = { streams: 0 };
  let decoded = 0;
  let done = false;
  for await (const chunk of decodeBzip2(file, fileName, summary)) {
    decoded += chunk.length;
    if (decoded > LIMITS.bz2RatioFrom && decoded > file.size * LIMITS.ratio) {
      throw new PackageError("TOO_LARGE", {
        what: fileName,
        why: `${file.size} bytes unpack to more than ${decoded}`,
        next: "the package is hostile or broken; leave it out",
      });
    }
    done = tar.push(chunk);
    if (done) break;
  }
  if (!done) tar.end();
  if (summary.streams > 1) warnings.push("it is made of several bzip2 streams: rattler and pixi can't install it");
}
