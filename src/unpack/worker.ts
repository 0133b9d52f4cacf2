import { enableCompileCache } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import type { SentError } from "../errors.ts";
import type { InfoArchive } from "./info-archive.ts";
import type { Unpacked } from "./unpack.ts";

/** What a worker thread starts with. */
export interface WorkerData {
  /** Where compiled code is kept, when this process keeps any. */
  readonly compileCache: string | undefined;
}

/** One package to unpack, or to take `info/` out of where no folder is given. */
export interface ToWorker {
  readonly path: string;
  readonly fileName: string;
  readonly folder: string | undefined;
  /** Turns 1 when it is to end early: a thread that decodes does not look for messages. */
  readonly stop: Int32Array<SharedArrayBuffer>;
}

export type FromWorker =
  | { readonly unpacked: Unpacked }
  | { readonly info: InfoArchive }
  | { readonly error: SentError };

const port = parentPort;
if (!port) throw new Error("this file is a worker thread's");
const { compileCache } = workerData as WorkerData;
if (compileCache !== undefined) enableCompileCache(compileCache);
// Loaded now, so that the cache is there for it.
const { InterruptedError, sendError } = await import("../errors.ts");
const { infoArchive } = await import("./info-archive.ts");
const { unpack } = await import("./unpack.ts");

port.on("message", async ({ path, fileName, folder, stop }: ToWorker) => {
  const throwIfAborted = () => {
    if (Atomics.load(stop, 0) === 1) throw new InterruptedError();
  };
  let answer: FromWorker;
  try {
    answer =
      folder === undefined
        ? { info: await infoArchive(path, fileName, { throwIfAborted }) }
        : { unpacked: await unpack(path, fileName, folder, { throwIfAborted }) };
  } catch (e) {
    answer = { error: sendError(e, fileName) };
  }
  port.postMessage(answer);
});
