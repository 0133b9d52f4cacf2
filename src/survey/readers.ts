import { getCompileCacheDir } from "node:module";
import { Worker } from "node:worker_threads";
import { bytesSent } from "../conda/sent-bytes.ts";
import { type MirrorError, reviveError } from "../errors.ts";
import { LostThread } from "../lost-thread.ts";
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
   * Reads packages of one folder, in no order. Ends early when the signal aborts. What a thread had that died is read again,
   * each file by a thread that has no other: one that ends such a thread too is told as a failure.
   * @throws Error when no thread comes up.
   */
  read(folder: string, subdir: string, fileNames: readonly string[], signal: AbortSignal): AsyncGenerator<Surveyed>;
  /** Ends the threads; nothing can be read after that. May be called again. */
  close(): Promise<void>;
}

interface Thread {
  readonly worker: Worker;
  /** It has loaded its code. */
  up: boolean;
  /** What it was given and has not told of. */
  readonly has: Set<string>;
  /** It has one file alone, which may have ended an earlier thread, and is given no other meanwhile. */
  alone: boolean;
}

/** @param count threads; they are started when there is something to read. */
export function openReaders(count: number, options: SurveyOptions): Readers {
  const threads = new Set<Thread>();
  let closed: Promise<void> | undefined;
  // Who reads hears of what threads say; between readings there is nothing to hear.
  let onAnswer: (thread: Thread, answer: FromWorker) => void = () => undefined;
  let onLost: (thread: Thread, why: LostThread) => void = () => undefined;
  const start = () => {
    // From source the thread runs TypeScript, from the build JavaScript: the file beside this one, of the same kind.
    const entry = new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url);
    const workerData: WorkerData = { compileCache: getCompileCacheDir(), options };
    const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MB };
    const worker = new Worker(entry, { workerData, ...threadArgv(), resourceLimits });
    const thread: Thread = { worker, up: false, has: new Set(), alone: false };
    threads.add(thread);
    worker.on("message", (answer: FromWorker) => {
      thread.up = true;
      onAnswer(thread, answer);
    });
    const lost = (why: Error | number) => {
      if (!closed && threads.delete(thread)) onLost(thread, new LostThread(why));
    };
    worker.on("error", (e: unknown) => lost(e instanceof Error ? e : new Error(String(e))));
    worker.on("exit", lost);
  };
  const startUpTo = (needed: number) => {
    while (threads.size < needed) start();
  };
  return {
    prepare: () => startUpTo(count),
    async *read(folder, subdir, fileNames, signal) {
      const needed = Math.min(count, Math.ceil(fileNames.length / BATCH));
      startUpTo(needed);
      const results: Surveyed[] = [];
      /** What threads had that died: each is read again alone. */
      const suspects: string[] = [];
      let wake: () => void = () => undefined;
      let failed: LostThread | undefined;
      let next = 0;
      let running = 0;
      const give = ({ worker, has }: Thread, batch: readonly string[]) => {
        for (const fileName of batch) has.add(fileName);
        running += batch.length;
        worker.postMessage({ folder, subdir, fileNames: batch } satisfies ToWorker);
      };
      const send = (thread: Thread) => {
        if (signal.aborted || thread.alone) return;
        const suspect = thread.has.size === 0 ? suspects.shift() : undefined;
        if (suspect !== undefined) {
          thread.alone = true;
          give(thread, [suspect]);
          return;
        }
        for (; thread.has.size + BATCH <= AHEAD && next < fileNames.length; next += BATCH)
          give(thread, fileNames.slice(next, next + BATCH));
      };
      onAnswer = (thread, answer) => {
        for (const a of answer) {
          if (!thread.has.delete(a.fileName)) continue;
          running--;
          results.push(
            "error" in a
              ? { fileName: a.fileName, ok: false, error: reviveError(a.error) }
              : { ok: true, ...a, record: bytesSent(a.record), runExports: bytesSent(a.runExports) },
          );
        }
        if (thread.has.size === 0) thread.alone = false;
        send(thread);
        wake();
      };
      onLost = ({ up, alone, has }, why) => {
        running -= has.size;
        const [one] = has;
        if (alone && up && one !== undefined) results.push({ fileName: one, ok: false, error: why.toldOf(one) });
        else suspects.push(...has);
        // Where one does not even come up, another would not either.
        if (up) startUpTo(needed);
        else if (threads.size === 0) failed = why;
        for (const thread of threads) send(thread);
        wake();
      };
      for (const thread of threads) send(thread);
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
        onAnswer = () => undefined;
        onLost = () => undefined;
      }
    },
    close() {
      closed ??= Promise.all([...threads].map((t) => t.worker.terminate())).then(() => undefined);
      return closed;
    },
  };
}
