import assert from "node:assert/strict";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { UsageError } from "../src/errors.ts";
import { type Round, watch } from "../src/watch.ts";
import { buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listed, temporary, written } from "./support/folders.ts";

/** Runs rounds without waiting; `between` is called after each with its number, and ends the watch by aborting. */
async function rounds(
  options: { sources: string[]; target: string },
  between: (round: number, stop: () => void) => void,
): Promise<{ told: Round[]; waits: number[] }> {
  const stopping = new AbortController();
  const told: Round[] = [];
  const waits: number[] = [];
  const sleep = async (ms: number) => {
    waits.push(ms);
    between(waits.length, () => stopping.abort());
  };
  const clock = { now: () => Date.now(), random: () => 0, sleep };
  const settings = { retry_attempts: 0 };
  const onRound = (round: Round) => told.push(round);
  await watch({ ...options, env: {}, settings, clock, intervalMs: 5000, signal: stopping.signal, onRound });
  return { told, waits };
}

const [a, b] = [buildConda({ name: "a" }), buildConda({ name: "b" })];

test("each round takes what is new and keeps what is there", async () => {
  const [source, target] = [temporary(), join(temporary(), "channel")];
  written(source, [a]);
  const { told, waits } = await rounds({ sources: [source], target }, (round, stop) => {
    if (round === 1) written(source, [b]);
    if (round === 3) stop();
  });
  assert.deepEqual(
    told.map((r) => ("report" in r ? [r.report.added, r.report.kept] : [])),
    [
      [1, 0],
      [1, 1],
      [0, 2],
    ],
  );
  assert.deepEqual(waits, [5000, 5000, 5000]);
  assert.deepEqual(listed(target, "noarch"), [a.fileName, b.fileName]);
});

test("a source that is down and a target that can't be written are survived", async () => {
  const server = await fileServer({ [a.fileName]: a.bytes });
  const target = join(temporary(), "channel");
  server.misdeeds.set(a.fileName, [{ status: 503 }]);
  const { told } = await rounds({ sources: [`${server.url}/${a.fileName}`], target }, (round, stop) => {
    if (round === 1) {
      rmSync(target, { recursive: true, force: true });
      written(join(target, ".."), [{ ...a, fileName: "channel" }]);
    }
    if (round === 2) {
      rmSync(target);
      mkdirSync(target);
    }
    if (round === 3) stop();
  });
  assert.deepEqual(
    told.map((r) => ("report" in r ? r.report.added : r.error.code)),
    [0, "UNWRITABLE", 1],
  );
});

test("a call that no round could carry out ends at once", async () => {
  const target = temporary();
  await assert.rejects(
    rounds({ sources: [], target }, () => assert.fail("it waited")),
    UsageError,
  );
});
