import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { temporary } from "../../test/support/folders.ts";
import { needs } from "../../test/support/needs.ts";
import { InterruptedError } from "../errors.ts";
import { HELPERS, takeFlock } from "./flock.ts";

const never = new AbortController().signal;
const { env } = process;
/** Whether flock(1), another program, can have the lock at this moment. */
const isFree = (path: string) => spawnSync("flock", ["-n", path, "true"]).status === 0;
const flock1 = needs("/usr/bin/flock", "flock(1)");

for (const helper of HELPERS) {
  test(`a lock taken with ${helper[0]} keeps other programs out until it is given back`, flock1, async (t) => {
    if (spawnSync(helper[0], ["--version"]).error) return t.skip(`${helper[0]} is not here`);
    const path = join(temporary(), "lock");
    const held = await takeFlock(path, never, env, undefined, [helper]);
    assert.ok(held);
    assert.equal(isFree(path), false);
    held.release();
    assert.equal(isFree(path), true);
  });
}

test("whoever waits is told so, gets the lock when it is free, or gives up when interrupted", flock1, async () => {
  const path = join(temporary(), "lock");
  const other = spawn("flock", [path, "cat"], { stdio: ["pipe", "pipe", "ignore"] });
  other.stdin.write("held\n");
  await new Promise((resolve) => other.stdout.once("data", resolve));
  const stop = new AbortController();
  await assert.rejects(
    takeFlock(path, stop.signal, env, () => stop.abort()),
    InterruptedError,
  );
  let told = 0;
  const held = await takeFlock(path, never, env, () => {
    told++;
    other.stdin.end();
  });
  assert.equal(told, 1);
  assert.ok(held);
  held.release();
});

test("without a helper there is no lock, and no error", async () => {
  const path = join(temporary(), "lock");
  assert.equal(await takeFlock(path, never, env, undefined, [["no-such-program"], ["false"]]), undefined);
});

test("a lock is gone the moment its holder is killed", flock1, async () => {
  const path = join(temporary(), "lock");
  const script = `
    import { takeFlock } from ${JSON.stringify(new URL("./flock.ts", import.meta.url).href)};
    await takeFlock(${JSON.stringify(path)}, new AbortController().signal, process.env);
    process.stdout.write("held");
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  assert.equal(isFree(path), false);
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
  assert.equal(isFree(path), true);
});
