import { getCompileCacheDir } from "node:module";
import { Worker } from "node:worker_threads";
import { sentBytes } from "../conda/sent-bytes.ts";
import type { IndexRecord } from "../index/index-record.ts";
import { LostThread } from "../lost-thread.ts";
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
   * Checks packages that lie in one folder of this machine. What a thread had that died is checked again, each file by a thread that
   * has no other: of one that ends such a thread too nothing more can be said than that.
   * @throws LostThread when no thread comes up
   */
  check(folder: string, files: readonly IndexRecord[], inside: Where): Promise<CheckedFiles>;
  close(): Promise<void>;
}

/** A subdir, and the folders that links may lead into. */
export interface Where {
  readonly subdir: string;
  readonly roots: readonly string[];
}

export type CheckedFiles = Omit<FromWorker, "id" | "error">;

/** Megabytes that a thread's new objects may take: what a package leaves behind is soon gone, and more room is only filled. */
const YOUNG_MB = 16;

interface Job {
  readonly message: ToWorker;
  resolve(answer: CheckedFiles): void;
  reject(e: Error): void;
}

interface Thread {
  readonly worker: Worker;
  /** It has loaded its code. */
  up: boolean;
  readonly jobs: Map<number, Job>;
}

/** @param threads they are started when there is something to check. */
export function openCheckers(threads: number): Checkers {
  const common = new Set<Thread>();
  const all = new Set<Thread>();
  let closed = false;
  let ids = 0;
  /** @param pool what the thread is one of. */
  const start = (pool: Set<Thread>, lost: (thread: Thread, why: LostThread) => void): Thread => {
    // From source the thread runs TypeScript, from the build JavaScript: the file beside this one, of the same kind.
    const entry = new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url);
    const workerData = { compileCache: getCompileCacheDir() };
    const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MB };
    const worker = new Worker(entry, { workerData, ...threadArgv(), resourceLimits });
    const thread: Thread = { worker, up: false, jobs: new Map() };
    worker.on("message", (answer: FromWorker | "up") => {
      thread.up = true;
      if (answer === "up") return;
      const job = thread.jobs.get(answer.id);
      thread.jobs.delete(answer.id);
      if (answer.error === undefined) job?.resolve(answer);
      else job?.reject(new Error(answer.error));
    });
    const end = (why: Error | number) => {
      all.delete(thread);
      if (pool.delete(thread) && !closed) lost(thread, new LostThread(why));
    };
    worker.on("error", (e: unknown) => end(e instanceof Error ? e : new Error(String(e))));
    worker.on("exit", end);
    pool.add(thread);
    all.add(thread);
    return thread;
  };
  const give = (thread: Thread, job: Job): void => {
    const id = ids++;
    thread.jobs.set(id, job);
    thread.worker.postMessage({ ...job.message, id } satisfies ToWorker);
  };

  let alone: Promise<unknown> = Promise.resolve();
  /** Checks one file in a thread that has no other, one after the other. */
  const checkAlone = (message: ToWorker): Promise<CheckedFiles> => {
    const one = alone.then(
      () =>
        new Promise<CheckedFiles>((resolve, reject) => {
          const thread = start(new Set(), ({ up }, why) => {
            const [fileName] = message.files as readonly [string];
            const problem = { fileName, code: "PACKAGE_UNREADABLE", detail: why.toldOf(fileName).why };
            if (up) resolve({ bytes: 0, unhashed: 0, problems: [problem] });
            else reject(why);
          });
          give(thread, {
            message,
            resolve(answer) {
              resolve(answer);
              void thread.worker.terminate();
            },
            reject,
          });
        }),
    );
    alone = one.catch(() => undefined);
    return one;
  };
  const onLost = ({ up, jobs }: Thread, why: LostThread): void => {
    for (const { message, resolve, reject } of jobs.values()) {
      // Where one does not even come up, another would not either.
      if (!up) reject(why);
      else apart(message).then(resolve, reject);
    }
    if (up) startAll();
  };
  const startAll = () => {
    while (common.size < threads) start(common, onLost);
  };
  const apart = async (message: ToWorker): Promise<CheckedFiles> => {
    const { files } = message;
    const answers: CheckedFiles[] = [];
    for (let i = 0; i < files.length; i += 2)
      answers.push(await checkAlone({ ...message, files: files.slice(i, i + 2) }));
    return {
      bytes: answers.reduce((sum, a) => sum + a.bytes, 0),
      unhashed: answers.reduce((sum, a) => sum + a.unhashed, 0),
      problems: answers.flatMap((a) => a.problems),
    };
  };
  return {
    threads,
    prepare: startAll,
    check(folder, files, { subdir, roots }) {
      startAll();
      return new Promise((resolve, reject) => {
        const [least] = [...common].sort((a, b) => a.jobs.size - b.jobs.size) as [Thread];
        const sent = files.flatMap(({ fileName, record }) => [fileName, sentBytes(record)]);
        give(least, { message: { id: 0, subdir, roots, folder, files: sent }, resolve, reject });
      });
    },
    async close() {
      closed = true;
      await Promise.all([...all].map(({ worker }) => worker.terminate()));
    },
  };
}
