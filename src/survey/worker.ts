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

/** What each of them turned out to be, in the same order. */
export type FromWorker = readonly (SurveyedPackage | { readonly error: SentError })[];

const port = parentPort;
if (!port) throw new Error("this file is a worker thread's");
const { compileCache } = workerData as WorkerData;
if (compileCache !== undefined) enableCompileCache(compileCache);
// Loaded now, so that the cache is there for it.
const { sendError } = await import("../errors.ts");
const { surveyPackage } = await import("./survey-package.ts");
let queue: Promise<void> = Promise.resolve();
port.on("message", (message: ToWorker) => {
  queue = queue.then(async () => {
    const answer: (SurveyedPackage | { error: SentError })[] = [];
    for (const fileName of message.fileNames) {
      try {
        answer.push(await surveyPackage(`${message.folder}/${fileName}`, fileName, message.subdir, message.options));
      } catch (e) {
        answer.push({ error: sendError(e, fileName) });
      }
    }
    port.postMessage(answer);
  });
});
