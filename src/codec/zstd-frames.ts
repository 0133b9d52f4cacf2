import { constants, createZstdCompress, createZstdDecompress, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { reusableZstd } from "./zstd-reused.ts";

const MiB = 1024 * 1024;

/** Windows up to here are decoded, as zstd's own tool does. */
export const WINDOW = { [constants.ZSTD_d_windowLogMax]: 27 };

/** Frames that say they hold at most this are decoded with one context, and so much is compressed with one. */
const SMALL = MiB;

/** Small frames of one kind, one after another: each costs what its bytes cost, not what node's objects around it do. */
export class FramePacker {
  readonly #params: Readonly<Record<number, number>>;
  readonly #zstd;
  #room = Buffer.alloc(0);

  /** @param params zstd's, as node takes them. */
  constructor(params: Readonly<Record<number, number>>) {
    this.#params = params;
    this.#zstd = reusableZstd(() => createZstdCompress({ params, chunkSize: 64 }), constants.ZSTD_e_end);
  }

  /** One frame; the same bytes whatever was packed before. */
  pack(content: Uint8Array): Buffer {
    if (content.length <= SMALL) {
      const most = content.length + (content.length >> 7) + 512;
      if (this.#room.length < most) this.#room = Buffer.allocUnsafeSlow(most);
      const done = this.#zstd.run(content, this.#room);
      if (done?.read === content.length && done.written < this.#room.length)
        return Buffer.from(this.#room.subarray(0, done.written));
      this.#zstd.forget();
    }
    return zstdCompressSync(content, {
      pledgedSrcSize: content.length,
      params: this.#params,
      chunkSize: Math.max(1024, content.length),
    });
  }
}

const decoder = reusableZstd(() => createZstdDecompress({ params: WINDOW, chunkSize: 64 }), constants.ZSTD_e_continue);

/** A frame that was decoded, and how many bytes it had. */
export interface DecodedFrame {
  readonly content: Uint8Array;
  readonly bytes: number;
}

/**
 * Decodes the frame at the beginning of `bytes`, without a turn of the thread pool: meant for what is small.
 * @param limit bytes of content at most.
 * @throws the decoder's error when it is damaged; with the code ERR_BUFFER_TOO_LARGE when it holds more.
 */
export function decodeFrame(bytes: Uint8Array, limit: number): DecodedFrame {
  const frame = measureFrame(bytes);
  if (frame && frame.content <= Math.min(limit, SMALL)) {
    const content = Buffer.allocUnsafe(frame.content);
    const done = decoder.run(bytes.subarray(0, frame.bytes), content);
    if (done?.read === frame.bytes && done.written === frame.content) return { content, bytes: frame.bytes };
    // Damaged: the call below says how.
    decoder.forget();
  }
  // One byte more than it says, so that one portion is enough; what it says may be anything.
  const chunkSize = Math.min(MiB, Math.max(16 * 1024, (frameContent(bytes) ?? bytes.length * 8) + 1));
  const given = zstdDecompressSync(bytes, {
    params: WINDOW,
    info: true,
    maxOutputLength: Math.max(1, limit),
    chunkSize,
  }) as unknown as { readonly buffer: Uint8Array; readonly engine: { readonly bytesWritten: number } };
  return { content: given.buffer, bytes: given.engine.bytesWritten };
}

/**
 * Decodes every frame of what is small: node's decoders stop after the first.
 * @param limit bytes of content at most.
 * @throws as `decodeFrame`
 */
export function decodeFrames(bytes: Uint8Array, limit: number): Uint8Array {
  const frames: Uint8Array[] = [];
  for (let at = 0, left = limit; at < bytes.length || frames.length === 0; ) {
    const frame = decodeFrame(bytes.subarray(at), left);
    frames.push(frame.content);
    left -= frame.content.length;
    at += frame.bytes;
  }
  return frames.length === 1 ? (frames[0] as Uint8Array) : Buffer.concat(frames);
}

/** What the head of a zstd frame says that it holds (RFC 8878 §3.1.1.1), bytes; undefined where it does not say. */
export function frameContent(bytes: Uint8Array): number | undefined {
  return headOf(bytes)?.content;
}

/** The length of a whole frame that says what it holds, by the heads of its blocks (RFC 8878 §3.1.1.2). */
function measureFrame(bytes: Uint8Array): { readonly content: number; readonly bytes: number } | undefined {
  const head = headOf(bytes);
  if (head?.content === undefined) return undefined;
  for (let at = head.length; at + 3 <= bytes.length; ) {
    const block = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
    // A block that repeats one byte holds that byte alone.
    at += 3 + (((block >> 1) & 3) === 1 ? 1 : block >> 3);
    if ((block & 1) === 0) continue;
    const end = at + (head.checksum ? 4 : 0);
    return end <= bytes.length ? { content: head.content, bytes: end } : undefined;
  }
  return undefined;
}

interface FrameHead {
  readonly content: number | undefined;
  readonly checksum: boolean;
  /** Bytes of the head itself. */
  readonly length: number;
}

function headOf(bytes: Uint8Array): FrameHead | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 5 || view.getUint32(0, true) !== 0xfd2fb528) return undefined;
  const descriptor = bytes[4] as number;
  const single = (descriptor & 32) !== 0;
  const at = 5 + (single ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] as number);
  const width = [single ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
  if (bytes.length < at + width) return undefined;
  const content =
    width === 0
      ? undefined
      : width === 1
        ? view.getUint8(at)
        : width === 2
          ? view.getUint16(at, true) + 256
          : width === 4
            ? view.getUint32(at, true)
            : Number(view.getBigUint64(at, true));
  return { content, checksum: (descriptor & 4) !== 0, length: at + width };
}
