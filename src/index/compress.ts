import { setImmediate } from "node:timers/promises";
import { promisify } from "node:util";
import { constants, createZstdCompress, createZstdDecompress, zstdCompress, zstdDecompress } from "node:zlib";
import { decodeBzip2 } from "../codec/bzip2.ts";
import { frameContent, WINDOW } from "../codec/zstd-frames.ts";
import { PackageError } from "../errors.ts";

// The other direction of `decompressBz2`, for rooms that don't know codecs.
export { compressedBz2 } from "../codec/bzip2-encode.ts";

const compressAsync = promisify(zstdCompress);
const decompressAsync = promisify(zstdDecompress);

/** No index of a channel comes near this; a bomb does. */
const MAX_INDEX_BYTES = 4 * 1024 ** 3 - 1;

const MiB = 1024 * 1024;

/** Indexes up to here are compressed in one call on one thread. */
const IN_ONE_CALL = 8 * MiB;

/**
 * Larger ones go in blocks of this size, cut into jobs for zstd's own threads. The size of a job and the number of threads are
 * part of what the bytes look like, so they are the same on every machine. Blocks are whole jobs: then the bytes don't depend
 * on their size (of 32 MiB they took 30 MB more, in the same time; of 4 MiB one thread would wait for the other).
 */
const BLOCK = 16 * MiB;
const JOB = 4 * MiB;
const THREADS = 2;

/**
 * The level that is used when none is asked for: 9 where it costs little, lower for large indexes, where 9 would take
 * longer than everything else together (244 MB on two cores: 3 takes 0.8 s for 65.0 MB, 9 takes 5 s for 59.6 MB).
 */
export function levelFor(size: number): number {
  return size <= 32 * MiB ? 9 : size <= 128 * MiB ? 6 : 3;
}

/**
 * One zstd frame with its content size, off the event loop. Same bytes in, same bytes out on every machine.
 * @param pieces the content; each is used up before the next is asked for.
 * @param size bytes of content in all.
 */
export async function* compressedPieces(
  pieces: Iterable<Uint8Array>,
  size: number,
  level: number,
): AsyncGenerator<Uint8Array> {
  const params = {
    [constants.ZSTD_c_compressionLevel]: level,
    [constants.ZSTD_c_contentSizeFlag]: 1,
    [constants.ZSTD_c_checksumFlag]: 1,
  };
  const block = Buffer.allocUnsafeSlow(Math.max(1, Math.min(size, size <= IN_ONE_CALL ? IN_ONE_CALL : BLOCK)));
  if (size <= IN_ONE_CALL) {
    let at = 0;
    for (const piece of pieces) {
      block.set(piece, at);
      at += piece.length;
    }
    yield await compressAsync(block.subarray(0, at), { pledgedSrcSize: size, params, chunkSize: 256 * 1024 });
    return;
  }
  // Each block is flushed: with threads, zstd takes as much of an unflushed one as it likes, which node's stream can't handle.
  const zstd = createZstdCompress({
    pledgedSrcSize: size,
    flush: constants.ZSTD_e_flush,
    chunkSize: MiB,
    params: { ...params, [constants.ZSTD_c_nbWorkers]: THREADS, [constants.ZSTD_c_jobSize]: JOB },
  });
  const write = (bytes: Uint8Array) =>
    new Promise<void>((resolve, reject) => zstd.write(bytes, (e) => (e ? reject(e) : resolve())));
  const feed = async () => {
    let fill = 0;
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; ) {
        const n = Math.min(block.length - fill, piece.length - at);
        block.set(piece.subarray(at, at + n), fill);
        fill += n;
        at += n;
        if (fill === block.length) {
          await write(block);
          fill = 0;
        }
      }
    }
    if (fill > 0) await write(block.subarray(0, fill));
    zstd.end();
  };
  const fed = feed().catch((e: Error) => {
    zstd.destroy(e);
  });
  try {
    for await (const chunk of zstd as AsyncIterable<Uint8Array>) yield chunk;
    await fed;
  } finally {
    zstd.destroy();
  }
}

/** Compressed indexes up to here are decoded in one call, whose pieces are copied together at the end. */
const DECODED_IN_ONE_CALL = 2 * MiB;

/**
 * Decodes a `.zst` index, every frame of it: some tools compress in parallel and join frames, and node's decoder stops
 * after the first. A large one is decoded into one buffer: there is never a second copy of it.
 * @param limit bytes of content at most.
 * @throws the decoder's error when it is damaged, Error when it is larger than the limit.
 */
export async function decompressIndex(bytes: Uint8Array, limit = MAX_INDEX_BYTES): Promise<Uint8Array> {
  if (bytes.length > DECODED_IN_ONE_CALL) return (await decodedWhole(bytes, limit)) ?? decodedInto(bytes, limit);
  const frames: Uint8Array[] = [];
  let left = limit;
  for (let at = 0; at < bytes.length || frames.length === 0; ) {
    const frame = asFrame(await decompressAsync(bytes.subarray(at), { ...DECODER, maxOutputLength: left }));
    frames.push(frame.buffer);
    left -= frame.buffer.length;
    at += frame.engine.bytesWritten;
  }
  return frames.length === 1 ? (frames[0] as Uint8Array) : Buffer.concat(frames);
}

const DECODER = { params: WINDOW, info: true };

/** What `info: true` makes node's decoder give: the content of the first frame, and how many bytes that frame had. */
function asFrame(given: unknown): { readonly buffer: Uint8Array; readonly engine: { readonly bytesWritten: number } } {
  return given as ReturnType<typeof asFrame>;
}

/**
 * One frame that says what it holds, as nearly all are, decoded right into its place: pieces would be copied there, and
 * would wait to be collected meanwhile (76 MB of an index of 245). Undefined for any other.
 */
async function decodedWhole(bytes: Uint8Array, limit: number): Promise<Uint8Array | undefined> {
  const size = frameContent(bytes);
  if (size === undefined || size > limit) return undefined;
  // One byte more, so that one portion is enough.
  const options = { ...DECODER, chunkSize: size + 1, maxOutputLength: limit };
  const { buffer, engine } = asFrame(await decompressAsync(bytes, options));
  return engine.bytesWritten === bytes.length ? buffer : undefined;
}

async function decodedInto(bytes: Uint8Array, limit: number): Promise<Uint8Array> {
  let size = frameContent(bytes);
  if (size === undefined) {
    // Decoding takes a tenth of what a scan takes: counting first is cheaper than room for two copies.
    size = 0;
    for await (const piece of decodedPieces(bytes)) {
      size += piece.length;
      if (size > limit) break;
    }
  }
  const tooLarge = () => new Error(`it holds more than ${limit} bytes`);
  if (size > limit) throw tooLarge();
  let content = Buffer.allocUnsafeSlow(size);
  let at = 0;
  for await (const piece of decodedPieces(bytes)) {
    if (at + piece.length > content.length) {
      // Further frames than the first, which told its own size alone.
      if (at + piece.length > limit) throw tooLarge();
      const larger = Buffer.allocUnsafeSlow(Math.min(limit, (at + piece.length) * 2));
      larger.set(content.subarray(0, at));
      content = larger;
    }
    content.set(piece, at);
    at += piece.length;
  }
  return at === content.length ? content : content.subarray(0, at);
}

/** The content of a `.zst` index piece by piece, every frame of it. @throws the decoder's error when it is damaged */
export async function* decodedPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const zstd = createZstdDecompress({ chunkSize: MiB, params: DECODER.params });
    try {
      zstd.end(bytes.subarray(at));
      for await (const piece of zstd as AsyncIterable<Uint8Array>) yield piece;
    } finally {
      zstd.destroy();
    }
    at += zstd.bytesWritten;
  }
}

/**
 * Decodes a `.bz2` index, every stream of it, with a turn for the event loop after each MiB.
 * @param limit bytes of content at most: 4 GiB but for tests.
 * @throws Error when it is damaged or larger.
 */
export async function decompressBz2(bytes: Uint8Array, limit = MAX_INDEX_BYTES): Promise<Uint8Array> {
  const portions: Uint8Array[] = [];
  let size = 0;
  for await (const portion of bz2Pieces(bytes)) {
    size += portion.length;
    if (size > limit) throw new Error(`it holds more than ${limit} bytes`);
    portions.push(portion.slice());
  }
  return Buffer.concat(portions, size);
}

/** The content of a `.bz2` index piece by piece, as `decompressBz2` has it. A piece is to be used before the next is asked for. */
export async function* bz2Pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const file = {
    size: bytes.length,
    read: async (offset: number, length: number) => bytes.subarray(offset, offset + length),
  };
  let size = 0;
  let turn = MiB;
  try {
    for await (const portion of decodeBzip2(file, "the index")) {
      yield portion;
      size += portion.length;
      if (size < turn) continue;
      turn = size + MiB;
      await setImmediate();
    }
  } catch (e) {
    // It is no package: whoever asked tells which file it is, and what to do.
    throw e instanceof PackageError ? new Error(e.why, { cause: e }) : e;
  }
}
