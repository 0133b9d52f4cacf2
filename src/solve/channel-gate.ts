import { randomBytes } from "node:crypto";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { TransferError } from "../errors.ts";

/** A channel at an address of this machine, for a solver that brings requests of its own. */
export interface ChannelGate {
  /** Ends in "/". Nobody can guess it. */
  readonly url: string;
  /** What kept a file of the channel from being read, if anything did: the solver takes it for one that is not there. */
  failure(): unknown;
  /** Puts an index of ours, as JSON, in a subdir's place, for whoever asks from now on. */
  put(subdir: string, repodata: Uint8Array): void;
  close(): Promise<void>;
}

/**
 * Opens a channel to rattler's solver, which is WASM and can only `fetch`: without our credentials, proxies, retries and
 * rules for redirects, and nothing from folders. Here every file of the index is asked for once and kept until `close`.
 * @param read gives a file of the channel by its path inside; undefined or NOT_FOUND when there is none.
 */
export async function openGate(read: (path: string) => Promise<Uint8Array | undefined>): Promise<ChannelGate> {
  const files = new Map<string, Promise<Uint8Array | undefined>>();
  const ours = new Map<string, Uint8Array>();
  let failed: unknown;
  const fetchFile = async (path: string): Promise<Uint8Array | undefined> => {
    try {
      return await read(path);
    } catch (e) {
      if (e instanceof TransferError && e.code === "NOT_FOUND") return undefined;
      // S3 answers 403 for a missing key where listing is not allowed; an index that is there is never refused alone.
      if (!(e instanceof TransferError && e.code === "REFUSED" && !path.endsWith("repodata.json"))) failed ??= e;
      return undefined;
    }
  };
  const secret = `/${randomBytes(16).toString("hex")}/`;
  const answer = async (method: string, path: string, response: ServerResponse): Promise<void> => {
    // Files of an index and nothing else: two levels and shards, and no dots that climb.
    const known = path.startsWith(secret) ? path.slice(secret.length) : "..";
    const [subdir = "", file = ""] = known.split(/\/(.*)/s);
    const index = ours.get(subdir);
    const bytes = index ? (file === "repodata.json" ? index : undefined) : await fileOf(known);
    response.writeHead(bytes ? 200 : 404, { "content-length": bytes?.length ?? 0 });
    response.end(method === "HEAD" ? undefined : bytes);
  };
  const fileOf = async (known: string): Promise<Uint8Array | undefined> => {
    const inside = /^[a-z0-9-]+\/(?:[\w-]+\/)*[\w-][\w.-]*$/.test(known) ? known : undefined;
    if (inside === undefined) return undefined;
    let file = files.get(inside);
    if (!file) {
      file = fetchFile(inside);
      files.set(inside, file);
    }
    return file;
  };
  const server = createServer((request, response) => {
    void answer(request.method ?? "GET", request.url ?? "", response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  server.unref();
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${secret}`,
    failure: () => failed,
    put: (subdir, repodata) => void ours.set(subdir, repodata),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
