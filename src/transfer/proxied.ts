import { type Agent, type Dispatcher, EnvHttpProxyAgent } from "undici";
import { DRAIN_BYTES, type RequestLimits, type Requests, RequestTimeout, type Response } from "./response.ts";

/** Where the environment says that requests go through a proxy. */
export interface ProxySettings {
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  /** Hosts to which requests go directly. */
  readonly noProxy?: string;
}

/** The server is told to stop sending while this much waits to be taken. */
const QUEUED_BYTES = 256 * 1024;

/** GET requests through a proxy, which is undici's craft: tunnels, credentials, exceptions. */
export function openProxied(limits: RequestLimits, proxies: ProxySettings): Requests {
  const options: Agent.Options = {
    connections: limits.connections,
    connect: { timeout: limits.connectTimeoutMs },
    headersTimeout: limits.idleTimeoutMs,
    bodyTimeout: limits.idleTimeoutMs,
    pipelining: 1,
  };
  const dispatcher = new EnvHttpProxyAgent({ ...options, noProxy: "", ...proxies } as EnvHttpProxyAgent.Options);
  return {
    get(url, headers, { signal, withinMs }) {
      const stop = new AbortController();
      const onAbort = () => stop.abort(signal.reason);
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort, { once: true });
      const clock = setTimeout(() => stop.abort(new RequestTimeout("TOTAL_TIMEOUT")), withinMs);
      const over = () => {
        clearTimeout(clock);
        signal.removeEventListener("abort", onAbort);
      };
      return exchange(dispatcher, url, headers, stop.signal, over);
    },
    close: () => dispatcher.destroy(),
  };
}

/** One GET through undici's dispatcher. `over` is called when the answer is complete or has failed. */
function exchange(
  dispatcher: Dispatcher,
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
  over: () => void,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const queue: Uint8Array[] = [];
    let queued = 0;
    let ended = false;
    let failed: { error: unknown } | undefined;
    let draining = -1;
    let wake: (() => void) | undefined;
    let controller: Dispatcher.DispatchController | undefined;
    const done = () => {
      over();
      wake?.();
    };
    const discard = () => {
      if (ended || failed) return;
      draining = queued;
      queue.length = 0;
      queued = 0;
      if (draining > DRAIN_BYTES) controller?.abort(new Error("the rest is not wanted"));
      else if (controller?.paused) controller.resume();
    };
    async function* chunks(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          const chunk = queue.shift();
          if (chunk) {
            queued -= chunk.length;
            if (controller?.paused && queued < QUEUED_BYTES / 2) controller.resume();
            yield chunk;
          } else if (failed) throw failed.error;
          else if (ended) return;
          else {
            await new Promise<void>((r) => {
              wake = r;
            });
          }
        }
      } finally {
        if (!ended && !failed) controller?.abort(new Error("the rest is not wanted"));
      }
    }
    dispatcher.dispatch(
      { origin: url.origin, path: url.pathname + url.search, method: "GET", headers },
      {
        onRequestStart(c) {
          controller = c;
          if (signal.aborted) c.abort(signal.reason as Error);
          else signal.addEventListener("abort", () => c.abort(signal.reason as Error), { once: true });
        },
        onResponseStart(_, status, responseHeaders) {
          if (status < 200) return;
          const first = Object.entries(responseHeaders).map(([k, v]) => [k, Array.isArray(v) ? v[0] : v] as const);
          const said = first.filter((h): h is readonly [string, string] => h[1] !== undefined);
          resolve({ status, headers: new Map(said), chunks: chunks(), owned: false, discard });
        },
        onResponseData(c, chunk) {
          if (draining >= 0) {
            draining += chunk.length;
            if (draining > DRAIN_BYTES) c.abort(new Error("the rest is not wanted"));
            return;
          }
          queue.push(chunk);
          queued += chunk.length;
          if (queued >= QUEUED_BYTES) c.pause();
          wake?.();
        },
        onResponseEnd() {
          ended = true;
          done();
        },
        onResponseError(_, error) {
          failed = { error };
          done();
          reject(error);
        },
      },
    );
  });
}
