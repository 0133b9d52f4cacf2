import { readSync } from "node:fs";
import { PackageError } from "../errors.ts";

/** Bytes that can be read at any place: a file, a buffer, or a server that answers range requests. */
export interface ReadAt {
  /** Bytes in all. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`; both lie inside `size`. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Reads from a buffer; what it gives shares the buffer's memory. */
export function readAtBuffer(bytes: Uint8Array): ReadAt {
  return { size: bytes.length, read: async (offset, length) => bytes.subarray(offset, offset + length) };
}

/** @throws PackageError UNREADABLE for what the system refuses: it says nothing of what the file holds */
export function reading<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (e) {
    throw unreadable(what, (e as Error).message, e);
  }
}

export function unreadable(what: string, why: string, cause?: unknown): PackageError {
  return new PackageError("UNREADABLE", {
    what: `${what}: can't be read`,
    why,
    next: "check that it is there, its permissions and its disk, and run again",
    cause,
  });
}

/** Reads from an open file. Synchronous underneath: it is used in worker threads, where that is the fastest way. */
export function readAtFile(fd: number, size: number, what: string): ReadAt {
  return {
    size,
    async read(offset, length) {
      const bytes = Buffer.allocUnsafe(length);
      for (let got = 0; got < length; ) {
        const n = reading(what, () => readSync(fd, bytes, got, length - got, offset + got));
        if (n === 0) {
          throw new PackageError("DAMAGED", {
            what,
            why: `the file ended ${length - got} bytes early`,
            next: "fetch it again",
          });
        }
        got += n;
      }
      return bytes;
    },
  };
}
