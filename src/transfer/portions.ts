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

/** Bytes of idle buffers that are kept. */
const KEPT = 16 * 1024 * 1024;

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
