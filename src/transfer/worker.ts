import { enableCompileCache } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import { bytesSent, sentBytes } from "../conda/sent-bytes.ts";
import { sendError } from "../errors.ts";
import { openHttp } from "./http.ts";
import { openFile } from "./open-file.ts";
import { Outbox } from "./outbox.ts";
import { openPart } from "./part.ts";
import type { Open } from "./place.ts";
import { placers } from "./placer.ts";
import { makePortions } from "./portions.ts";
import { Reception } from "./reception.ts";
import { type Progress, type Sink, take } from "./take.ts";
import type {
  FetchNews,
  ForReception,
  FromWorker,
  Received,
  SentExpected,
  SentReceived,
  ToWorker,
  WorkerData,
} from "./worker-messages.ts";

// The thread that fetches, hashes, reads and writes packages: a message switch.
const port = parentPort;
if (!port) throw new Error("this file is a worker thread's");
const data = workerData as WorkerData;
if (data.compileCache !== undefined) enableCompileCache(data.compileCache);

const outbox = new Outbox<FromWorker>(port);
const portions = makePortions();
const http = openHttp(data.http, undefined, portions);
const placer = placers(data.http);
const stopping = new AbortController();
const jobs = new Map<number, Job>();

/** News of a fetch that goes on are sent this often. */
const NEWS_MS = 100;

/** One package of the main thread's. */
class Job {
  readonly id: number;
  reception: Reception | undefined;
  fileName = "a package on its way in";
  readonly progress: Progress = { got: 0, version: undefined };
  /** Bytes that the main thread has not been told of. */
  untold = 0;
  size: number | undefined;
  /** What was asked for is done in order. */
  queue: Promise<void> = Promise.resolve();

  constructor(id: number) {
    this.id = id;
  }

  begin({ record, ...expected }: SentExpected, stagedPath: string): Reception {
    const whole = record === undefined ? expected : { ...expected, record: bytesSent(record) };
    this.fileName = expected.fileName;
    this.reception ??= new Reception(whole, stagedPath);
    return this.reception;
  }

  news(): FetchNews {
    const news = { bytes: this.untold, size: this.size, ...this.progress };
    this.untold = 0;
    return news;
  }

  end(): void {
    this.reception?.drop();
    jobs.delete(this.id);
  }
}

/** Reading a package may take memory, so one is read at a time. */
let reading: Promise<unknown> = Promise.resolve();
function oneByOne<T>(work: () => Promise<T>): Promise<T> {
  const result = reading.then(work);
  reading = result.catch(() => undefined);
  return result;
}

/** Read one at a time, stored many at once. */
async function takeWhole(reception: Reception, bytes: Uint8Array): Promise<Received> {
  const received = await oneByOne(() => reception.whole(bytes));
  const plan = reception.placer;
  const place = plan && (await placer(plan).catch(() => undefined));
  return reception.store(bytes, received, place, stopping.signal);
}

function sinkOf(reception: Reception): Sink {
  return {
    chunk(bytes) {
      reception.chunk(bytes);
      portions.give(bytes.buffer);
    },
    restart: () => reception.restart(),
    finish: () => oneByOne(() => reception.finish()),
    async whole(bytes) {
      const received = await takeWhole(reception, bytes);
      portions.give(bytes.buffer);
      return received;
    },
  };
}

async function fetch(job: Job, { expected, stagedPath, address, request }: ForReception & { do: "fetch" }) {
  const whole: Open = "url" in address ? (r, s) => http.get(address, r, s) : openFile(address.path, portions);
  const open = address.part ? openPart(whole, address.part, expected.origin) : whole;
  const stream = await open(request, stopping.signal);
  if (stream === "unchanged") return "unchanged";
  const sink = sinkOf(job.begin(expected, stagedPath));
  return take(stream, sink, expected, job.progress, portions, (bytes, size) => {
    job.untold += bytes;
    job.size = size;
  });
}

async function handle(job: Job, message: ForReception): Promise<void> {
  const { id } = job;
  const used: { used?: ArrayBuffer } = "bytes" in message ? { used: message.bytes.buffer } : {};
  const post = (message: FromWorker) => outbox.post(message, used.used);
  const answer = (received?: Received) =>
    post({ id, ok: true, ...(received ? { received: sent(received) } : {}), ...used });
  try {
    switch (message.do) {
      case "fetch": {
        const received = await fetch(job, message);
        if (received === "unchanged") return post({ id, ok: true, fetched: { ...job.news(), unchanged: true } });
        jobs.delete(id);
        return post({ id, ok: true, received: sent(received), fetched: job.news() });
      }
      case "begin":
        job.begin(message.expected, message.stagedPath);
        return;
      case "chunk":
        job.reception?.chunk(message.bytes);
        return answer();
      case "restart":
        job.reception?.restart();
        return;
      case "finish": {
        const received = await oneByOne(async () => job.reception?.finish());
        jobs.delete(id);
        return answer(received);
      }
      case "whole": {
        const received = await takeWhole(job.begin(message.expected, message.stagedPath), message.bytes);
        jobs.delete(id);
        return answer(received);
      }
      case "drop":
        return job.end();
    }
  } catch (e) {
    // A fetch may be asked for again, and goes on with what came. Whatever else fails is over.
    const fetched = message.do === "fetch" ? { fetched: job.news() } : {};
    if (message.do !== "fetch") job.end();
    post({ id, ok: false, error: sendError(e, job.fileName), ...fetched, ...used });
  }
}

function sent(received: Received): SentReceived {
  return { ...received, record: sentBytes(received.record), runExports: sentBytes(received.runExports) };
}

function receive(message: ToWorker): void {
  if (message.do === "stop") {
    stopping.abort();
    return;
  }
  let job = jobs.get(message.id);
  if (!job) {
    if (message.do === "drop") return;
    job = new Job(message.id);
    jobs.set(message.id, job);
  }
  const mine = job;
  job.queue = job.queue.then(() => handle(mine, message));
}

port.on("message", (messages: readonly ToWorker[]) => {
  for (const message of messages) receive(message);
});

setInterval(() => {
  for (const job of jobs.values())
    if (job.untold !== 0) outbox.post({ id: job.id, ok: undefined, fetched: job.news() });
}, NEWS_MS).unref();

// The first message, whatever it says, tells that this thread is up.
port.postMessage([]);
