import assert from "node:assert/strict";
import { test } from "node:test";
import { TransferError } from "../errors.ts";
import { pool } from "./pool.ts";
import { redactText, redactUrl } from "./redact.ts";
import { parseRetryAfter, waitBefore, withRetries } from "./retry.ts";

const never = new AbortController().signal;

test("the pool runs every item, no more than its limit at once, whether work is fast or slow", async () => {
  for (const limit of [1, 4, 64]) {
    let running = 0;
    let most = 0;
    const results: number[] = [];
    const work = async (i: number) => {
      most = Math.max(most, ++running);
      for (let n = 0; n <= i % 5; n++) await Promise.resolve();
      running--;
      return i;
    };
    const items = Array.from({ length: 200 }, (_, i) => i);
    for await (const r of pool(items, limit, work, never)) results.push(r);
    assert.deepEqual(
      results.sort((a, b) => a - b),
      items,
    );
    assert.equal(most, Math.min(limit, 200));
  }
});

test("the pool ends with the first error of its work, and begins nothing after an abort or when nobody listens", async () => {
  const begun: number[] = [];
  const work = async (i: number) => {
    begun.push(i);
    if (i === 3) throw new Error("three");
    return i;
  };
  await assert.rejects(async () => {
    for await (const _ of pool([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 1, work, never));
  }, /three/);
  assert.deepEqual(begun, [1, 2, 3]);
  begun.length = 0;
  for await (const _ of pool([1, 2, 4, 5, 6, 7], 1, async (i) => begun.push(i), never)) break;
  assert.ok(begun.length < 6);
  begun.length = 0;
  for await (const _ of pool([1], 1, async (i) => begun.push(i), AbortSignal.abort()));
  assert.deepEqual(begun, []);
});

test("pauses grow, are jittered, bounded, and never shorter than the server asks", () => {
  assert.deepEqual(
    [1, 2, 3].map((n) => waitBefore(n, undefined, 1)),
    [500, 1000, 2000],
  );
  assert.deepEqual(
    [1, 2, 3].map((n) => waitBefore(n, undefined, 0)),
    [250, 500, 1000],
  );
  assert.equal(waitBefore(30, undefined, 1), 30_000);
  assert.ok(waitBefore(1, 9000, 0.5) >= 9000);
  assert.deepEqual(
    [
      parseRetryAfter("12", 0),
      parseRetryAfter("Thu, 01 Jan 1970 00:00:05 GMT", 2000),
      parseRetryAfter("soon", 0),
      parseRetryAfter(undefined, 0),
    ],
    [12_000, 3000, undefined, undefined],
  );
});

test("pauses that no server asked for are cut to what --timeout-seconds allows, and no try is lost", async () => {
  const slept: number[] = [];
  const clock = { now: () => 0, random: () => 1, sleep: async (ms: number) => void slept.push(ms) };
  const options = { attempts: 4, longestWaitMs: 1500, clock, signal: never };
  const busy = (retryAfterMs?: number) => async () => {
    throw new TransferError("SERVER_ERROR", { what: "w", why: "busy", next: "n" }, { mayPass: true, retryAfterMs });
  };
  await assert.rejects(withRetries(busy(), options), { code: "SERVER_ERROR" });
  assert.deepEqual(slept, [500, 1000, 1500, 1500]);
  await assert.rejects(withRetries(busy(2000), options), { code: "WAIT_TOO_LONG" });
  assert.equal(slept.length, 4);
});

test("what is shown of URLs and texts holds no secret", () => {
  assert.equal(redactUrl("https://u:p@h.org/t/tk-12/c/x.conda?sig=abc#f"), "https://h.org/t/…/c/x.conda?…");
  assert.equal(redactUrl("C:\\channels\\mine"), "C:\\channels\\mine");
  assert.equal(
    redactText("no https://u:p@h.org/x?sig=1\n\x1b[31m for Bearer abcdefghij"),
    "no https://h.org/x?… [31m for …",
  );
});
