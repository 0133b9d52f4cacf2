import type { Dispatcher } from "undici";

/** The answer to one request: status and headers at once, the body as it comes. */
export interface Response {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The body's bytes. To be iterated once, or discarded; stopping early closes the connection. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Gives up the body. A short one is read to its end, so that the connection can be used again. */
  discard(): void;
}

/** The server is told to stop sending while this much waits to be taken. */
const QUEUED_BYTES = 256 * 1024;

/** A body that is given up is read on for this much, to save the connection. */
const DRAIN_BYTES = 64 * 1024;

/**
 * One GET through undici's dispatcher. `ending.translate` turns the body's errors into ours, `ending.finish` is called
 * when the body has been taken. undici's own `request` wraps each body in a Node stream; this hands
 * the parser's chunks on as they are (a bare loop over 3,000 packages: 0.95 s against 1.13 s).
 */
export function exchange(
  dispatcher: Dispatcher,
  url: URL,
  headers: Record<string, string>,
  signal: AbortSignal,
  ending: { translate(error: unknown): unknown; finish(): void } = { translate: (e) => e, finish: () => undefined },
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const queue: Uint8Array[] = [];
    let queued = 0;
    let ended = false;
    let failed: { error: unknown } | undefined;
    let draining = -1;
    let wake: (() => void) | undefined;
    let controller: Dispatcher.DispatchController | undefined;
    const onAbort = () => controller?.abort(signal.reason as Error);
    const over = () => {
      signal.removeEventListener("abort", onAbort);
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
          } else if (failed) throw ending.translate(failed.error);
          else if (ended) return;
          else {
            await new Promise<void>((r) => {
              wake = r;
            });
          }
        }
      } finally {
        ending.finish();
        if (!ended && !failed) controller?.abort(new Error("the rest is not wanted"));
      }
    }
    dispatcher.dispatch(
      { origin: url.origin, path: url.pathname + url.search, method: "GET", headers },
      {
        onRequestStart(c) {
          controller = c;
          if (signal.aborted) c.abort(signal.reason as Error);
          else signal.addEventListener("abort", onAbort, { once: true });
        },
        onResponseStart(_, status, responseHeaders) {
          if (status >= 200) resolve({ status, headers: responseHeaders, chunks: chunks(), discard });
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
          over();
        },
        onResponseError(_, error) {
          failed = { error };
          over();
          reject(error);
        },
      },
    );
  });
}
