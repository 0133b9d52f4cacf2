import { hash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";

/** What a server does to one request instead of answering well. */
export type Misdeed =
  /** Breaks the connection after so many bytes of the body. */
  | { readonly cutAfter: number }
  /** Answers with this status. */
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  /** Says another Content-Length than it sends, then ends. */
  | { readonly claimLength: number }
  /** Sends these bytes in place of the file's. */
  | { readonly bytes: Uint8Array }
  | { readonly redirect: string }
  /** Sends the headers and so many bytes, then nothing more. */
  | { readonly stallAfter: number }
  /** Knows no ranges, and sends no Content-Length, no ETag and no Last-Modified. */
  | { readonly bare: true }
  /** Ignores Range. */
  | { readonly noRanges: true };

export interface FileServer {
  readonly url: string;
  /** What it serves: path without the leading slash to bytes. */
  readonly files: Map<string, Uint8Array>;
  /** Misdeeds to come, by path: each request takes the first of its list. */
  readonly misdeeds: Map<string, Misdeed[]>;
  /** Asked at each request, with its number from 1: what happens to it. */
  onRequest?: (path: string, number: number) => Misdeed | undefined;
  readonly requests: { path: string; range: string | undefined; headers: IncomingMessage["headers"] }[];
  /** Body bytes sent, by path. */
  readonly sent: Map<string, number>;
  /** The most requests that were being answered at the same time. */
  most: number;
  /** Milliseconds that each answer takes at least. */
  delay: number;
  close(): Promise<void>;
}

/** A file server on 127.0.0.1 that counts, and misbehaves on demand. Ends with the test file. */
export async function fileServer(files: Record<string, Uint8Array> = {}): Promise<FileServer> {
  let active = 0;
  const state: Omit<FileServer, "url" | "close"> = {
    files: new Map(Object.entries(files)),
    misdeeds: new Map(),
    requests: [],
    sent: new Map(),
    most: 0,
    delay: 0,
  };
  const server = createServer((request, response) => {
    active++;
    state.most = Math.max(state.most, active);
    response.on("close", () => active--);
    setTimeout(() => answer(state, request, response), state.delay);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => closeServer(server);
  after(close);
  return Object.assign(state, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close });
}

const etags = new WeakMap<Uint8Array, string>();

function etagOf(file: Uint8Array): string {
  const etag = etags.get(file) ?? `"${hash("sha1", file, "base64url")}"`;
  etags.set(file, etag);
  return etag;
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

function answer(state: Omit<FileServer, "url" | "close">, request: IncomingMessage, response: ServerResponse): void {
  const path = decodeURIComponent((request.url ?? "/").split("?")[0]?.slice(1) ?? "");
  const { range } = request.headers;
  state.requests.push({ path, range, headers: request.headers });
  const misdeed = state.onRequest?.(path, state.requests.length) ?? state.misdeeds.get(path)?.shift();
  if (misdeed && "status" in misdeed) {
    response.writeHead(misdeed.status, misdeed.headers).end(misdeed.body ?? "");
    return;
  }
  if (misdeed && "redirect" in misdeed) {
    response.writeHead(302, { location: misdeed.redirect }).end();
    return;
  }
  const file = misdeed && "bytes" in misdeed ? misdeed.bytes : state.files.get(path);
  if (!file) {
    response.writeHead(404, { "content-type": "text/plain" }).end("no such file here");
    return;
  }
  const etag = etagOf(file);
  if (request.headers["if-none-match"] === etag && !misdeed) {
    response.writeHead(304, { etag }).end();
    return;
  }
  const from = /^bytes=(\d+)-(\d*)$/.exec(range ?? "");
  const ranged =
    from !== null &&
    !(misdeed && ("noRanges" in misdeed || "bare" in misdeed)) &&
    (request.headers["if-range"] ?? etag) === etag;
  const start = ranged ? Number(from[1]) : 0;
  const end = ranged && from[2] ? Number(from[2]) + 1 : file.length;
  const body = file.subarray(start, end);
  const headers: Record<string, string | number> = { "content-length": body.length, etag, "accept-ranges": "bytes" };
  if (ranged) headers["content-range"] = `bytes ${start}-${Math.min(end, file.length) - 1}/${file.length}`;
  if (misdeed && "claimLength" in misdeed) headers["content-length"] = misdeed.claimLength;
  if (misdeed && "bare" in misdeed) for (const name of Object.keys(headers)) delete headers[name];
  response.writeHead(ranged ? 206 : 200, headers);
  const count = (n: number) => state.sent.set(path, (state.sent.get(path) ?? 0) + n);
  if (misdeed && ("cutAfter" in misdeed || "stallAfter" in misdeed)) {
    const part = body.subarray(0, "cutAfter" in misdeed ? misdeed.cutAfter : misdeed.stallAfter);
    count(part.length);
    response.write(part, () => {
      if ("cutAfter" in misdeed) setTimeout(() => response.destroy(), 20);
    });
    return;
  }
  count(body.length);
  if (misdeed && "claimLength" in misdeed) response.write(body, () => setTimeout(() => response.destroy(), 20));
  else response.end(body);
}
