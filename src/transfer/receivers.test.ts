import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { buildConda } from "../../test/packages/builder.ts";
import { startReceivers } from "./receivers.ts";

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
