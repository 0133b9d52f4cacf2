import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { mirror, type PruneEvent } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { channelOf } from "./support/channels.ts";
import { cliRun } from "./support/cli.ts";
import { listed, temporary } from "./support/folders.ts";
import { needs, python } from "./support/needs.ts";
import { ago, linux, NOW, names, pruneAt } from "./support/pruned.ts";
import { installed } from "./support/rattler.ts";
import { copyChannel } from "./support/twin.ts";

const rattler = needs(python, "py-rattler, to solve and install");

/** Packages of which one needs an old version of another. */
const appOld = buildConda({
  name: "app",
  version: "1.0",
  ...linux,
  depends: ["core <2", "python >=3"],
  index: ago(50),
});
const app = buildConda({ name: "app", version: "2.0", ...linux, depends: ["core <2", "data"], index: ago(5) });
const core1 = buildConda({ name: "core", version: "1.0", ...linux, depends: ["base"], index: ago(400) });
const core2 = buildConda({ name: "core", version: "2.0", ...linux, index: ago(3) });
const base = buildConda({ name: "base", version: "1.0", index: ago(400) });
const data1 = buildConda({ name: "data", version: "1.0", index: ago(400) });
const data2 = buildConda({ name: "data", version: "2.0", index: ago(300) });
const stack = [appOld, app, core1, core2, base, data1, data2];
const listing = (channel: string) => [...listed(channel, "noarch"), ...listed(channel, "linux-64")].sort();

test("what the packages need that stay goes with the rest, and stays with --with-deps", rattler, async () => {
  const channel = await channelOf(stack);
  const twin = copyChannel(channel, join(temporary(), "channel"));
  // app 2.0 loses core 1.0. What nothing here ever did for, such as python, is not lost.
  assert.equal((await pruneAt(NOW, { channel, latest: 1, dryRun: true })).losing, 1);
  assert.equal((await pruneAt(NOW, { channel, exclude: ["app 2.*", "core >=2", "data"], dryRun: true })).losing, 0);
  assert.equal(
    (await pruneAt(NOW, { channel, exclude: ["base"], dryRun: true })).losing,
    1,
    "one that needs a noarch one",
  );
  const some = { exclude: ["base", "core <2"], subdirs: ["noarch"], dryRun: true };
  assert.equal((await pruneAt(NOW, { channel, ...some })).losing, 1, "core, which is not looked at, stays");
  const { out } = await cliRun(["prune", channel, "--latest", "1", "--dry-run"]);
  assert.match(out, /\n1 package that would stay loses a dependency; --with-deps keeps what they need\nplan: /);
  await pruneAt(NOW, { channel, latest: 1 });
  assert.deepEqual(listing(channel), names(app, core2, base, data2));
  await pruneAt(NOW, { channel: twin, latest: 1, withDeps: true });
  assert.deepEqual(listing(twin), names(app, core1, core2, base, data2));
  await assert.rejects(installed(channel, "json", "app"));
  assert.equal((await installed(twin, "shards", "app")).packages.length, 4);
  // Old packages that a young one needs are no less needed for that; what is excluded is.
  const since = await channelOf(stack);
  await pruneAt(NOW, { channel: since, since: "2026-01-20", withDeps: true, exclude: ["base"], maxDelete: "100%" });
  assert.deepEqual(listing(since), names(app, core1, core2, data2));
  await assert.rejects(pruneAt(NOW, { channel, withDeps: true }), { code: "BAD_FLAG" });
});

test("with --with-deps what a package needs of other channels keeps nothing from being found here", async () => {
  const old = buildConda({ name: "lone", version: "1.0", ...linux, depends: ["core <2", "data >=3"] });
  const channel = await channelOf([...stack, old]);
  const told: string[] = [];
  const onEvent = (e: PruneEvent) => void (e.type === "warning" && told.push(e.message));
  // Nothing here has python; data here is too old.
  await pruneAt(NOW, { channel, include: ["app 1.*", "lone"], withDeps: true, onEvent });
  assert.deepEqual(listing(channel), names(appOld, old, core1, base));
  assert.deepEqual(told, [
    `what these need that stay does not go together in this channel, so that of each dependency the best one stays: linux-64/${old.fileName}`,
  ]);
});

test("with --with-deps packages in subdirs that are not looked at keep what they need", async () => {
  const channel = await channelOf(stack);
  await pruneAt(NOW, { channel, exclude: ["data"], subdirs: ["noarch"], withDeps: true });
  assert.deepEqual(listing(channel), names(appOld, app, core1, core2, base), "what is excluded goes");
  const other = await channelOf(stack);
  await pruneAt(NOW, { channel: other, include: ["none"], subdirs: ["noarch"], withDeps: true });
  assert.deepEqual(listing(other), names(appOld, app, core1, core2, base, data2));
});

test("with --with-deps each platform keeps what a noarch package needs there, as far as it has it", async () => {
  const noarch = buildConda({ name: "tool", depends: ["core"] });
  const lacking = buildConda({ name: "core", version: "3.0", subdir: "osx-64", depends: ["gtk >=3"] });
  const channel = await channelOf([noarch, base, core1, lacking]);
  const target = temporary();
  const rules = { include: ["tool"], withDeps: true as const };
  const source = copyChannel(channel, join(temporary(), "channel"));
  const taken = await mirror({ sources: [source], sourceType: "channel", target, env: {}, ...rules });
  assert.equal(taken.failed, 0);
  assert.deepEqual(listing(target), names(noarch, base, core1), "nothing that can't be installed comes");
  assert.deepEqual(listed(target, "osx-64"), []);
  const told: PruneEvent[] = [];
  await pruneAt(NOW, { channel, ...rules, onEvent: (e) => void (e.type === "warning" && told.push(e)) });
  assert.deepEqual(
    [...listing(channel), ...listed(channel, "osx-64")],
    [...names(noarch, base, core1), lacking.fileName],
  );
  assert.deepEqual(told, []);
});
