import { getCompileCacheDir } from "node:module";
import { Worker } from "node:worker_threads";
import { bytesSent } from "../conda/sent-bytes.ts";
import { type MirrorError, reviveError } from "../errors.ts";
import { threadArgv } from "../thread-argv.ts";
import type { SurveyedPackage, SurveyOptions } from "./survey-package.ts";
import type { FromWorker, ToWorker, WorkerData } from "./worker.ts";

/** What became of one package. */
export type Surveyed =
  | ({ readonly fileName: string; readonly ok: true } & SurveyedPackage)
  | { readonly fileName: string; readonly ok: false; readonly error: MirrorError };

/** Files that go to a thread in one message. */
const BATCH = 16;

/** Megabytes that a thread's new objects may take: what a package leaves behind is soon gone, and more room is only filled. */
const YOUNG_MB = 8;

/** Files that a thread has at most: it reads several side by side and never waits for the next. */
const AHEAD = 48;

/** Worker threads that read packages. */
export interface Readers {
  /** Starts the threads, which takes longer than finding out what there is to read. */
  prepare(): void;
  /**
   * Reads packages of one folder, in no order. Ends early when the signal aborts.
   * @throws Error when a thread dies.
   */
  read(folder: string, subdir: string, fileNames: readonly string[], signal: AbortSignal): AsyncGenerator<Surveyed>;
  /** Ends the threads; nothing can be read after that. May be called again. */
  close(): Promise<void>;
}

/** @param count threads; they are started when there is something to read. */
export function openReaders(count: number, options: SurveyOptions): Readers {
  const workers: Worker[] = [];
  let closed: Promise<void> | undefined;
  const start = (needed: number) => {
    // From source the thread runs TypeScript, from the build JavaScript: the file beside this one, of the same kind.
    const entry = new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url);
    const workerData: WorkerData = { compileCache: getCompileCacheDir(), options };
    const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MB };
    while (workers.length < needed) workers.push(new Worker(entry, { workerData, ...threadArgv(), resourceLimits }));
  };
  return {
    prepare: () => start(count),
    async *read(folder, subdir, fileNames, signal) {
      start(Math.min(count, Math.ceil(fileNames.length / BATCH)));
      const results: Surveyed[] = [];
      let wake: () => void = () => undefined;
      let failed: Error | undefined;
      let next = 0;
      let running = 0;
      const listeners: (() => void)[] = [];
      for (const worker of workers) {
        let sent = 0;
        const send = () => {
          while (!signal.aborted && sent + BATCH <= AHEAD && next < fileNames.length) {
            const batch = fileNames.slice(next, next + BATCH);
            next += batch.length;
            sent += batch.length;
            running += batch.length;
            worker.postMessage({ folder, subdir, fileNames: batch } satisfies ToWorker);
          }
        };
        const onMessage = (answer: FromWorker) => {
          sent -= answer.length;
          running -= answer.length;
          for (const a of answer) {
            results.push(
              "error" in a
                ? { fileName: a.fileName, ok: false, error: reviveError(a.error) }
                : { ok: true, ...a, record: bytesSent(a.record), runExports: bytesSent(a.runExports) },
            );
          }
          send();
          wake();
        };
        const onError = (e: unknown) => {
          failed ??= e instanceof Error ? e : new Error(String(e));
          wake();
        };
        const onExit = (code: number) => onError(new Error(`a worker thread ended with code ${code}`));
        worker.on("message", onMessage).on("error", onError).on("exit", onExit);
        listeners.push(() => worker.off("message", onMessage).off("error", onError).off("exit", onExit));
        send();
      }
      try {
        for (;;) {
          yield* results.splice(0);
          if (failed) throw failed;
          if (running === 0 && results.length === 0) return;
          if (results.length === 0) {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        }
      } finally {
        for (const off of listeners) off();
      }
    },
    close() {
      closed ??= Promise.all(workers.map((w) => w.terminate())).then(() => undefined);
      return closed;
    },
  };
}
