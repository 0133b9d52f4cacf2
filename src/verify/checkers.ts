import { getCompileCacheDir } from "node:module";
import { Worker } from "node:worker_threads";
import { sentBytes } from "../conda/sent-bytes.ts";
import type { IndexRecord } from "../index/index-record.ts";
import { threadArgv } from "../thread-argv.ts";
import type { FromWorker, ToWorker } from "./worker.ts";

/** Files that go to a thread in one message. */
export const BATCH = 16;

/** Batches that a thread has at most, so that it never waits for the next. */
export const AHEAD = 3;

/** Worker threads that check packages against their records. */
export interface Checkers {
  readonly threads: number;
  /** Starts the threads, which takes longer than reading a small index. */
  prepare(): void;
  /**
   * Checks packages that lie in one folder of this machine.
   * @throws Error when a thread dies
   */
  check(
    folder: string,
    files: readonly IndexRecord[],
    inside: { readonly subdir: string; readonly roots: readonly string[] },
  ): Promise<Omit<FromWorker, "id" | "error">>;
  close(): Promise<void>;
}

/** Megabytes that a thread's new objects may take: what a package leaves behind is soon gone, and more room is only filled. */
const YOUNG_MB = 8;

/** @param threads they are started when there is something to check. */
export function openCheckers(threads: number): Checkers {
  const workers: { readonly worker: Worker; waiting: number }[] = [];
  const asked = new Map<number, { resolve: (answer: FromWorker) => void; reject: (e: Error) => void }>();
  let failed: Error | undefined;
  let closed = false;
  let ids = 0;
  const fail = (e: Error) => {
    failed ??= e;
    for (const { reject } of asked.values()) reject(failed);
    asked.clear();
  };
  const start = () => {
    // From source the thread runs TypeScript, from the build JavaScript: the file beside this one, of the same kind.
    const entry = new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url);
    const workerData = { compileCache: getCompileCacheDir() };
    while (workers.length < threads) {
      const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MB };
      const worker = new Worker(entry, { workerData, ...threadArgv(), resourceLimits });
      const one = { worker, waiting: 0 };
      worker.on("message", (answer: FromWorker) => {
        one.waiting--;
        const its = asked.get(answer.id);
        asked.delete(answer.id);
        if (answer.error === undefined) its?.resolve(answer);
        else its?.reject(new Error(answer.error));
      });
      worker.on("error", (e) => fail(e instanceof Error ? e : new Error(String(e))));
      worker.on("exit", (code) => {
        if (!closed) fail(new Error(`a worker thread ended with code ${code}`));
      });
      workers.push(one);
    }
  };
  return {
    threads,
    prepare: start,
    check(folder, files, { subdir, roots }) {
      start();
      return new Promise((resolve, reject) => {
        if (failed) return reject(failed);
        const id = ids++;
        asked.set(id, { resolve, reject });
        let least = workers[0] as (typeof workers)[number];
        for (const one of workers) if (one.waiting < least.waiting) least = one;
        least.waiting++;
        const sent = files.flatMap(({ fileName, record }) => [fileName, sentBytes(record)]);
        least.worker.postMessage({ id, subdir, roots, folder, files: sent } satisfies ToWorker);
      });
    },
    async close() {
      closed = true;
      await Promise.all(workers.map(({ worker }) => worker.terminate()));
    },
  };
}
