import { pipeline, Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { decodeBzip2 } from "../../codec/bzip2.ts";
import { MirrorError, PackageError } from "../../errors.ts";
import { ARCHIVE_LIMITS } from "../../package/limits.ts";
import { resumed } from "../../transfer/resumed.ts";
import type { ArchiveFile } from "./archive-file.ts";

/** How the tar in a file is compressed. */
export type Compression = "none" | "gzip" | "zstd" | "bzip2";

/** Portions in which a tar is decoded. */
const CHUNK = 256 * 1024;

/**
 * A compressed file's content as it comes; broken connections are resumed.
 * @throws PackageError DAMAGED, TOO_LARGE; TransferError
 */
export async function* unpacked(
  file: ArchiveFile,
  compression: Compression,
  signal: AbortSignal,
  onBytes: (bytes: number, size: number) => void,
): AsyncGenerator<Uint8Array> {
  let taken = 0;
  let given = 0;
  const damaged = (why: string, cause?: unknown) =>
    new PackageError("DAMAGED", { what: file.origin, why, next: "fetch it again, or tell whoever made it", cause });
  const raw = async function* (): AsyncGenerator<Uint8Array> {
    const wanted = { start: file.start, end: file.start + file.size, version: file.base.version };
    for await (const chunk of resumed({ origin: file.origin, open: file.base.open }, wanted, file.retry, signal)) {
      taken += chunk.length;
      onBytes(chunk.length, file.size);
      yield chunk;
    }
  };
  const through = (decoder: ReturnType<typeof createGunzip>): AsyncIterable<Uint8Array> => {
    pipeline(Readable.from(raw(), { objectMode: false }), decoder, () => undefined);
    return decoder as AsyncIterable<Uint8Array>;
  };
  const zstd = compression === "zstd" ? createZstdDecompress({ chunkSize: CHUNK }) : undefined;
  const chunks =
    compression === "none"
      ? raw()
      : compression === "bzip2"
        ? decodeBzip2(file, file.origin)
        : through(zstd ?? createGunzip({ chunkSize: CHUNK }));
  try {
    for await (const chunk of chunks) {
      given += chunk.length;
      const from = compression === "bzip2" ? file.size : taken;
      if (given > ARCHIVE_LIMITS.ratioFrom && given > from * ARCHIVE_LIMITS.tarRatio) {
        throw new PackageError("TOO_LARGE", {
          what: file.origin,
          why: `${from} bytes of it unpack to more than ${given}`,
          next: "it is hostile or broken; leave it out",
        });
      }
      yield chunk;
    }
  } catch (e) {
    if (e instanceof MirrorError || signal.aborted) throw e;
    throw damaged(`it can't be unpacked: ${(e as Error).message}`, e);
  }
  // Node's decoder stops after the first frame where the next one came with it.
  if (zstd && zstd.bytesWritten < taken) throw damaged("it is made of several zstd frames, which can't be read");
}
