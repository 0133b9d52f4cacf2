import type { PaceSettings } from "./pace.ts";

/** The answer to one request: status and headers at once, the body as it comes. */
export interface Response {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  /** The body's bytes. To be iterated once, or discarded; stopping early closes the connection. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /**
   * Whether each chunk is a buffer of its own, as large as is good to hash and write at once, that now is the taker's:
   * he may hand it over or give it back to the portions it was taken from.
   */
  readonly owned: boolean;
  /** Gives up the body. A short one is read to its end, so that the connection can be used again. */
  discard(): void;
}

/** What a request may take, and what ends it. */
export interface Ending {
  readonly signal: AbortSignal;
  /** Milliseconds from now until it must be over, body included. */
  readonly withinMs: number;
}

/** A body that can be sent again from its start. */
export interface Body {
  /** Bytes. */
  readonly size: number;
  open(): AsyncIterable<Uint8Array>;
}

/** One request of any method. */
export interface Outgoing {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Its bytes must stay as they are until the answer has come. */
  readonly body?: Uint8Array | Body;
}

/** Sends requests. Errors are raw: codes of the system, of TLS, or `RequestTimeout`. */
export interface Requests {
  get(url: URL, headers: Readonly<Record<string, string>>, ending: Ending): Promise<Response>;
  /** Sends once: whether the other side has done what it was asked for is not known where no answer comes. */
  send(request: Outgoing, ending: Ending): Promise<Response>;
  close(): Promise<void>;
}

/** What was waited for in vain. */
export class RequestTimeout extends Error {
  readonly code: "CONNECT_TIMEOUT" | "HEADERS_TIMEOUT" | "BODY_TIMEOUT" | "TOTAL_TIMEOUT";
  constructor(code: RequestTimeout["code"]) {
    super(code);
    this.code = code;
  }
}

export interface RequestLimits {
  /** Connections per origin. */
  readonly connections: number;
  readonly connectTimeoutMs: number;
  /** Between a request and its answer, and between any two parts of the answer. */
  readonly idleTimeoutMs: number;
  /** Bytes a second of all connections together, of every thread that shares the ledger. */
  readonly pace?: PaceSettings | undefined;
}

/** A body that is given up is read on for this much, to save the connection. */
export const DRAIN_BYTES = 64 * 1024;
