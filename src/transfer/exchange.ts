import { type Portions, portionFor } from "./portions.ts";
import { type Body, DRAIN_BYTES, type Ending, RequestTimeout, type Response } from "./response.ts";
import { BadResponse, ChunkedBody, parseResponseHead, type ResponseHead } from "./response-head.ts";

/** A response's head may be as long. */
const HEAD_BYTES = 64 * 1024;

/** Portions of one body that may wait to be taken before the server is told to stop sending. */
const WAITING_PORTIONS = 2;

const HEAD_END = Buffer.from("\r\n\r\n");

/** What goes out. */
export interface RequestText {
  readonly method: string;
  /** The request's head, its empty line included. */
  readonly head: string;
  readonly body?: Uint8Array | Body | undefined;
}

/** One request and its answer, whichever connection carries it. */
export class Exchange {
  readonly request: RequestText;
  readonly response: Promise<Response>;
  /** The answer is complete, failed or given up. */
  over = false;
  /** The server has been told to wait. */
  paused = false;
  /** The head has come. */
  answered = false;

  /** On the clock of `performance.now()`. */
  deadline: number;

  readonly #signal: AbortSignal;
  readonly #portions: Portions;
  readonly #live: LiveExchanges;
  #line: { resume(): void; destroy(): void } | undefined;
  #resolve: (response: Response) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;

  #headBytes: Buffer | undefined;
  #head: ResponseHead | undefined;
  #chunked: ChunkedBody | undefined;
  /** Bytes of the body that are still to come, where its length is known. */
  #left = 0;
  #size: number | undefined;
  #got = 0;

  #portion: Uint8Array<ArrayBuffer> | undefined;
  #room = 0;
  #fill = 0;
  readonly #ready: Uint8Array[] = [];
  #wake: (() => void) | undefined;
  #failed: { error: unknown } | undefined;
  /** Bytes that were read over since the body was given up. */
  #drained = -1;

  constructor(request: RequestText, ending: Ending, portions: Portions, live: LiveExchanges) {
    this.request = request;
    this.deadline = performance.now() + ending.withinMs;
    this.#portions = portions;
    this.#live = live;
    this.#signal = ending.signal;
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (ending.signal.aborted) this.stop(ending.signal.reason);
    else live.add(this, ending.signal);
  }

  begin(line: { resume(): void; destroy(): void }): void {
    this.#line = line;
  }

  /** Gives it more time: we ourselves wait. */
  extend(ms: number): void {
    this.deadline += Math.max(0, ms);
  }

  /** Nothing of the answer has come, and asking twice is as good as asking once. */
  get repeatable(): boolean {
    const { method } = this.request;
    return !this.answered && this.#headBytes === undefined && (method === "GET" || method === "HEAD");
  }

  /** How long the connection may wait for the next request; 0 when it can't be used again. */
  keepIdleMs(atMost: number): number {
    if (this.#failed || !this.#head?.keepAlive) return 0;
    const asked = /timeout=(\d+)/i.exec(this.#head.headers.get("keep-alive") ?? "")?.[1];
    return asked === undefined ? atMost : Math.min(atMost, Number(asked) * 1000 - 1000);
  }

  /** Takes what came. False when no more should come for now. @throws BadResponse */
  take(bytes: Buffer, end: number): boolean {
    const at = this.#head ? 0 : this.#takeHead(bytes, end);
    if (at < 0) return true;
    const stop = this.#takeBody(bytes, at, end);
    if (this.over) {
      if (stop < end) throw new BadResponse("more came than the answer's length allows");
      return true;
    }
    this.paused = this.#ready.length >= WAITING_PORTIONS;
    return !this.paused;
  }

  /** The connection has ended. True if that is how this answer ends. */
  endsWithConnection(): boolean {
    if (this.#head?.framing.by !== "close") return false;
    this.#end();
    return true;
  }

  fail(error: unknown): void {
    if (this.over) return;
    this.#failed = { error };
    this.#flush();
    this.#finish();
    this.#reject(error);
  }

  /** Fails, and closes the connection with it. */
  stop(error: unknown): void {
    this.fail(error);
    this.#line?.destroy();
  }

  #takeHead(bytes: Buffer, end: number): number {
    for (let from = 0; ; ) {
      const earlier = this.#headBytes;
      const all = earlier ? Buffer.concat([earlier, bytes.subarray(from, end)]) : bytes;
      const stop = earlier ? all.length : end;
      const start = earlier ? 0 : from;
      const at = all.indexOf(HEAD_END, start);
      if (at < 0 || at + 4 > stop) {
        if (stop - start > HEAD_BYTES) throw new BadResponse("the answer's head is too long");
        this.#headBytes = Buffer.from(all.subarray(start, stop));
        return -1;
      }
      this.#headBytes = undefined;
      // Where the body begins, in `bytes`.
      const body = earlier ? from + (at + 4 - earlier.length) : at + 4;
      const head = parseResponseHead(all.toString("latin1", start, at), this.request.method === "HEAD");
      if (head.status >= 200) {
        this.#begins(head);
        return body;
      }
      if (head.status === 101) throw new BadResponse("the server wants to speak another protocol");
      // What the server says before its answer (RFC 9110 §15.2).
      from = body;
      if (from === end) return -1;
    }
  }

  #begins(head: ResponseHead): void {
    this.#head = head;
    this.answered = true;
    const { framing } = head;
    if (framing.by === "length") this.#size = this.#left = framing.bytes;
    else if (framing.by === "chunks") this.#chunked = new ChunkedBody();
    this.#resolve({
      status: head.status,
      headers: head.headers,
      chunks: this.#chunks(),
      owned: true,
      discard: () => this.#discard(),
    });
    if (this.#size === 0) this.#end();
  }

  #takeBody(bytes: Buffer, at: number, end: number): number {
    if (this.over) return at;
    if (this.#chunked) {
      const stop = this.#chunked.take(bytes, at, end, (from, to) => this.#put(bytes, from, to));
      if (this.#chunked.ended) this.#end();
      return stop;
    }
    if (this.#size === undefined) {
      this.#put(bytes, at, end);
      return end;
    }
    const n = Math.min(this.#left, end - at);
    this.#put(bytes, at, at + n);
    this.#left -= n;
    if (this.#left === 0) this.#end();
    return at + n;
  }

  #put(bytes: Buffer, at: number, end: number): void {
    if (this.#drained >= 0) {
      this.#drained += end - at;
      if (this.#drained > DRAIN_BYTES) this.stop(new Error("the rest is not wanted"));
      return;
    }
    while (at < end) {
      if (!this.#portion) {
        this.#room = portionFor(this.#size, this.#got);
        this.#portion = this.#portions.take(this.#room);
        this.#fill = 0;
      }
      const n = Math.min(this.#room - this.#fill, end - at);
      bytes.copy(this.#portion, this.#fill, at, at + n);
      this.#fill += n;
      at += n;
      if (this.#fill === this.#room) this.#flush();
    }
  }

  #flush(): void {
    if (!this.#portion) return;
    this.#ready.push(this.#portion.subarray(0, this.#fill));
    this.#got += this.#fill;
    this.#portion = undefined;
    this.#wake?.();
  }

  #end(): void {
    this.#flush();
    this.#finish();
  }

  #finish(): void {
    this.over = true;
    this.#live.delete(this, this.#signal);
    this.#wake?.();
  }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const chunk = this.#ready.shift();
        if (chunk) {
          if (this.paused && this.#ready.length < WAITING_PORTIONS) {
            this.paused = false;
            this.#line?.resume();
          }
          yield chunk;
        } else if (this.#failed) throw this.#failed.error;
        else if (this.over) return;
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
      }
    } finally {
      if (!this.over) this.stop(new Error("the rest is not wanted"));
    }
  }

  #discard(): void {
    if (this.over) return;
    if (this.#portion) this.#portions.give(this.#portion.buffer);
    this.#portion = undefined;
    this.#ready.length = 0;
    this.#drained = 0;
    if (this.#left > DRAIN_BYTES) this.stop(new Error("the rest is not wanted"));
    else if (this.paused) {
      this.paused = false;
      this.#line?.resume();
    }
  }
}

/** Exchanges that are not over, with one listener on each signal that may end them. */
export class LiveExchanges {
  readonly #bySignal = new Map<AbortSignal, Set<Exchange>>();
  readonly #listeners: (() => void)[] = [];

  get some(): boolean {
    for (const set of this.#bySignal.values()) if (set.size > 0) return true;
    return false;
  }

  add(exchange: Exchange, signal: AbortSignal): void {
    let set = this.#bySignal.get(signal);
    if (!set) {
      const made = new Set<Exchange>();
      set = made;
      this.#bySignal.set(signal, made);
      const onAbort = () => {
        for (const e of [...made]) e.stop(signal.reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#listeners.push(() => signal.removeEventListener("abort", onAbort));
    }
    set.add(exchange);
  }

  /** Listens to no signal any more. */
  close(): void {
    for (const remove of this.#listeners.splice(0)) remove();
  }

  delete(exchange: Exchange, signal: AbortSignal): void {
    this.#bySignal.get(signal)?.delete(exchange);
  }

  /** Ends what has taken too long. */
  look(now: number): void {
    for (const set of this.#bySignal.values())
      for (const e of set) if (now > e.deadline) e.stop(new RequestTimeout("TOTAL_TIMEOUT"));
  }
}
