import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { indexChannel } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { cliRun } from "./support/cli.ts";
import { listed, temporary, written } from "./support/folders.ts";

const flags = ["--import", new URL("./support/deadly.ts", import.meta.url).href];
const good = Array.from({ length: 60 }, (_, i) => buildConda({ name: `p${i}`, files: { [`p${i}`]: "" } }));
const deadly = [1, 2, 3].map((n) => buildConda({ name: `deadly${n}`, files: { [`deadly${n}`]: "" } }));

interface Failed {
  readonly fileName: string;
  readonly error: { readonly code: string; readonly why: string };
}

/** How often each package ended a thread. */
function deaths(log: string): number[] {
  const names = readFileSync(log, "utf8").trim().split("\n");
  return deadly.map(({ fileName }) => names.filter((n) => fileName.startsWith(n.slice(0, "deadly1".length))).length);
}

test("packages that end the threads that read them are told once each; all others are indexed, what was listed stays", async () => {
  const [channel, log] = [temporary(), join(temporary(), "log")];
  mkdirSync(join(channel, "noarch"));
  const [old, ...young] = deadly;
  assert.ok(old);
  written(join(channel, "noarch"), [old]);
  await indexChannel({ channel, env: {}, threads: 1 });
  // Read anew.
  written(join(channel, "noarch"), [...deadly, ...good]);
  const { code, out, err } = await cliRun(["index", channel, "--json"], { DEADLY: log }, flags);
  assert.equal(code, 1, err);
  const { failed } = JSON.parse(out) as { failed: Failed[] };
  assert.deepEqual(
    failed.map((f) => f.fileName).sort(),
    deadly.map((p) => p.fileName),
  );
  for (const { error } of failed) {
    assert.equal(error.code, "UNREADABLE");
    assert.equal(error.why, "the thread that had it ended: a worker thread ended with code 7");
  }
  assert.deepEqual(listed(channel, "noarch"), [old, ...good].map((p) => p.fileName).sort());
  assert.ok(
    deaths(log).every((n) => n === 1 || n === 2),
    String(deaths(log)),
  );
  assert.ok(young.length > 0);
});

test("packages that end the threads that unpack them are told once each; all others are put into the cache", async () => {
  const [source, cache, log] = [temporary(), join(temporary(), "cache"), join(temporary(), "log")];
  written(source, [...deadly, ...good]);
  // More at once than there are threads, so that some wait for one.
  const args = ["mirror", source, "--tgt", cache, "--tgt-type", "cache", "--max-concurrent-downloads", "40", "--json"];
  const { code, out, err } = await cliRun(args, { DEADLY: log }, flags);
  assert.equal(code, 1, err);
  const { packages } = JSON.parse(out) as { packages: (Failed & { outcome: string })[] };
  const failed = packages.filter((p) => p.outcome === "failed");
  assert.deepEqual(
    failed.map((f) => f.fileName).sort(),
    deadly.map((p) => p.fileName),
  );
  for (const { error } of failed) assert.equal(error.code, "UNREADABLE");
  const entries = readdirSync(cache).filter((f) => f.startsWith("p") && !f.endsWith(".lock"));
  assert.deepEqual(entries.sort(), good.map((p) => p.fileName.replace(/\.conda$/, "")).sort());
  assert.deepEqual(deaths(log), [1, 1, 1]);
});
