import { enableCompileCache } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import type { SentError } from "../errors.ts";
import type { SurveyedPackage, SurveyOptions } from "./survey-package.ts";

/** What a worker thread starts with. */
export interface WorkerData {
  /** Where compiled code is kept, when this process keeps any. */
  readonly compileCache: string | undefined;
}

/** Some packages of one folder. */
export interface ToWorker {
  readonly folder: string;
  readonly subdir: string;
  readonly fileNames: readonly string[];
  readonly options: SurveyOptions;
}

/** A package as it crosses threads: its bytes as `sentBytes` makes them. */
export type SentPackage = Omit<SurveyedPackage, "record" | "runExports"> & {
  readonly record: string;
  readonly runExports: string;
};

/** What each of them turned out to be, in the same order. */
export type FromWorker = readonly (SentPackage | { readonly error: SentError })[];

const port = parentPort;
if (!port) throw new Error("this file is a worker thread's");
const { compileCache } = workerData as WorkerData;
if (compileCache !== undefined) enableCompileCache(compileCache);
// Loaded now, so that the cache is there for it.
const { sentBytes } = await import("../conda/sent-bytes.ts");
const { sendError } = await import("../errors.ts");
const { surveyPackage } = await import("./survey-package.ts");
let queue: Promise<void> = Promise.resolve();
port.on("message", (message: ToWorker) => {
  queue = queue.then(async () => {
    const answer: (SentPackage | { error: SentError })[] = [];
    for (const fileName of message.fileNames) {
      try {
        const one = await surveyPackage(`${message.folder}/${fileName}`, fileName, message.subdir, message.options);
        answer.push({ ...one, record: sentBytes(one.record), runExports: sentBytes(one.runExports) });
      } catch (e) {
        answer.push({ error: sendError(e, fileName) });
      }
    }
    port.postMessage(answer);
  });
});
