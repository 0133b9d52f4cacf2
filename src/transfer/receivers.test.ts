import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { buildConda } from "../../test/packages/builder.ts";
import { fetchPackage } from "./fetch-package.ts";
import { openFile } from "./open-file.ts";
import { startReceivers } from "./receivers.ts";
import { systemClock } from "./retry.ts";

const http = {
  connections: 1,
  totalTimeoutMs: 1000,
  tokens: { github_token: null, github_api_url: "https://h", azure_devops_token: null, azure_devops_url: "https://h" },
  proxies: undefined,
};

test("what comes after a thread died goes to another one", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "receivers-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const prove = async (url: string) => ({ url });
  const receivers = startReceivers(1, 1, { http, prove }, new AbortController().signal);
  t.after(() => receivers.close());
  await receivers.ready;
  const { fileName, bytes } = buildConda({ name: "p" });
  const begin = (staged: string, module?: string) => {
    const placeIn = module === undefined ? {} : { placeIn: { module, settings: null } };
    return receivers.begin({ fileName, origin: "here", ...placeIn }, join(folder, staged));
  };
  const copy = () => Uint8Array.from(bytes);
  // Ends the thread that it is loaded in, as running out of memory does.
  const deadly = begin("deadly", "data:text/javascript,process.exit(7)");
  await assert.rejects(deadly.whole(copy()), /ended with code 7/);
  const both = ["next", "last"].map((name) => begin(name));
  for (const one of await Promise.all(both.map((handover) => handover.whole(copy()))))
    assert.deepEqual(readFileSync(one.stagedPath), Buffer.from(bytes));
});

test("of the packages that a thread had when it died, the one that kills another is told, the others come", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "receivers-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const { signal } = new AbortController();
  const receivers = startReceivers(1, 1, { http, prove: async (url: string) => ({ url }) }, signal);
  t.after(() => receivers.close());
  const { fileName, bytes } = buildConda({ name: "p" });
  const path = join(folder, fileName);
  writeFileSync(path, bytes);
  const place = { origin: path, address: { path }, open: openFile(path) };
  const options = { receivers, retryAttempts: 0, longestWaitMs: 0, clock: systemClock, signal };
  const brought = (staged: string, module?: string) => {
    const placeIn = module === undefined ? {} : { placeIn: { module, settings: null } };
    const expected = { fileName, origin: path, ...placeIn };
    return fetchPackage(expected, [place], join(folder, staged), undefined, options);
  };
  const deadly = "data:text/javascript,process.exit(7)";
  const [one, killer, two, other] = await Promise.allSettled([
    brought("one"),
    brought("killer", deadly),
    brought("two"),
    brought("other", deadly),
  ]);
  for (const good of [one, two]) {
    assert.equal(good?.status, "fulfilled");
    const fetched = (good as PromiseFulfilledResult<Awaited<ReturnType<typeof brought>>>).value;
    assert.ok(fetched !== "unchanged");
    assert.deepEqual(readFileSync(fetched.received.stagedPath), Buffer.from(bytes));
  }
  for (const bad of [killer, other]) {
    assert.equal(bad?.status, "rejected");
    const { code, why } = (bad as PromiseRejectedResult).reason;
    assert.deepEqual([code, why], ["UNREADABLE", "the thread that had it ended: a worker thread ended with code 7"]);
  }
});
