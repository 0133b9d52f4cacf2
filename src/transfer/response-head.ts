/** How the end of a response's body is found (RFC 9112 §6.3). */
export type Framing =
  /** After so many bytes. */
  | { readonly by: "length"; readonly bytes: number }
  /** By the chunked coding's last chunk. */
  | { readonly by: "chunks" }
  /** By the end of the connection. */
  | { readonly by: "close" };

/** The first part of an HTTP/1.1 response. */
export interface ResponseHead {
  readonly status: number;
  /** By lower-case name. Of a header that came twice the first value counts. */
  readonly headers: ReadonlyMap<string, string>;
  readonly framing: Framing;
  /** Whether another request may be sent on the same connection. */
  readonly keepAlive: boolean;
}

/** An answer that is not HTTP/1.1, or not in a form that all readers would read alike. */
export class BadResponse extends Error {
  readonly code = "BAD_RESPONSE";
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: .*)?$/;
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/**
 * Reads a response's head: its lines up to the empty one, which is left out.
 * Folded lines, lengths that contradict each other and unknown codings are refused, not guessed at: on a connection that
 * is used again, one answer would be taken for a part of another.
 * @param bodiless the answer to a HEAD request, whose length is that of a body that does not come.
 * @throws BadResponse
 */
export function parseResponseHead(text: string, bodiless = false): ResponseHead {
  const lines = text.split("\r\n");
  const first = STATUS_LINE.exec(lines[0] as string);
  if (!first) throw new BadResponse("the answer is not HTTP/1.1");
  const status = Number(first[2]);
  const headers = new Map<string, string>();
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i] as string;
    const colon = line.indexOf(":");
    // A bare CR or LF and a NUL end up in the value: line ends to one reader and not to another.
    if (colon < 0 || !FIELD_NAME.test(line.slice(0, colon)) || /[\0\r\n]/.test(line))
      throw new BadResponse("a line of the answer's head is malformed");
    const name = line.slice(0, colon).toLowerCase();
    const value = withoutSpace(line, colon + 1);
    const earlier = headers.get(name);
    if (earlier === undefined) headers.set(name, value);
    else if (name === "content-length" && earlier !== value)
      throw new BadResponse("the answer has two different lengths");
    else if (name === "transfer-encoding" || name === "connection") headers.set(name, `${earlier}, ${value}`);
  }
  const connection = headers.get("connection")?.toLowerCase() ?? "";
  const framing: Framing = bodiless ? { by: "length", bytes: 0 } : framingOf(status, headers);
  const keepAlive =
    framing.by !== "close" && (first[1] === "1" ? !connection.includes("close") : connection.includes("keep-alive"));
  return { status, headers, framing, keepAlive };
}

/** A line from `start`, without the spaces and tabs around it. A pattern for it would go over thousands of them again and again. */
function withoutSpace(line: string, start: number): string {
  const isSpace = (at: number) => line[at] === " " || line[at] === "\t";
  let end = line.length;
  while (start < end && isSpace(start)) start++;
  while (end > start && isSpace(end - 1)) end--;
  return line.slice(start, end);
}

function framingOf(status: number, headers: ReadonlyMap<string, string>): Framing {
  if (status < 200 || status === 204 || status === 304) return { by: "length", bytes: 0 };
  const coding = headers.get("transfer-encoding")?.toLowerCase();
  const length = headers.get("content-length");
  if (coding !== undefined) {
    if (length !== undefined) throw new BadResponse("the answer has both a length and a transfer coding");
    if (coding !== "chunked") throw new BadResponse("the answer has a transfer coding that was not asked for");
    return { by: "chunks" };
  }
  if (length === undefined) return { by: "close" };
  const bytes = Number(length);
  if (!/^\d+$/.test(length) || !Number.isSafeInteger(bytes)) throw new BadResponse("the answer's length is no number");
  return { by: "length", bytes };
}

const CR = 13;
const LF = 10;

/** Bytes of one chunk's size line, or of the trailers: more is no server's. */
const LONGEST_LINE = 16 * 1024;

/** Takes the chunked coding off a body as it comes (RFC 9112 §7.1). Extensions and trailers are read over. */
export class ChunkedBody {
  /** The last chunk and its trailers have been read. */
  ended = false;
  #left = 0;
  #state: "size" | "data" | "after-data" | "trailer" = "size";
  #line = "";
  #trailers = 0;

  /**
   * Takes bytes from `at` up to `end`, gives each run of content to `put`, and returns where it stopped: `end`, or
   * behind the body's last byte.
   * @throws BadResponse
   */
  take(bytes: Buffer, at: number, end: number, put: (from: number, to: number) => void): number {
    while (at < end && !this.ended) {
      if (this.#state === "data") {
        const n = Math.min(this.#left, end - at);
        put(at, at + n);
        at += n;
        this.#left -= n;
        if (this.#left === 0) this.#state = "after-data";
        continue;
      }
      const newline = bytes.indexOf(LF, at);
      const stop = newline < 0 || newline >= end ? end : newline + 1;
      this.#line += bytes.toString("latin1", at, stop);
      at = stop;
      if (this.#line.length > LONGEST_LINE) throw new BadResponse("a line of the chunked coding is too long");
      if (bytes[stop - 1] === LF) this.#lineEnds();
    }
    return at;
  }

  #lineEnds(): void {
    const line = this.#line;
    this.#line = "";
    if (line.charCodeAt(line.length - 2) !== CR) throw new BadResponse("a line of the chunked coding is malformed");
    if (this.#state === "after-data") {
      if (line.length !== 2) throw new BadResponse("a chunk is longer than it says");
      this.#state = "size";
    } else if (this.#state === "size") {
      const size = /^([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?\r\n$/.exec(line)?.[1];
      if (size === undefined) throw new BadResponse("a chunk's size is malformed");
      this.#left = Number.parseInt(size, 16);
      this.#state = this.#left === 0 ? "trailer" : "data";
    } else if (line.length === 2) this.ended = true;
    else {
      this.#trailers += line.length;
      if (this.#trailers > LONGEST_LINE) throw new BadResponse("the trailers are too long");
    }
  }
}
