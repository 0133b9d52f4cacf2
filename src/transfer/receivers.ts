import { Worker } from "node:worker_threads";
import { InterruptedError, reviveError } from "../errors.ts";
import { makePortions, type Portions } from "./portions.ts";
import type { Expected, FromWorker, Received, ToWorker } from "./worker-messages.ts";

/** One package being handed to a worker thread, in order. */
export interface Handover {
  /** Hands over bytes; resolves when the worker has room for more. The buffer is gone afterwards. */
  chunk(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Forgets what was handed over. */
  restart(): Promise<void>;
  /** All bytes are there. @throws MirrorError when they are not what was expected, or no package. */
  finish(): Promise<Received>;
  /** All bytes at once, instead of `chunk` and `finish`. */
  whole(bytes: Uint8Array<ArrayBuffer>): Promise<Received>;
  /** Gives up; nothing is left behind. */
  drop(): void;
}

/** Worker threads that hash, check, read and stage packages. */
export interface Receivers {
  /** Buffers to hand over; they come back by themselves. */
  readonly portions: Portions;
  begin(expected: Expected, stagedPath: string): Handover;
  close(): Promise<void>;
}

/** Portions that may be on their way to a worker for one package; with portions of 1 MiB this bounds its memory. */
const IN_FLIGHT = 2;

/**
 * @param count threads at the most; the first starts at once, since starting takes longer than connecting to a server,
 *   the others when there is work for them.
 */
export function startReceivers(count: number): Receivers {
  const threads: { worker: Worker; load: number }[] = [];
  const waiting = new Map<number, (answer: FromWorker | Error) => void>();
  let nextId = 1;
  const portions = makePortions();
  let closing = false;

  const start = () => {
    // From source the thread runs TypeScript, from the build JavaScript: the file beside this one, of the same kind.
    const worker = new Worker(new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url));
    worker.unref();
    worker.on("message", (answer: FromWorker) => {
      if (answer.used) portions.give(answer.used);
      waiting.get(answer.id)?.(answer);
    });
    const lost = (why: Error) => {
      if (closing) return;
      for (const settle of [...waiting.values()]) settle(why);
    };
    worker.on("error", lost);
    worker.on("exit", (code) => lost(new Error(`a worker thread ended with code ${code}`)));
    const thread = { worker, load: 0 };
    threads.push(thread);
    return thread;
  };

  start();
  return {
    portions,
    begin(expected, stagedPath) {
      const id = nextId++;
      let thread = threads.find((t) => t.load === 0);
      if (!thread && threads.length < count) thread = start();
      thread ??= threads.reduce((a, b) => (b.load < a.load ? b : a));
      const chosen = thread;
      const pending: { resolve: (r: Received | undefined) => void; reject: (e: unknown) => void }[] = [];
      let failed: { error: unknown } | undefined;
      let begun = false;
      let over = false;
      chosen.load++;

      const end = () => {
        if (over) return;
        over = true;
        waiting.delete(id);
        chosen.load--;
        if (chosen.load === 0) chosen.worker.unref();
      };
      waiting.set(id, (answer) => {
        const first = pending.shift();
        if (!(answer instanceof Error) && answer.ok) {
          first?.resolve(answer.received);
          return;
        }
        failed = { error: answer instanceof Error ? answer : reviveError(answer.error) };
        for (const p of [first, ...pending.splice(0)]) p?.reject(failed.error);
        end();
      });
      const send = (message: ToWorker, bytes?: Uint8Array<ArrayBuffer>) => {
        chosen.worker.ref();
        chosen.worker.postMessage(message, bytes ? [bytes.buffer] : []);
      };
      const ask = (message: ToWorker, bytes?: Uint8Array<ArrayBuffer>): Promise<Received | undefined> => {
        if (failed) return Promise.reject(failed.error);
        if (over) return Promise.reject(new InterruptedError());
        const answered = new Promise<Received | undefined>((resolve, reject) => {
          send(message, bytes);
          pending.push({ resolve, reject });
        });
        return answered;
      };
      const inFlight: Promise<unknown>[] = [];
      const open = () => {
        if (!begun) send({ id, do: "begin", expected, stagedPath });
        begun = true;
      };
      const settled = async (p: Promise<Received | undefined>): Promise<Received> => {
        try {
          return (await p) as Received;
        } finally {
          end();
        }
      };
      return {
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
      await Promise.all(threads.map((t) => t.worker.terminate()));
    },
  };
}
