import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApiAnswer } from "../../transfer/api.ts";
import { rateLimit } from "./rate-limit.ts";

const never = new AbortController().signal;

function refused(headers: Record<string, string> = {}): ApiAnswer {
  const body = Buffer.from("You have exceeded a secondary rate limit");
  return { status: 403, headers: new Map(Object.entries(headers)), body, url: "https://h/" };
}

test("requests that are refused together count as one refusal, and the pause is the one of the first", async () => {
  let now = 1_000_000;
  const slept: number[] = [];
  const sleep = async (ms: number) => {
    slept.push(ms);
    now += ms;
  };
  const limits = rateLimit("h", { now: () => now, sleep, random: () => 0 }, () => undefined);
  for (const minutes of [1, 2, 4, 8, 16, 32]) {
    for (let i = 0; i < 5; i++) assert.equal(limits.reached(refused(), true), true, `${minutes}`);
    await limits.open(never);
    assert.equal(slept.at(-1), minutes * 60_000);
  }
  assert.equal(limits.reached(refused(), true), false);
  assert.equal(slept.length, 6);
  // Whoever names a longer pause meanwhile is listened to.
  const named = rateLimit("h", { now: () => now, sleep, random: () => 0 }, () => undefined);
  for (const seconds of ["10", "30", "20"])
    assert.equal(named.reached(refused({ "retry-after": seconds }), true), true);
  await named.open(never);
  assert.equal(slept.at(-1), 30_000);
});

test("a limit whose end is always in the past is not waited for without an end", async () => {
  let now = 1_000_000;
  let waits = 0;
  const sleep = async (ms: number) => {
    waits++;
    now += ms;
  };
  const limits = rateLimit("h", { now: () => now, sleep, random: () => 0 }, () => undefined);
  while (limits.reached(refused({ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "500" }), true)) {
    await limits.open(never);
    assert.ok(waits < 100);
  }
  assert.equal(waits, 6);
});
