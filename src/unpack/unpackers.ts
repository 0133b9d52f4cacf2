import { getCompileCacheDir } from "node:module";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { InterruptedError, reviveError } from "../errors.ts";
import { LostThread } from "../lost-thread.ts";
import { threadArgv } from "../thread-argv.ts";
import type { InfoArchive } from "./info-archive.ts";
import type { Unpacked } from "./unpack.ts";
import type { FromWorker, ToWorker, WorkerData } from "./worker.ts";

/** Each decodes and writes, so that one for every core keeps it busy. */
const MOST_THREADS = 4;

/** Megabytes that a thread's new objects may take: portions are soon gone, and more room is only filled. */
const YOUNG_MB = 8;

/** Worker threads that unpack packages, one at a time each. */
export interface Unpackers {
  /**
   * As `unpack` does it, in a thread.
   * @throws MirrorError
   */
  unpack(path: string, fileName: string, folder: string, signal: AbortSignal): Promise<Unpacked>;
  /**
   * As `infoArchive` does it, in a thread.
   * @throws MirrorError
   */
  info(path: string, fileName: string, signal: AbortSignal): Promise<InfoArchive>;
  close(): Promise<void>;
}

interface Job {
  readonly message: ToWorker;
  readonly done: (answer: FromWorker | Error) => void;
}

/** Each thread is started when there is work for it. */
export function openUnpackers(): Unpackers {
  const count = Math.min(MOST_THREADS, availableParallelism());
  const idle: Worker[] = [];
  const all = new Set<Worker>();
  const waiting: Job[] = [];
  const running = new Map<Worker, Job>();
  let closing = false;

  const run = (worker: Worker, job: Job) => {
    running.set(worker, job);
    worker.ref();
    worker.postMessage(job.message);
  };
  const start = (): Worker => {
    const workerData: WorkerData = { compileCache: getCompileCacheDir() };
    // From source the thread runs TypeScript, from the build JavaScript: the file beside this one, of the same kind.
    const worker = new Worker(new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url), {
      workerData,
      ...threadArgv(),
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    all.add(worker);
    worker.on("message", (answer: FromWorker) => {
      running.get(worker)?.done(answer);
      running.delete(worker);
      const next = waiting.shift();
      if (next) return run(worker, next);
      worker.unref();
      idle.push(worker);
    });
    const lost = (why: Error | number) => {
      if (!all.delete(worker)) return;
      if (idle.includes(worker)) idle.splice(idle.indexOf(worker), 1);
      const job = running.get(worker);
      running.delete(worker);
      job?.done(closing ? new InterruptedError() : new LostThread(why).toldOf(job.message.fileName));
      // Whoever waits gets another thread. Each that is lost takes one job along, so that this ends.
      const next = closing ? undefined : waiting.shift();
      if (next) run(start(), next);
    };
    worker.on("error", (e: unknown) => lost(e instanceof Error ? e : new Error(String(e))));
    worker.on("exit", lost);
    return worker;
  };

  const ask = async (
    about: Omit<ToWorker, "stop">,
    signal: AbortSignal,
  ): Promise<Exclude<FromWorker, { error: unknown }>> => {
    if (signal.aborted || closing) throw new InterruptedError();
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const onAbort = () => Atomics.store(stop, 0, 1);
    signal.addEventListener("abort", onAbort);
    try {
      const answer = await new Promise<FromWorker | Error>((done) => {
        const job: Job = { message: { ...about, stop }, done };
        const worker = idle.pop() ?? (all.size < count ? start() : undefined);
        if (worker) run(worker, job);
        else waiting.push(job);
      });
      if (answer instanceof Error) throw answer;
      if ("error" in answer) throw reviveError(answer.error);
      return answer;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  };

  return {
    unpack: async (path, fileName, folder, signal) =>
      ((await ask({ path, fileName, folder }, signal)) as { unpacked: Unpacked }).unpacked,
    info: async (path, fileName, signal) =>
      ((await ask({ path, fileName, folder: undefined }, signal)) as { info: InfoArchive }).info,
    async close() {
      closing = true;
      for (const job of waiting.splice(0)) job.done(new InterruptedError());
      await Promise.all([...all].map((w) => w.terminate()));
    },
  };
}
