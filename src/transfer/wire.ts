import { connect, isIP, type Socket } from "node:net";
import { Exchange, LiveExchanges } from "./exchange.ts";
import { openPace, type Pace } from "./pace.ts";
import type { Portions } from "./portions.ts";
import { type Body, type Outgoing, type RequestLimits, type Requests, RequestTimeout } from "./response.ts";

/*
 * HTTP/1.1 over sockets of our own. Why not a library: docs/decisions/005-own-http.md. A fetch of 3,000 packages costs
 * 0.25 s of processor time this way and 0.9 s through undici's leanest interface: here every socket of a thread reads
 * into one buffer, from which a body's bytes are copied once, to where they are hashed and written from.
 */

/** Every socket of this thread reads into it; its bytes are gone when the callback returns. */
const READ_BYTES = 64 * 1024;
let readBuffer: Buffer | undefined;

/** A larger body is sent in pieces of this size, so that a slow connection can be told from a dead one. */
const AT_ONCE = 256 * 1024;

/** An idle connection is closed after this long, unless the server asks for less. */
const KEEP_IDLE_MS = 4000;

/** A shorter wait for the limit on bytes a second is put off until it is worth a timer. */
const LEAST_HOLD_MS = 5;

type Tls = typeof import("node:tls");

export function openWire(limits: RequestLimits, portions: Portions): Requests {
  const origins = new Map<string, Origin>();
  const live = new LiveExchanges();
  const pace = limits.pace && openPace(limits.pace);
  const shared: Shared = { limits, portions, tls: undefined, pace };
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
  const send: Requests["send"] = async (request, ending) => {
    const { url, method, body } = request;
    if (url.protocol === "https:") shared.tls ??= await import("node:tls");
    let origin = origins.get(url.origin);
    if (!origin) {
      origin = new Origin(url, shared);
      origins.set(url.origin, origin);
    }
    const exchange = new Exchange({ method, head: headOf(request), body }, ending, portions, live);
    origin.begin(exchange);
    clock ??= setInterval(look, everyMs).unref();
    return exchange.response;
  };
  return {
    get: (url, headers, ending) => send({ method: "GET", url, headers }, ending),
    send,
    async close() {
      clearInterval(clock);
      for (const origin of origins.values()) origin.close();
      live.close();
    },
  };
}

interface Shared {
  readonly limits: RequestLimits;
  readonly portions: Portions;
  tls: Tls | undefined;
  readonly pace: Pace | undefined;
}

function headOf({ method, url, headers, body }: Outgoing): string {
  let text = `${method} ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n`;
  if (body || method === "PUT" || method === "POST") text += `content-length: ${body ? sizeOf(body) : 0}\r\n`;
  for (const name in headers) {
    const value = headers[name] as string;
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) throw new Error(`the value for the header ${name} can't be sent`);
    text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}

function sizeOf(body: Uint8Array | Body): number {
  return body instanceof Uint8Array ? body.length : body.size;
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
    else {
      connection.idle();
      this.#idle.push(connection);
    }
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
  /** A body is on its way out, so that nothing else can be sent. */
  #sending = false;
  /** When something was heard last, or something else begun to be waited for. */
  #since = performance.now();
  #patienceMs: number;
  /** Set while the limit on bytes a second lets nothing be read. */
  #held: { readonly timer: NodeJS.Timeout; readonly until: number } | undefined;

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
        clearTimeout(this.#held?.timer);
        this.#lost();
        origin.gone(this);
      });
  }

  /** Has nothing to do: the process may end. */
  idle(): void {
    this.#socket.unref();
  }

  /** Sends a request; the connection must be idle. */
  carry(exchange: Exchange): void {
    if (exchange.over) {
      this.#origin.rest(this);
      return;
    }
    this.#exchange = exchange;
    if (this.#carried++ > 0) this.#wait(this.#origin.shared.limits.idleTimeoutMs);
    if (this.#held) exchange.extend(this.#held.until - performance.now());
    exchange.begin(this);
    this.#socket.ref();
    const { head, body } = exchange.request;
    if (!body) {
      this.#socket.write(head, "latin1");
      return;
    }
    this.#socket.cork();
    this.#socket.write(head, "latin1");
    if (body instanceof Uint8Array && body.length <= AT_ONCE) this.#socket.write(body);
    else {
      this.#sending = true;
      void this.#sendBody(exchange, body);
    }
    this.#socket.uncork();
  }

  /** Sends a body piece by piece, no faster than it is taken. */
  async #sendBody(exchange: Exchange, body: Uint8Array | Body): Promise<void> {
    let sent = 0;
    try {
      for await (const piece of body instanceof Uint8Array ? slices(body) : body.open()) {
        // An answer that comes early refuses: the rest is not wanted.
        if (exchange.over || exchange.answered || this.#socket.destroyed) return;
        sent += piece.length;
        if (sent > sizeOf(body)) break;
        const taken = this.#socket.write(piece);
        this.#since = performance.now();
        if (!taken) await this.#drained();
        this.#since = performance.now();
      }
      if (sent !== sizeOf(body)) throw new Error(`the body has not the ${sizeOf(body)} bytes that were announced`);
      this.#sending = false;
    } catch (e) {
      exchange.fail(e);
      this.destroy();
    }
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        this.#socket.off("drain", go).off("close", go);
        resolve();
      };
      this.#socket.on("drain", go).on("close", go);
    });
  }

  /** Reads on after `take` gave false. */
  resume(): void {
    if (this.#held) return;
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
    const more = this.#deliver(buffer, n);
    const waitMs = this.#origin.shared.pace?.took(n) ?? 0;
    if (waitMs < LEAST_HOLD_MS || this.#socket.destroyed) return more;
    this.#hold(waitMs);
    return false;
  }

  /** Reads nothing for a while. That is our doing, not the server's: no time-out counts it. */
  #hold(ms: number): void {
    this.#exchange?.extend(ms);
    const timer = setTimeout(() => {
      this.#held = undefined;
      if (this.#exchange) this.#wait(this.#origin.shared.limits.idleTimeoutMs);
      if (!this.#exchange?.paused) this.#socket.resume();
    }, ms);
    this.#held = { timer, until: performance.now() + ms };
  }

  #deliver(buffer: Buffer, n: number): boolean {
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
      const busy = this.#sending || this.#socket.writableLength > 0;
      const idleMs = busy ? 0 : exchange.keepIdleMs(KEEP_IDLE_MS);
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
    if (now - this.#since <= this.#patienceMs || exchange?.paused || this.#held) return;
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
    if (this.#carried > 1 && exchange.repeatable) {
      this.#carried = 0;
      this.#origin.beginAnew(exchange);
      return;
    }
    exchange.fail(error ?? new Error("the other side closed it"));
  }
}

function* slices(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += AT_ONCE) yield bytes.subarray(at, at + AT_ONCE);
}
