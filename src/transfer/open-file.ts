import { open, stat } from "node:fs/promises";
import { TransferError } from "../errors.ts";
import type { Open } from "./place.ts";
import { makePortions, type Portions, portionFor } from "./portions.ts";

/**
 * Opens a file of this machine as a package's place.
 * @param portions where the buffers of its bytes are taken from.
 */
export function openFile(path: string, portions: Portions = makePortions()): Open {
  return async (request, signal) => {
    const s = await stat(path).catch((e: Error) => {
      throw broken(path, e);
    });
    const version = `${s.size}-${s.mtimeMs}-${s.ino}`;
    if (request.unlessVersion === version) return "unchanged";
    const start = request.ifVersion !== undefined && request.ifVersion !== version ? 0 : (request.start ?? 0);
    if (start >= s.size) return { start, size: s.size, version, chunks: nothing(), cancel: () => undefined };
    const end = Math.min(request.end ?? s.size, s.size);
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      try {
        const file = await open(path, "r");
        try {
          for (let at = start; at < end; ) {
            signal.throwIfAborted();
            const room = portionFor(end, at);
            const portion = portions.take(room);
            const { bytesRead } = await file.read(portion, 0, room, at);
            if (bytesRead === 0) return;
            at += bytesRead;
            yield portion.subarray(0, bytesRead);
          }
        } finally {
          await file.close();
        }
      } catch (e) {
        throw broken(path, e as Error);
      }
    };
    return { start, size: s.size, version, chunks: chunks(), owned: true, cancel: () => undefined };
  };
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // A file of no bytes.
}

function broken(path: string, e: Error): Error {
  if (e.name === "AbortError") return e;
  return new TransferError(
    "CUT",
    { what: path, why: e.message, next: "check the file and its disk", cause: e },
    { mayPass: false },
  );
}
