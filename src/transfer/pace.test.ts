import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { bytesPerSecond } from "../config/rate.ts";
import { openPace, paceSettings } from "./pace.ts";

test("whoever waits as told never takes more than the rate allows, a quarter of a second and one portion aside", () => {
  const portions = fc.array(fc.tuple(fc.integer({ min: 1, max: 1_000_000 }), fc.integer({ min: 0, max: 400 })), {
    minLength: 1,
    maxLength: 50,
  });
  fc.assert(
    fc.property(fc.integer({ min: 1000, max: 10_000_000 }), portions, (rate, taken) => {
      let time = 1_000_000_000n;
      const began = time;
      const pace = openPace(paceSettings(rate), () => time);
      let [bytes, waited] = [0, 0];
      for (const [n, pauseMs] of taken) {
        bytes += n;
        const wait = pace.took(n);
        waited += wait;
        time += BigInt(Math.ceil(wait * 1e6)) + BigInt(pauseMs) * 1_000_000n;
      }
      const seconds = Number(time - began) / 1e9;
      assert.ok(bytes <= rate * (seconds + 0.2501) + taken.length, `${bytes} bytes in ${seconds} s at ${rate}`);
      // Nor is more waited for than the bytes cost.
      assert.ok(waited <= (bytes / rate) * 1000 + taken.length, `${waited}`);
    }),
  );
});

test("threads draw from one ledger: what all of them together took is what is waited for", async () => {
  const settings = paceSettings(1000);
  const module = new URL("./pace.ts", import.meta.url).href;
  const code = `
    const { workerData, parentPort } = require("node:worker_threads");
    import(${JSON.stringify(module)}).then(({ openPace }) => {
      const pace = openPace(workerData, () => 10_000_000_000n);
      for (let i = 0; i < 20000; i++) pace.took(1);
      parentPort.postMessage("done");
    });`;
  const workers = [1, 2, 3, 4].map(() => new Worker(code, { eval: true, workerData: settings }));
  await Promise.all(workers.map((w) => new Promise((done) => w.once("message", done))));
  await Promise.all(workers.map((w) => w.terminate()));
  // 80,000 bytes at 1000 a second, a quarter of a second of them free.
  assert.equal(openPace(settings, () => 10_000_000_000n).took(0), 79_750);
});

test("rates are bytes a second, with the suffixes that curl has", () => {
  const rates = [5000, "5000", "2K", "1.5m", "1G", "fast", "-1", "1KB", ""].map(bytesPerSecond);
  assert.deepEqual(rates, [5000, 5000, 2048, 1_572_864, 1_073_741_824, 0, 0, 0, 0]);
});
