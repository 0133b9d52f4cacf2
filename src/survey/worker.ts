import { parentPort } from "node:worker_threads";
import { type SentError, sendError } from "../errors.ts";
import { type SurveyedPackage, type SurveyOptions, surveyPackage } from "./survey-package.ts";

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
