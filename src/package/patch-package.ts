import { createZstdDecompress, constants as zlibConstants } from "node:zlib";
import { decodeBzip2 } from "../codec/bzip2.ts";
import { formatOf, isSubdir } from "../conda/file-name.ts";
import { MirrorError, PackageError } from "../errors.ts";
import { LIMITS } from "./limits.ts";
import type { ReadAt } from "./read-at.ts";
import { TarReader } from "./tar.ts";
import { openZip } from "./zip.ts";

const MEMBER = "/patch_instructions.json";

/**
 * Reads the patch instructions out of a package that carries them, such as conda-forge-repodata-patches: its members
 * `<subdir>/patch_instructions.json`, in the `pkg-` archive of a `.conda` or in a `.tar.bz2`. Other members are passed
 * over, where rattler_index refuses the package. The instructions themselves are not read: `parsePatch` does that.
 * @param fileName decides the format.
 * @returns the bytes by subdir.
 * @throws PackageError when it is no package, damaged or hostile, or holds no instructions.
 */
export async function readPatchPackage(fileName: string, file: ReadAt): Promise<ReadonlyMap<string, Uint8Array>> {
  const patches = new Map<string, Uint8Array>();
  const tar = new TarReader(fileName, {
    memberBytes: LIMITS.patchBytes,
    wants: (name) => subdirOf(name) !== undefined,
    collected(name, content) {
      const subdir = subdirOf(name) as string;
      if (patches.has(subdir)) throw refuse("BAD_MEMBER", fileName, `it holds ${name} twice`);
      patches.set(subdir, content);
      return false;
    },
  });
  try {
    let bytes = 0;
    let done = false;
    for await (const chunk of decoded(fileName, file)) {
      bytes += chunk.length;
      if (bytes > LIMITS.patchPackageBytes)
        throw refuse("TOO_LARGE", fileName, `it unpacks to more than ${LIMITS.patchPackageBytes} bytes`);
      done = tar.push(chunk);
      if (done) break;
    }
    if (!done) tar.end();
  } catch (e) {
    if (e instanceof MirrorError) throw e;
    throw refuse("DAMAGED", fileName, (e as Error).message, e);
  }
  if (patches.size === 0)
    throw refuse("NOT_A_PACKAGE", fileName, `it holds no <subdir>${MEMBER}: it is no package of patch instructions`);
  return patches;
}

function subdirOf(member: string): string | undefined {
  const subdir = member.slice(0, -MEMBER.length);
  return member.endsWith(MEMBER) && isSubdir(subdir) ? subdir : undefined;
}

function decoded(fileName: string, file: ReadAt): AsyncIterable<Uint8Array> {
  const format = formatOf(fileName);
  if (file.size === 0 || format === undefined)
    throw refuse("NOT_A_PACKAGE", fileName, file.size === 0 ? "it is empty" : "it is neither .conda nor .tar.bz2");
  return format === "conda" ? decodedPayload(fileName, file) : decodeBzip2(file, fileName);
}

/** The `pkg-` archive of a `.conda`, every zstd frame of it: node's decoder stops after the first. */
async function* decodedPayload(fileName: string, file: ReadAt): AsyncGenerator<Uint8Array> {
  const zip = await openZip(file, fileName);
  const payloads = zip.members.filter((m) => m.name.startsWith("pkg-") && m.name.endsWith(".tar.zst"));
  const payload = payloads[0];
  if (!payload || payloads.length > 1)
    throw refuse("NOT_A_PACKAGE", fileName, `it has ${payloads.length} pkg-*.tar.zst members, one is needed`);
  if (payload.compressedSize > LIMITS.patchPackageBytes)
    throw refuse(
      "TOO_LARGE",
      fileName,
      `its payload has ${payload.compressedSize} bytes: these are no patch instructions`,
    );
  const raw = payload.method === 0 ? await zip.raw(payload) : await zip.content(payload, LIMITS.patchPackageBytes);
  for (let at = 0; at < raw.length; ) {
    const decoder = createZstdDecompress({ params: { [zlibConstants.ZSTD_d_windowLogMax]: 27 } });
    decoder.end(raw.subarray(at));
    yield* decoder as AsyncIterable<Uint8Array>;
    at += decoder.bytesWritten;
  }
}

function refuse(
  code: "BAD_MEMBER" | "DAMAGED" | "NOT_A_PACKAGE" | "TOO_LARGE",
  fileName: string,
  why: string,
  cause?: unknown,
): PackageError {
  return new PackageError(code, {
    what: `${fileName}: no patch instructions can be read from it`,
    why,
    next: "fetch it again, or tell whoever made it; without it records stay unpatched",
    cause,
  });
}
