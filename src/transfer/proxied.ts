import { Readable } from "node:stream";
import type { Agent, Dispatcher } from "undici";
import { openPace, type Pace } from "./pace.ts";
import { openProxies, type ProxySettings } from "./proxies.ts";
import {
  DRAIN_BYTES,
  type Outgoing,
  type RequestLimits,
  type Requests,
  RequestTimeout,
  type Response,
} from "./response.ts";

/** The server is told to stop sending while this much waits to be taken. */
const QUEUED_BYTES = 256 * 1024;

/** A shorter wait for the limit on bytes a second is put off until it is worth a timer. */
const LEAST_HOLD_MS = 5;

/** Requests through a proxy, which is undici's craft: tunnels, credentials, exceptions. */
export function openProxied(limits: RequestLimits, proxies: ProxySettings): Requests {
  const options: Agent.Options = {
    connections: limits.connections,
    connect: { timeout: limits.connectTimeoutMs },
    headersTimeout: limits.idleTimeoutMs,
    bodyTimeout: limits.idleTimeoutMs,
    pipelining: 1,
  };
  const dispatcher = openProxies(options, proxies, limits.connectTimeoutMs);
  const pace = limits.pace && openPace(limits.pace);
  const send: Requests["send"] = (request, { signal, withinMs }) => {
    const stop = new AbortController();
    const onAbort = () => stop.abort(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    let deadline = performance.now() + withinMs;
    const late = () => {
      const left = deadline - performance.now();
      if (left <= 1) stop.abort(new RequestTimeout("TOTAL_TIMEOUT"));
      else clock = setTimeout(late, left);
    };
    let clock = setTimeout(late, withinMs);
    const over = () => {
      clearTimeout(clock);
      signal.removeEventListener("abort", onAbort);
    };
    const extend = (ms: number) => {
      deadline += ms;
    };
    return exchange(dispatcher, request, stop.signal, over, pace && { pace, extend });
  };
  return {
    get: (url, headers, ending) => send({ method: "GET", url, headers }, ending),
    send,
    close: () => dispatcher.destroy(),
  };
}

/**
 * One request through undici's dispatcher.
 * @param over is called when the answer is complete or has failed.
 * @param limit what to ask after every chunk, and what to tell of the time that we ourselves wait.
 */
function exchange(
  dispatcher: Dispatcher,
  { method, url, headers, body }: Outgoing,
  signal: AbortSignal,
  over: () => void,
  limit: { readonly pace: Pace; extend(ms: number): void } | undefined,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const queue: Uint8Array[] = [];
    let queued = 0;
    let ended = false;
    let failed: { error: unknown } | undefined;
    let draining = -1;
    let wake: (() => void) | undefined;
    let controller: Dispatcher.DispatchController | undefined;
    let holding = false;
    // A request that still waits for its connection has no controller: undici would let it wait on.
    const onStop = () => {
      const error = signal.reason as Error;
      if (controller) return controller.abort(error);
      failed = { error };
      done();
      reject(error);
    };
    signal.addEventListener("abort", onStop, { once: true });
    const resume = () => {
      if (controller?.paused && !holding && queued < QUEUED_BYTES / 2) controller.resume();
    };
    const hold = (ms: number) => {
      holding = true;
      limit?.extend(ms);
      controller?.pause();
      setTimeout(() => {
        holding = false;
        if (!ended && !failed) resume();
      }, ms);
    };
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
      else resume();
    };
    async function* chunks(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          const chunk = queue.shift();
          if (chunk) {
            queued -= chunk.length;
            resume();
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
    if (signal.aborted) return onStop();
    dispatcher.dispatch(
      {
        origin: url.origin,
        path: url.pathname + url.search,
        method: method as Dispatcher.HttpMethod,
        headers: body && !(body instanceof Uint8Array) ? { ...headers, "content-length": String(body.size) } : headers,
        ...(body
          ? { body: body instanceof Uint8Array ? body : Readable.from(body.open(), { objectMode: false }) }
          : {}),
      },
      {
        onRequestStart(c) {
          controller = c;
          if (signal.aborted) c.abort(signal.reason as Error);
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
          const waitMs = limit?.pace.took(chunk.length) ?? 0;
          if (waitMs >= LEAST_HOLD_MS && !holding) hold(waitMs);
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
