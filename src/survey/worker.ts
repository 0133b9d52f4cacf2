import { enableCompileCache } from "node:module";
import { setImmediate } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import type { SentError } from "../errors.ts";
import type { FileRead, PackageFile } from "../package/file-reader.ts";
import type { SurveyedPackage, SurveyOptions } from "./survey-package.ts";

/** What a worker thread starts with. */
export interface WorkerData {
  /** Where compiled code is kept, when this process keeps any. */
  readonly compileCache: string | undefined;
  readonly options: SurveyOptions;
}

/** Some packages of one folder. */
export interface ToWorker {
  readonly folder: string;
  readonly subdir: string;
  readonly fileNames: readonly string[];
}

/** A package as it crosses threads: its bytes as `sentBytes` makes them. */
export type SentPackage = Omit<SurveyedPackage, "record" | "runExports"> & {
  readonly record: string;
  readonly runExports: string;
};

/** What some of them turned out to be, in the order in which they were through; of none, once, when the thread is up. */
export type FromWorker = readonly ({ readonly fileName: string } & (SentPackage | { readonly error: SentError }))[];

/** Packages that are told of in one message; a message costs what reading a small package does. */
const TOLD_AT_ONCE = 16;

interface Surveying extends PackageFile {
  readonly subdir: string;
}

const port = parentPort;
if (!port) throw new Error("this file is a worker thread's");
const { compileCache, options } = workerData as WorkerData;
if (compileCache !== undefined) enableCompileCache(compileCache);
// Loaded now, so that the cache is there for it.
const { sentBytes } = await import("../conda/sent-bytes.ts");
const { sendError } = await import("../errors.ts");
const { surveyPackage, surveyReader } = await import("./survey-package.ts");

const reader = surveyReader<Surveying>(options);
let running = false;
port.on("message", ({ folder, subdir, fileNames }: ToWorker) => {
  for (const fileName of fileNames) reader.add({ path: `${folder}/${fileName}`, fileName, subdir });
  if (!running) void run();
});
// Up: what ends this thread from now on has to do with what it is given.
port.postMessage([] satisfies FromWorker);

async function run(): Promise<void> {
  running = true;
  let told: FromWorker[number][] = [];
  const tell = async () => {
    port?.postMessage(told);
    told = [];
    // More may have come to read.
    await setImmediate();
  };
  for (;;) {
    const read = await reader.next();
    if (!read && told.length === 0) break;
    if (read) told.push(await answer(read));
    if (!read || told.length === TOLD_AT_ONCE) await tell();
  }
  running = false;
}

async function answer(read: FileRead<Surveying>): Promise<FromWorker[number]> {
  const { fileName, subdir } = read.file;
  try {
    if (!("whole" in read)) throw read.error;
    const one = await surveyPackage(read.whole, fileName, subdir, options);
    return { fileName, ...one, record: sentBytes(one.record), runExports: sentBytes(one.runExports) };
  } catch (e) {
    return { fileName, error: sendError(e, fileName) };
  }
}
