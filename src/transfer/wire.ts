import { connect, isIP, type Socket } from "node:net";
import { type Portions, portionFor } from "./portions.ts";
import {
  DRAIN_BYTES,
  type Ending,
  type RequestLimits,
  type Requests,
  RequestTimeout,
  type Response,
} from "./response.ts";
import { BadResponse, ChunkedBody, parseResponseHead, type ResponseHead } from "./response-head.ts";

/*
 * HTTP/1.1 GET over sockets of our own. Why not a library: docs/decisions/005-own-http.md. A fetch of 3,000 packages costs
 * 0.25 s of processor time this way and 0.9 s through undici's leanest interface: here every socket of a thread reads
 * into one buffer, from which a body's bytes are copied once, to where they are hashed and written from.
 */

/** Every socket of this thread reads into it; its bytes are gone when the callback returns. */
const READ_BYTES = 64 * 1024;
let readBuffer: Buffer | undefined;

/** A response's head may be as long. */
const HEAD_BYTES = 64 * 1024;

/** Portions of one body that may wait to be taken before the server is told to stop sending. */
const WAITING_PORTIONS = 2;

/** An idle connection is closed after this long, unless the server asks for less. */
const KEEP_IDLE_MS = 4000;

const HEAD_END = Buffer.from("\r\n\r\n");

type Tls = typeof import("node:tls");

export function openWire(limits: RequestLimits, portions: Portions): Requests {
  const origins = new Map<string, Origin>();
  const live = new LiveExchanges();
  const shared: Shared = { limits, portions, tls: undefined };
  // One clock for all: timers of every request and socket cost more than the requests' heads.
  const everyMs = Math.min(500, Math.max(5, Math.min(limits.connectTimeoutMs, limits.idleTimeoutMs) / 8));
  let clock: NodeJS.Timeout | undefined;
  const look = () => {
    const now = performance.now();
    live.look(now);
    let open = 0;
    for (const origin of origins.values()) open += origin.look(now);
    if (open > 0 || live.some) return;
    clearInterval(clock);
    clock = undefined;
  };
  return {
    async get(url, headers, ending) {
      if (url.protocol === "https:") shared.tls ??= await import("node:tls");
      let origin = origins.get(url.origin);
      if (!origin) {
        origin = new Origin(url, shared);
        origins.set(url.origin, origin);
      }
      const exchange = new Exchange(requestText(url, headers), ending, portions, live);
      origin.begin(exchange);
      clock ??= setInterval(look, everyMs).unref();
      return exchange.response;
    },
    async close() {
      clearInterval(clock);
      for (const origin of origins.values()) origin.close();
      live.close();
    },
  };
}

/** Exchanges that are not over, with one listener on each signal that may end them. */
class LiveExchanges {
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

interface Shared {
  readonly limits: RequestLimits;
  readonly portions: Portions;
  tls: Tls | undefined;
}

function requestText(url: URL, headers: Readonly<Record<string, string>>): string {
  let text = `GET ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n`;
  for (const name in headers) {
    const value = headers[name] as string;
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) throw new Error(`the value for the header ${name} can't be sent`);
    text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}

/** The connections to one server. */
class Origin {
  readonly url: URL;
  readonly shared: Shared;
  readonly #all = new Set<Connection>();
  readonly #idle: Connection[] = [];
  readonly #waiting: Exchange[] = [];
  /** What a TLS handshake can begin with, so that the next one is short. */
  session: Buffer | undefined;

  constructor(url: URL, shared: Shared) {
    this.url = url;
    this.shared = shared;
  }

  begin(exchange: Exchange): void {
    if (exchange.over) return;
    const idle = this.#idle.pop();
    if (idle) idle.carry(exchange);
    else if (this.#all.size < this.shared.limits.connections) this.beginAnew(exchange);
    else this.#waiting.push(exchange);
  }

  /** On a new connection, whichever are idle. */
  beginAnew(exchange: Exchange): void {
    const connection = new Connection(this);
    this.#all.add(connection);
    connection.carry(exchange);
  }

  /** The connection has nothing to carry. */
  rest(connection: Connection): void {
    const next = this.#next();
    if (next) connection.carry(next);
    else this.#idle.push(connection);
  }

  gone(connection: Connection): void {
    this.#all.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    const next = this.#next();
    if (next) this.begin(next);
  }

  #next(): Exchange | undefined {
    let next = this.#waiting.shift();
    while (next?.over) next = this.#waiting.shift();
    return next;
  }

  /** Ends connections that have been quiet too long, and gives how many there are. */
  look(now: number): number {
    for (const connection of this.#all) connection.look(now);
    return this.#all.size;
  }

  close(): void {
    for (const connection of this.#all) connection.destroy();
  }
}

/** One socket, and the exchange that it carries at the moment. */
class Connection {
  readonly #origin: Origin;
  readonly #socket: Socket;
  #exchange: Exchange | undefined;
  #connected = false;
  #carried = 0;
  /** When something was heard last, or something else begun to be waited for. */
  #since = performance.now();
  #patienceMs: number;

  constructor(origin: Origin) {
    this.#origin = origin;
    const { url, shared } = origin;
    readBuffer ??= Buffer.allocUnsafeSlow(READ_BYTES);
    const buffer = readBuffer;
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const options = {
      host,
      port: Number(url.port) || (url.protocol === "https:" ? 443 : 80),
      noDelay: true,
      onread: { buffer, callback: (n: number) => this.#arrived(buffer, n) },
    };
    if (url.protocol === "https:") {
      const tls = (shared.tls as Tls).connect({
        ...options,
        ALPNProtocols: ["http/1.1"],
        ...(isIP(host) ? {} : { servername: host }),
        ...(origin.session ? { session: origin.session } : {}),
      });
      tls.on("session", (session) => {
        origin.session = session;
      });
      this.#socket = tls;
    } else this.#socket = connect(options);
    this.#patienceMs = shared.limits.connectTimeoutMs;
    this.#socket
      .on(url.protocol === "https:" ? "secureConnect" : "connect", () => {
        this.#connected = true;
        this.#wait(shared.limits.idleTimeoutMs);
      })
      .on("error", (e) => this.#lost(e))
      .on("end", () => this.#lost())
      .on("close", () => {
        this.#lost();
        origin.gone(this);
      });
  }

  /** Sends a request; the connection must be idle. */
  carry(exchange: Exchange): void {
    if (exchange.over) {
      this.#origin.rest(this);
      return;
    }
    this.#exchange = exchange;
    if (this.#carried++ > 0) this.#wait(this.#origin.shared.limits.idleTimeoutMs);
    exchange.begin(this);
    this.#socket.write(exchange.request, "latin1");
  }

  /** Reads on after `take` gave false. */
  resume(): void {
    this.#wait(this.#origin.shared.limits.idleTimeoutMs);
    this.#socket.resume();
  }

  #wait(patienceMs: number): void {
    this.#since = performance.now();
    this.#patienceMs = patienceMs;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Bytes lie in the shared buffer. False stops the reading. */
  #arrived(buffer: Buffer, n: number): boolean {
    this.#since = performance.now();
    const exchange = this.#exchange;
    if (!exchange) {
      // Bytes that nobody asked for.
      this.destroy();
      return false;
    }
    let more: boolean;
    try {
      more = exchange.take(buffer, n);
    } catch (e) {
      exchange.fail(e);
      this.destroy();
      return false;
    }
    if (exchange.over) {
      this.#exchange = undefined;
      const idleMs = exchange.keepIdleMs(KEEP_IDLE_MS);
      if (idleMs <= 0) {
        this.destroy();
        return false;
      }
      this.#wait(idleMs);
      this.#origin.rest(this);
      return true;
    }
    return more;
  }

  /** Gives up when nothing was heard for too long. */
  look(now: number): void {
    const exchange = this.#exchange;
    // While we ourselves stopped the reading, it is not the server that is late.
    if (now - this.#since <= this.#patienceMs || exchange?.paused) return;
    exchange?.fail(
      new RequestTimeout(!this.#connected ? "CONNECT_TIMEOUT" : exchange.answered ? "BODY_TIMEOUT" : "HEADERS_TIMEOUT"),
    );
    this.destroy();
  }

  /** The connection ended or broke. */
  #lost(error?: Error): void {
    const exchange = this.#exchange;
    if (!exchange || exchange.over) return;
    this.#exchange = undefined;
    if (!error && exchange.endsWithConnection()) return;
    // A server may close an idle connection at the moment in which it is used again: that is nobody's fault.
    if (this.#carried > 1 && exchange.untouched) {
      this.#carried = 0;
      this.#origin.beginAnew(exchange);
      return;
    }
    exchange.fail(error ?? new Error("the other side closed it"));
  }
}

/** One request and its answer. */
class Exchange {
  readonly request: string;
  readonly response: Promise<Response>;
  /** The answer is complete, failed or given up. */
  over = false;
  /** The server has been told to wait. */
  paused = false;
  /** The head has come. */
  answered = false;

  /** On the clock of `performance.now()`. */
  readonly deadline: number;

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

  constructor(request: string, ending: Ending, portions: Portions, live: LiveExchanges) {
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

  /** Nothing of the answer has come. */
  get untouched(): boolean {
    return !this.answered && this.#headBytes === undefined;
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
      const head = parseResponseHead(all.toString("latin1", start, at));
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
