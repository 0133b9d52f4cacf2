import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { TransferError } from "../errors.ts";
import type { Open } from "./place.ts";

/** Opens a file of this machine as a package's place. */
export function openFile(path: string): Open {
  return async (request, signal) => {
    const s = await stat(path).catch((e: Error) => {
      throw broken(path, e);
    });
    const version = `${s.size}-${s.mtimeMs}-${s.ino}`;
    if (request.unlessVersion === version) return "unchanged";
    const start = request.ifVersion !== undefined && request.ifVersion !== version ? 0 : (request.start ?? 0);
    if (start >= s.size) return { start, size: s.size, version, chunks: nothing(), cancel: () => undefined };
    const stream = createReadStream(path, {
      start,
      ...(request.end !== undefined ? { end: request.end - 1 } : {}),
      highWaterMark: 512 * 1024,
      signal,
    });
    stream.on("error", () => undefined);
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for await (const chunk of stream) yield chunk as Uint8Array;
      } catch (e) {
        throw broken(path, e as Error);
      }
    };
    return { start, size: s.size, version, chunks: chunks(), cancel: () => stream.destroy() };
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
