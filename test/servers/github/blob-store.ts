import { createServer, type IncomingMessage } from "node:http";
import { listening } from "../listening.ts";

/** Where a service keeps its files: another host, which knows signed addresses and no tokens. */
export interface BlobStore {
  readonly url: string;
  /** An address that is good for a minute. @param fileName as it is to be saved */
  sign(bytes: Uint8Array): string;
  readonly requests: { status: number; range: string | undefined; headers: IncomingMessage["headers"] }[];
  /** Body bytes sent. */
  sent: number;
  /** The most requests that were being answered at the same time. */
  most: number;
  /** Milliseconds that each answer takes at least. */
  delay: number;
  /** Answers every request with all of the file. */
  noRanges: boolean;
}

const VALID_MS = 60_000;

/** @param now the time that signatures are measured by */
export async function blobStore(now: () => number): Promise<BlobStore> {
  const blobs = new Map<string, Uint8Array>();
  const state = { requests: [] as BlobStore["requests"], sent: 0, most: 0, delay: 0, noRanges: false };
  let active = 0;
  const server = createServer((request, response) => {
    active++;
    state.most = Math.max(state.most, active);
    response.on("close", () => active--);
    const url = new URL(request.url ?? "/", "http://store");
    const { range } = request.headers;
    const answer = (status: number, body: Uint8Array | string, headers: Record<string, string | number> = {}) => {
      state.requests.push({ status, range, headers: request.headers });
      state.sent += body.length;
      response.writeHead(status, { "content-length": body.length, ...headers }).end(body);
    };
    setTimeout(() => {
      const bytes = blobs.get(url.pathname.slice(1));
      if (request.headers.authorization !== undefined)
        return answer(400, "<Error><Code>InvalidAuthenticationInfo</Code></Error>", {
          "content-type": "application/xml",
        });
      if (!bytes) return answer(404, "<Error><Code>BlobNotFound</Code></Error>", { "content-type": "application/xml" });
      if (url.searchParams.get("sig") !== "signed" || Number(url.searchParams.get("se")) < now())
        return answer(403, "<Error><Code>AuthenticationFailed</Code></Error>", { "content-type": "application/xml" });
      const etag = `"0x${url.pathname.slice(1)}"`;
      const said = { etag, "content-type": "application/zip", "accept-ranges": "bytes" };
      if (request.headers["if-none-match"] === etag) return answer(304, "", said);
      const part = state.noRanges ? null : /^bytes=(\d+)-(\d*)$/.exec(range ?? "");
      if (!part || (request.headers["if-range"] ?? etag) !== etag) return answer(200, bytes, said);
      const start = Number(part[1]);
      const body = bytes.subarray(start, part[2] ? Number(part[2]) + 1 : undefined);
      answer(206, body, { ...said, "content-range": `bytes ${start}-${start + body.length - 1}/${bytes.length}` });
    }, state.delay);
  });
  const url = await listening(server);
  const ids = new Map<Uint8Array, string>();
  return Object.assign(state, {
    url,
    sign(bytes: Uint8Array): string {
      const id = ids.get(bytes) ?? `blob${ids.size}`;
      ids.set(bytes, id);
      blobs.set(id, bytes);
      return `${url}/${id}?sv=2025-11-05&se=${now() + VALID_MS}&sig=signed`;
    },
  });
}
