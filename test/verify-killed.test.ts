import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { verify } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { a, b, c, packages, rot, shardOf } from "./support/breakages.ts";
import { copyOf, seen } from "./support/channel-copies.ts";
import { channelOf } from "./support/channels.ts";
import { cliRun } from "./support/cli.ts";
import type { FaultPlan } from "./support/faults.ts";
import { repodata, temporary, written } from "./support/folders.ts";

const faults = new URL("support/faults.ts", import.meta.url).pathname;
const verifyOnce = new URL("support/verify-once.ts", import.meta.url).pathname;

const whole = await channelOf(packages);
const source = temporary();
written(source, [a, c]);
const mending = (channel: string) => ({ channel, repair: true, from: [source], removeBroken: true, maxDelete: "1" });

/** A channel in which much is wrong at once; of one package no source has the bytes. */
function broken(): string {
  const channel = copyOf(whole);
  rot(join(channel, "linux-64", c.fileName));
  writeFileSync(join(channel, "linux-64", b.fileName), "half a file");
  rot(join(channel, "linux-64", shardOf(channel, "linux-64", "c")));
  rot(join(channel, "noarch/repodata.json.zst"));
  writeFileSync(join(channel, "noarch/run_exports.json"), "{");
  writeFileSync(join(channel, "noarch/d-1.0-0.conda"), buildConda({ name: "d" }).bytes);
  return channel;
}

/** Repairs in a process of its own, which dies before its n-th change of the channel. Gives those up to then. */
function killedAt(channel: string, at: number): Promise<string[]> {
  const log = join(temporary(), "log");
  const fault: FaultPlan = { folder: channel, at, how: "kill", log };
  const child = spawn(process.execPath, ["--import", faults, verifyOnce, JSON.stringify(mending(channel))], {
    env: { PATH: process.env["PATH"] ?? "", FAULT: JSON.stringify(fault) },
    stdio: "ignore",
  });
  return new Promise((resolve) =>
    child.on("close", () => resolve(existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [])),
  );
}

test("a repair that is killed at any moment leaves a channel that clients read, and the next one mends the rest", async () => {
  const first = broken();
  const found = seen(await verify({ channel: first, env: {}, threads: 1 }));
  assert.equal(found.length, 6);
  const changes = await killedAt(first, 0);
  assert.deepEqual(seen(await verify({ channel: first, env: {}, threads: 1 })), []);
  // Between two of these nothing shows.
  const moments = changes.flatMap((what, i) =>
    /^(?:rename|link|rm) /.test(what) && !/TEMPORARY|\.html/.test(what) ? [i + 1] : [],
  );
  assert.ok(moments.length > 15, changes.join("\n"));
  const dies = async (at: number): Promise<void> => {
    const channel = broken();
    assert.equal((await killedAt(channel, at)).length, at);
    const after = seen(await verify({ channel, env: {}, threads: 1 }));
    // A form may be ahead of another, as while any channel is published; nothing is missing, cut or damaged that was not before.
    const worse = after.filter((f) => !found.includes(f) && !/^(FORM|SHARD)_DIFFERS/.test(f));
    assert.deepEqual(worse, [], `killed at ${at}`);
    const kept = repodata(channel, "linux-64")["packages.conda"][c.fileName];
    assert.deepEqual(kept, repodata(whole, "linux-64")["packages.conda"][c.fileName]);
    const again = await verify({ env: {}, threads: 1, ...mending(channel) });
    assert.deepEqual(
      again.findings.filter((f) => f.mended === undefined),
      [],
      `after it was killed at ${at}`,
    );
    assert.deepEqual(seen(await verify({ channel, env: {}, threads: 1 })), [], `killed at ${at}`);
  };
  const next = async (): Promise<void> => {
    for (let at = moments.shift(); at !== undefined; at = moments.shift()) await dies(at);
  };
  await Promise.all([next(), next()]);
});

test("a package that ends the threads that check it is told, and all others are checked", async () => {
  const deadly = buildConda({ name: "deadly" });
  const good = Array.from({ length: 40 }, (_, i) => buildConda({ name: `p${i}` }));
  const channel = await channelOf([deadly, ...good]);
  rot(join(channel, "noarch", good[7]?.fileName as string));
  const flags = ["--import", new URL("./support/deadly.ts", import.meta.url).href];
  const { code, out, err } = await cliRun(["verify", channel, "--json"], { DEADLY: join(temporary(), "log") }, flags);
  assert.equal(code, 1, err);
  const report = JSON.parse(out) as Awaited<ReturnType<typeof verify>>;
  assert.deepEqual(seen(report), [
    `PACKAGE_DAMAGED noarch/${good[7]?.fileName}`,
    `PACKAGE_UNREADABLE noarch/${deadly.fileName}`,
  ]);
  assert.match(report.findings[1]?.why ?? "", /the thread that had it ended/);
});
