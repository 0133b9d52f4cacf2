/**
 * Buffers for bytes on their way to the worker threads and back. A run that moves many packages uses the same few again
 * and again: fresh ones would stay until the next garbage collection, hundreds of megabytes later.
 */
export interface Portions {
  /** A buffer with room for at least `bytes`, to be handed over; its content is arbitrary. */
  take(bytes: number): Uint8Array<ArrayBuffer>;
  /** Takes back a buffer that a worker has done with. */
  give(buffer: ArrayBuffer): void;
}

const SMALLEST = 64 * 1024;

/** Buffers kept of each size. */
const KEPT = 40;

export function makePortions(): Portions {
  const free = new Map<number, ArrayBuffer[]>();
  return {
    take(bytes) {
      const size = Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(bytes)));
      const buffer = free.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size).buffer;
      return new Uint8Array(buffer as ArrayBuffer);
    },
    give(buffer) {
      const kept = free.get(buffer.byteLength);
      if (!kept) free.set(buffer.byteLength, [buffer]);
      else if (kept.length < KEPT) kept.push(buffer);
    },
  };
}
