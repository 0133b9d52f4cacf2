import { getCompileCacheDir } from "node:module";
import { Worker } from "node:worker_threads";
import type { Prove } from "../auth/prove.ts";
import { bytesSent, sentBytes } from "../conda/sent-bytes.ts";
import { InterruptedError, reviveError } from "../errors.ts";
import { LostThread } from "../lost-thread.ts";
import { threadArgv } from "../thread-argv.ts";
import type { Fetched } from "./fetch-package.ts";
import type { HttpSettings } from "./http.ts";
import { Outbox } from "./outbox.ts";
import type { Address, OpenRequest } from "./place.ts";
import { makePortions, type Portions } from "./portions.ts";
import type { Progress, Sink } from "./take.ts";
import type {
  Expected,
  FetchNews,
  ForReception,
  FromWorker,
  Received,
  SentExpected,
  SentReceived,
  ToWorker,
  WorkerData,
} from "./worker-messages.ts";

/** One package on its way to a worker thread: fetched there, or handed over by us in order. */
export interface Handover extends Sink {
  /**
   * Has the worker fetch what is still missing and finish. After a failure it can be asked again.
   * @param progress kept up to date, also when it fails.
   * @throws MirrorError
   */
  fetch(
    address: Address,
    request: OpenRequest,
    progress: Progress,
    onBytes: (bytes: number, size: number | undefined) => void,
  ): Promise<Fetched>;
  /** Gives up; nothing is left behind. */
  drop(): void;
}

/** Worker threads that fetch, hash, check, read and stage packages. */
export interface Receivers {
  /** Buffers to hand over; they come back by themselves. */
  readonly portions: Portions;
  /** Resolves when a thread is up, and starts one where none is; to be awaited before the first `begin`. */
  readonly ready: Promise<void>;
  /** @param alone gives it a thread for itself, since it may be what ended another one. */
  begin(expected: Expected, stagedPath: string, alone?: boolean): Handover;
  /** Starts the threads where none is: something will come soon, and this thread only waits meanwhile. */
  prepare(): void;
  /** Ends the threads. Can be called again. */
  close(): Promise<void>;
}

/**
 * Of a thread's heap, for new objects. Nearly all of a package's die at once, so more room only takes memory: 3,000 packages
 * peak at 209 MB with Node's own choice, at 180 MB with this one, in the same time.
 */
const YOUNG_MB = 6;

interface Thread {
  readonly worker: Worker;
  readonly outbox: Outbox<ToWorker>;
  /** It has said that it is up. One that is not gets no package: that would wait while others have nothing to do. */
  up: boolean;
  /** It is for one package alone, which may have ended another thread. */
  readonly alone: boolean;
  /** Packages that it has been given and not brought yet. */
  load: number;
  /** Who waits for answers from it, by the reception's id. */
  readonly waiting: Map<number, (answer: FromWorker | Error) => void>;
}

/** Threads that are started before it is known how much will come. */
const PREPARED = 2;

/** Portions that may be on their way to a worker for one package: this bounds its memory. */
const IN_FLIGHT = 2;

/**
 * @param count threads at the most.
 * @param atOnce of them that start now, since starting takes longer than finding out what to bring; the others start when
 *   there is work for them.
 * @param prove adds what the store has for a URL: worker threads know no store, and keep no secret longer than a request.
 * @param signal ends what the threads are fetching; what has come whole is still finished.
 */
export function startReceivers(
  count: number,
  atOnce: number,
  { http, prove }: { readonly http: HttpSettings; readonly prove: Prove },
  signal: AbortSignal,
): Receivers {
  const threads: Thread[] = [];
  let nextId = 1;
  const portions = makePortions();
  let closing = false;
  const { promise: ready, resolve: someIsUp, reject: noneIsUp } = Promise.withResolvers<void>();
  ready.catch(() => undefined);

  const start = (alone = false) => {
    const workerData: WorkerData = { http, compileCache: getCompileCacheDir() };
    // From source the thread runs TypeScript, from the build JavaScript: the file beside this one, of the same kind.
    const worker = new Worker(new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url), {
      workerData,
      ...threadArgv(),
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    const thread: Thread = {
      worker,
      outbox: new Outbox<ToWorker>(worker),
      up: false,
      alone,
      load: 0,
      waiting: new Map(),
    };
    worker.on("message", (answers: readonly FromWorker[]) => {
      if (!thread.up) {
        thread.up = true;
        if (thread.load === 0) worker.unref();
        someIsUp();
      }
      for (const answer of answers) {
        if (answer.ok !== undefined && answer.used) portions.give(answer.used);
        thread.waiting.get(answer.id)?.(answer);
      }
    });
    const lost = (ended: Error | number) => {
      const at = threads.indexOf(thread);
      if (closing || at < 0) return;
      const why = new LostThread(ended);
      // What it had fails. What comes next is for others, or for one that is started for it: this one answers no more.
      threads.splice(at, 1);
      if (threads.length === 0) noneIsUp(why);
      for (const settle of [...thread.waiting.values()]) settle(why);
    };
    worker.on("error", (e: unknown) => lost(e instanceof Error ? e : new Error(String(e))));
    worker.on("exit", lost);
    threads.push(thread);
    return thread;
  };
  /** The thread for what comes next: the one with the least to do of those that are up. */
  const leastLoaded = (): Thread => {
    const shared = () => threads.filter((t) => !t.alone);
    if (shared().length < count && shared().every((t) => t.load > 0 || !t.up)) start();
    const up = shared().filter((t) => t.up);
    return (up.length > 0 ? up : shared()).reduce((a, b) => (b.load < a.load ? b : a));
  };
  /** Ends a thread that was for one package alone. */
  const leave = (thread: Thread) => {
    const at = threads.indexOf(thread);
    if (at < 0) return;
    threads.splice(at, 1);
    void thread.worker.terminate();
  };
  const stop = () => {
    for (const { outbox } of threads) outbox.post({ do: "stop" });
  };
  signal.addEventListener("abort", stop);

  while (threads.length < Math.min(atOnce, count)) start();
  return {
    portions,
    prepare() {
      if (threads.length === 0 && !closing) while (threads.length < Math.min(PREPARED, count)) start();
    },
    get ready() {
      if (threads.length === 0) start();
      return ready;
    },
    begin(whole, stagedPath, alone = false) {
      const id = nextId++;
      const expected = toSend(whole);
      const chosen = alone ? start(true) : leastLoaded();
      type Answer = FromWorker & { ok: true };
      const pending: { resolve: (a: Answer) => void; reject: (e: unknown) => void }[] = [];
      let failed: { error: unknown } | undefined;
      let news: ((fetched: FetchNews) => void) | undefined;
      let begun = false;
      let over = false;
      chosen.load++;

      const end = () => {
        if (over) return;
        over = true;
        chosen.waiting.delete(id);
        chosen.load--;
        if (chosen.load > 0) return;
        chosen.worker.unref();
        if (chosen.alone) leave(chosen);
      };
      chosen.waiting.set(id, (answer) => {
        if (!(answer instanceof Error) && answer.fetched) news?.(answer.fetched);
        if (!(answer instanceof Error) && answer.ok === undefined) return;
        const first = pending.shift();
        if (!(answer instanceof Error) && answer.ok) {
          first?.resolve(answer);
          return;
        }
        const error = answer instanceof Error ? answer : reviveError(answer.error);
        first?.reject(error);
        // After a fetch that failed the worker waits to be asked again.
        if (!(answer instanceof Error) && answer.fetched) return;
        failed = { error };
        for (const p of pending.splice(0)) p.reject(error);
        end();
      });
      const send = (message: ForReception, bytes?: Uint8Array<ArrayBuffer>) => {
        chosen.worker.ref();
        chosen.outbox.post(message, bytes?.buffer);
      };
      const ask = (message: ForReception, bytes?: Uint8Array<ArrayBuffer>): Promise<Answer> => {
        if (failed) return Promise.reject(failed.error);
        if (over) return Promise.reject(new InterruptedError());
        return new Promise<Answer>((resolve, reject) => {
          send(message, bytes);
          pending.push({ resolve, reject });
        });
      };
      const inFlight: Promise<unknown>[] = [];
      const open = () => {
        if (!begun) send({ id, do: "begin", expected, stagedPath });
        begun = true;
      };
      const settled = async (p: Promise<Answer>): Promise<Received> => {
        try {
          return revived((await p).received as SentReceived);
        } finally {
          end();
        }
      };
      return {
        async fetch(address, request, progress, onBytes) {
          begun = true;
          news = (fetched) => {
            progress.got = fetched.got;
            progress.version = fetched.version;
            if (fetched.bytes !== 0) onBytes(fetched.bytes, fetched.size);
          };
          const proven = "url" in address ? await prove(address.url) : address;
          const { received, fetched } = await ask({ id, do: "fetch", expected, stagedPath, address: proven, request });
          if (!received) return "unchanged";
          end();
          return { received: revived(received), version: fetched?.version };
        },
        async chunk(bytes) {
          open();
          const answered = ask({ id, do: "chunk", bytes }, bytes);
          answered.catch(() => undefined);
          inFlight.push(answered);
          if (inFlight.length >= IN_FLIGHT) await inFlight.shift();
        },
        async restart() {
          await Promise.all(inFlight.splice(0));
          if (begun) send({ id, do: "restart" });
        },
        async finish() {
          await Promise.all(inFlight.splice(0)).catch((e) => {
            end();
            throw e;
          });
          open();
          return settled(ask({ id, do: "finish" }));
        },
        whole: (bytes) => settled(ask({ id, do: "whole", expected, stagedPath, bytes }, bytes)),
        drop() {
          if (over) return;
          if (begun) send({ id, do: "drop" });
          for (const p of pending.splice(0)) p.reject(new InterruptedError());
          end();
        },
      };
    },
    async close() {
      closing = true;
      signal.removeEventListener("abort", stop);
      await Promise.all(threads.map((t) => t.worker.terminate()));
    },
  };
}

function toSend({ record, ...expected }: Expected): SentExpected {
  return record === undefined ? expected : { ...expected, record: sentBytes(record) };
}

function revived(received: SentReceived): Received {
  return { ...received, record: bytesSent(received.record), runExports: bytesSent(received.runExports) };
}
