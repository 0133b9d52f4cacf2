import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { indexChannel, type MirrorOptions, mirror } from "../src/main.ts";
import { type BuiltPackage, buildConda } from "./packages/builder.ts";
import type { FaultPlan } from "./support/faults.ts";
import { repodata, temporary, written } from "./support/folders.ts";
import { copyChannel } from "./support/twin.ts";

const faults = new URL("support/faults.ts", import.meta.url).pathname;
const mirrorOnce = new URL("support/mirror-once.ts", import.meta.url).pathname;

const old = buildConda({ name: "a", files: { f: "old" } });
/** Other bytes under the same name, as many of them or more. */
const others = [
  buildConda({ name: "a", files: { f: "new" } }),
  buildConda({ name: "a", files: { f: "n".repeat(99) } }),
];
const b = buildConda({ name: "b" });

/** Runs `mirror` in a process of its own, which dies before its n-th change of the target. Gives all changes up to then. */
function killedAt(options: MirrorOptions, at: number): Promise<string[]> {
  const log = join(temporary(), "log");
  const fault: FaultPlan = { folder: String(options.target), at, how: "kill", log };
  const child = spawn(process.execPath, ["--import", faults, mirrorOnce, JSON.stringify(options)], {
    env: { PATH: process.env["PATH"] ?? "", FAULT: JSON.stringify(fault) },
    stdio: "ignore",
  });
  return new Promise((resolve) =>
    child.on("close", () => resolve(existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [])),
  );
}

const sha256Of = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

function promised(channel: string): unknown {
  return repodata(channel, "noarch")["packages.conda"][old.fileName]?.["sha256"];
}

async function targetOf(packages: readonly BuiltPackage[]): Promise<string> {
  const target = join(temporary(), "channel");
  await mirror({ sources: written(temporary(), packages), target, env: {} });
  return target;
}

test("a replaced file is moved in when only the names of the index files are left to give", async () => {
  const sources = written(temporary(), [others[0] as BuiltPackage]);
  const changes = await killedAt({ sources, target: await targetOf([old, b]), onConflict: "replace" }, 0);
  const moved = changes.indexOf(`rename noarch/${old.fileName}`);
  const listed = changes.indexOf("rename noarch/repodata.json");
  assert.ok(moved > 0 && listed > moved, changes.join("\n"));
  const between = changes.slice(moved + 1, listed).filter((c) => !/TEMPORARY$/.test(c));
  assert.deepEqual(between, ["rename noarch/repodata_shards.msgpack.zst", "rename noarch/repodata.json.zst"]);
});

test("killed when a replaced file was moved in: the next run of the same mirror, and index, make its record agree", async () => {
  for (const other of others) {
    const sources = written(temporary(), [other]);
    const before = await targetOf([old, b]);
    const once = (target: string): MirrorOptions => ({ sources, target, onConflict: "replace" });
    const twinOf = (channel: string) => copyChannel(channel, join(temporary(), "channel"));
    const changes = await killedAt(once(twinOf(before)), 0);
    const listed = changes.indexOf("rename noarch/repodata.json") + 1;
    // Before the last index file has its name, and before the one that clients ask for first has.
    for (const at of [listed, changes.indexOf("rename noarch/repodata_shards.msgpack.zst") + 1]) {
      const killed = twinOf(before);
      await killedAt(once(killed), at);
      assert.deepEqual([sha256Of(join(killed, "noarch", old.fileName)), promised(killed)], [other.sha256, old.sha256]);
      const mirrored = twinOf(killed);
      assert.equal((await mirror({ ...once(mirrored), env: {} })).exitCode, 0);
      // Without the notes that lie beside the channel too.
      const [indexed, bare] = [twinOf(killed), twinOf(killed)];
      rmSync(join(bare, ".meso-forge-mirror"), { recursive: true });
      for (const channel of [indexed, bare])
        assert.equal((await indexChannel({ channel, env: {}, threads: 1 })).exitCode, 0);
      for (const channel of [mirrored, indexed, bare]) {
        assert.equal(sha256Of(join(channel, "noarch", old.fileName)), other.sha256);
        assert.equal(promised(channel), other.sha256);
      }
    }
  }
});
