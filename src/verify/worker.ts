import { enableCompileCache } from "node:module";
import { parentPort, workerData } from "node:worker_threads";

/** Packages to check, as they cross threads: records as `sentBytes` makes them. */
export interface ToWorker {
  readonly id: number;
  readonly subdir: string;
  readonly roots: readonly string[];
  readonly folder: string;
  /** File name and record, in turns. */
  readonly files: readonly string[];
}

/** What a batch came to; of the files only those are named that something is wrong with. */
export interface FromWorker {
  readonly id: number;
  readonly bytes: number;
  readonly unhashed: number;
  readonly problems: readonly { readonly fileName: string; readonly code: string; readonly detail: string }[];
  /** Set where the thread itself failed. */
  readonly error?: string;
}

const port = parentPort;
if (!port) throw new Error("this file is a worker thread's");
const { compileCache } = workerData as { readonly compileCache: string | undefined };
if (compileCache !== undefined) enableCompileCache(compileCache);
// Loaded now, so that the cache is there for it.
const { bytesSent } = await import("../conda/sent-bytes.ts");
const { FileChecker } = await import("./check-file.ts");

port.postMessage("up");

const checker = new FileChecker();
let last: Promise<void> = Promise.resolve();
port.on("message", (batch: ToWorker) => {
  last = last.then(() => run(batch));
});

async function run({ id, subdir, roots, folder, files }: ToWorker): Promise<void> {
  const problems: { fileName: string; code: string; detail: string }[] = [];
  let bytes = 0;
  let unhashed = 0;
  try {
    for (let i = 0; i < files.length; i += 2) {
      const [fileName, record] = [files[i] as string, bytesSent(files[i + 1] as string)];
      const checked = await checker.check({ path: `${folder}/${fileName}`, fileName, record }, { subdir, roots });
      bytes += checked.bytes;
      if (!checked.hashed) unhashed++;
      if (checked.problem) problems.push({ fileName, ...checked.problem });
    }
    port?.postMessage({ id, bytes, unhashed, problems } satisfies FromWorker);
  } catch (e) {
    port?.postMessage({ id, bytes, unhashed, problems, error: String((e as Error).stack) } satisfies FromWorker);
  }
}
