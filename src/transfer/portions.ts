/** The largest file that is held in memory whole before anything of it is written. */
export const WHOLE = 1024 * 1024;

/** Larger files are hashed and written in parts of this size, which also is how finely progress is told. */
const PART = 256 * 1024;

/**
 * Room for the next portion of a file: all of a small one, else a part. One byte more would cost a second portion.
 * @param size bytes of the whole file, where they are known.
 * @param got bytes that came in earlier portions.
 */
export function portionFor(size: number | undefined, got: number): number {
  if (size === undefined) return PART;
  if (got === 0 && size <= WHOLE) return Math.max(1, size);
  return Math.max(1, Math.min(PART, size - got));
}

/**
 * Buffers for bytes on their way to be hashed and written, used again and again: fresh ones would stay until the next
 * garbage collection, hundreds of megabytes later.
 */
export interface Portions {
  /** A buffer with room for at least `bytes`, now the taker's; its content is arbitrary. */
  take(bytes: number): Uint8Array<ArrayBuffer>;
  /** Takes back a buffer that is done with. */
  give(buffer: ArrayBuffer): void;
}

const SMALLEST = 32 * 1024;

/** Bytes of idle buffers that are kept. */
const KEPT = 8 * 1024 * 1024;

export function makePortions(): Portions {
  const free = new Map<number, ArrayBuffer[]>();
  let kept = 0;
  return {
    take(bytes) {
      const size = Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(bytes)));
      const idle = free.get(size)?.pop();
      if (idle) kept -= size;
      return new Uint8Array(idle ?? (Buffer.allocUnsafeSlow(size).buffer as ArrayBuffer));
    },
    give(buffer) {
      if (kept + buffer.byteLength > KEPT) return;
      kept += buffer.byteLength;
      const idle = free.get(buffer.byteLength);
      if (idle) idle.push(buffer);
      else free.set(buffer.byteLength, [buffer]);
    },
  };
}

/**
 * Chunks of any size and owner, gathered into portions that are the taker's. What came before an error is handed out
 * before the error is thrown.
 * @param size bytes that will come, where they are known.
 */
export async function* inPortions(
  chunks: AsyncIterable<Uint8Array>,
  size: number | undefined,
  portions: Portions,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let got = 0;
  let room = portionFor(size, got);
  let portion = portions.take(room);
  let fill = 0;
  const full = (): Uint8Array<ArrayBuffer> => {
    const ready = portion.subarray(0, fill);
    got += fill;
    fill = 0;
    room = portionFor(size, got);
    portion = portions.take(room);
    return ready;
  };
  let broken: { error: unknown } | undefined;
  try {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length; ) {
        if (fill === room) yield full();
        const n = Math.min(room - fill, chunk.length - at);
        portion.set(chunk.subarray(at, at + n), fill);
        fill += n;
        at += n;
      }
    }
  } catch (error) {
    broken = { error };
  }
  if (fill > 0) yield portion.subarray(0, fill);
  if (broken) throw broken.error;
}
