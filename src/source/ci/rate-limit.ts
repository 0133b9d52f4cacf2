import { InterruptedError, TransferError } from "../../errors.ts";
import type { ApiAnswer } from "../../transfer/api.ts";
import { redactUrl } from "../../transfer/redact.ts";
import { type Clock, parseRetryAfter } from "../../transfer/retry.ts";

/** Waits out what a service allows: one for all requests to it, so that none is sent while another one waits. */
export interface RateLimit {
  /** Resolves when requests may be sent. @throws InterruptedError */
  open(signal: AbortSignal): Promise<void>;
  /**
   * Whether an answer says that too much was asked for; then `open` waits as long as it says.
   * @throws TransferError WAIT_TOO_LONG
   */
  reached(answer: ApiAnswer, withToken: boolean): boolean;
}

/** The hour that GitHub counts requests by, and some time for clocks that differ. */
const LONGEST_MS = 70 * 60_000;
/** GitHub asks for a minute where it names no time (docs: "Exceeding the rate limit"). */
const SECONDARY_MS = 60_000;
const MOST_SECONDARY = 6;
const MOST_STALE = 6;

/** @param host for people */
export function rateLimit(host: string, clock: Clock, warn: (message: string) => void): RateLimit {
  let until = 0;
  let secondary = 0;
  let stale = 0;
  const wait = (answer: ApiAnswer, ms: number, why: string): true => {
    if (ms > LONGEST_MS) {
      throw new TransferError(
        "WAIT_TOO_LONG",
        { what: redactUrl(answer.url), why: `${why}; it asks to wait ${durationText(ms)}`, next: "run again later" },
        { mayPass: false },
      );
    }
    const end = clock.now() + ms;
    // Many requests are refused at once: one of them tells.
    if (end > until + 1000) warn(`${host}: ${why}; going on in ${durationText(ms)}, at ${clockText(end)}`);
    until = Math.max(until, end);
    return true;
  };
  return {
    async open(signal) {
      for (let left = until - clock.now(); left > 0; left = until - clock.now()) {
        await clock.sleep(left, signal).catch((cause: unknown) => {
          throw new InterruptedError(cause);
        });
      }
    },
    reached(answer, withToken) {
      const { status, headers } = answer;
      if (status !== 403 && status !== 429) {
        return false;
      }
      const now = Date.parse(headers.get("date") ?? "") || clock.now();
      const retryAfter = parseRetryAfter(headers.get("retry-after"), now);
      if (headers.get("x-ratelimit-remaining") === "0" && retryAfter === undefined) {
        const reset = Number(headers.get("x-ratelimit-reset")) * 1000;
        const limit = headers.get("x-ratelimit-limit");
        const more = withToken ? "" : " (without a token; GITHUB_TOKEN allows 5000)";
        // A moment that has passed is waited for now and then; a server that names no other is not asked for ever.
        if (reset <= now && clock.now() >= until && ++stale > MOST_STALE) return false;
        // The moment is told in whole seconds, cut off.
        const ms = Number.isFinite(reset) && reset > 0 ? Math.max(0, reset - now) + 1000 : SECONDARY_MS;
        return wait(answer, ms, `its limit of ${limit ?? "so many"} requests an hour is used up${more}`);
      }
      const words = Buffer.from(answer.body.subarray(0, 2000)).toString("utf8");
      if (retryAfter === undefined && status !== 429 && !/secondary rate limit|abuse detection/i.test(words))
        return false;
      const why = "it asks for a pause (secondary rate limit)";
      // Asked before the wait began, as others were: one refusal, however many requests were under way.
      if (clock.now() < until) return retryAfter === undefined ? true : wait(answer, retryAfter, why);
      if (secondary === MOST_SECONDARY) return false;
      const ms = retryAfter ?? SECONDARY_MS * 2 ** secondary;
      secondary++;
      return wait(answer, ms, why);
    },
  };
}

function durationText(ms: number): string {
  const s = Math.ceil(ms / 1000);
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${s % 60} s`;
}

/** The time of day, as the machine has it. */
function clockText(time: number): string {
  const date = new Date(time);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((n) => String(n).padStart(2, "0")).join(":");
}
