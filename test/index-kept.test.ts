import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { mirror } from "../src/main.ts";
import { channelOf } from "./support/channels.ts";
import { listed, repodata, temporary, written } from "./support/folders.ts";
import { index, warnings } from "./support/index-once.ts";
import { a1, a2, DAY, NOW, pruneAt } from "./support/pruned.ts";

/** A channel of two packages, whose older one's record went and whose file stays; in each way in which that happens. */
const WAYS = {
  "prune --keep-removed": async () => {
    const channel = await channelOf([a1, a2]);
    await pruneAt(NOW, { channel, latest: 1, keepRemoved: true });
    return channel;
  },
  "mirror --delete --keep-removed": async () => {
    const [source, channel] = [await channelOf([a1, a2]), temporary()];
    const followed = { sources: [source], sourceType: "channel", target: channel, env: {} } as const;
    await mirror(followed);
    rmSync(join(source, "noarch", a1.fileName));
    await index(source);
    const from = repodata(source, "noarch");
    writeFileSync(join(source, "noarch/repodata.json"), JSON.stringify({ ...from, removed: [] }));
    for (const name of ["repodata.json.zst", "repodata_shards.msgpack.zst"]) rmSync(join(source, "noarch", name));
    await mirror({ ...followed, delete: true, keepRemoved: true, maxDelete: "100%" });
    return channel;
  },
  "mirror of a channel that took it back": async () => {
    const [source, channel] = [await channelOf([a1, a2]), temporary()];
    await mirror({ sources: [source], sourceType: "channel", target: channel, env: {} });
    rmSync(join(source, "noarch", a1.fileName));
    await index(source);
    await mirror({ sources: [source], sourceType: "channel", target: channel, env: {} });
    return channel;
  },
};

for (const [way, made] of Object.entries(WAYS)) {
  test(`after ${way} index leaves the file alone, and takes it in when it is put there anew`, async () => {
    const channel = await made();
    const file = join(channel, "noarch", a1.fileName);
    assert.ok(existsSync(file));
    for (let i = 0; i < 3; i++) {
      await index(channel);
      assert.deepEqual(listed(channel, "noarch"), [a2.fileName]);
      assert.deepEqual(repodata(channel, "noarch").removed, [a1.fileName]);
      assert.match(warnings.join("\n"), /^noarch: 1 package was taken out of the index and stays as a file;/);
    }
    writeFileSync(file, a1.bytes);
    utimesSync(file, 2_000_000_000, 2_000_000_000);
    await index(channel);
    assert.deepEqual(listed(channel, "noarch"), [a1.fileName, a2.fileName]);
    assert.deepEqual([repodata(channel, "noarch").removed, warnings], [[], []]);
  });
}

test("a file that stays is taken in again by mirror, and where the notes on it are lost", async () => {
  const channel = await WAYS["prune --keep-removed"]();
  const source = temporary();
  written(source, [a1]);
  await mirror({ sources: [source], target: channel, env: {} });
  assert.deepEqual(listed(channel, "noarch"), [a1.fileName, a2.fileName]);
  await index(channel);
  assert.deepEqual(listed(channel, "noarch"), [a1.fileName, a2.fileName]);
  await pruneAt(NOW, { channel, latest: 1, keepRemoved: true });
  rmSync(join(channel, ".meso-forge-mirror/index-state.json"));
  await index(channel);
  assert.deepEqual(listed(channel, "noarch"), [a1.fileName, a2.fileName]);
});

test("a package that is put anew where one waits to be removed is indexed, and does not go with the end of that one's grace period", async () => {
  const channel = await channelOf([a1, a2]);
  const file = join(channel, "noarch", a1.fileName);
  await pruneAt(NOW, { channel, latest: 1 });
  await index(channel);
  assert.match(warnings.join("\n"), /^noarch: 1 package was taken out of the channel and waits to be removed;/);
  writeFileSync(file, a1.bytes);
  utimesSync(file, 2_000_000_000, 2_000_000_000);
  const plan = await pruneAt(NOW + 8 * DAY, { channel, dryRun: true });
  const late = await pruneAt(NOW + 8 * DAY, { channel });
  assert.deepEqual([plan.freed.packages, late.freed.packages], [0, 0]);
  assert.deepEqual(readFileSync(file), Buffer.from(a1.bytes));
  await index(channel, { now: () => NOW + 20 * DAY });
  assert.deepEqual(listed(channel, "noarch"), [a1.fileName, a2.fileName]);
  assert.ok(existsSync(file));
});

test("notes on files that stay are believed only as far as they can be read", async () => {
  const channel = await WAYS["prune --keep-removed"]();
  const notes = join(channel, ".meso-forge-mirror/index-state.json");
  const state = JSON.parse(readFileSync(notes, "utf8"));
  assert.equal(state.noarch.kept.names.length, 1);
  for (const kept of [null, [], { names: [1], looks: "12345678" }, { names: [a1.fileName], looks: "" }]) {
    mkdirSync(join(channel, ".meso-forge-mirror"), { recursive: true });
    writeFileSync(notes, JSON.stringify({ noarch: { ...state.noarch, kept } }));
    await index(channel);
    assert.deepEqual(listed(channel, "noarch"), [a1.fileName, a2.fileName], JSON.stringify(kept));
    await pruneAt(NOW, { channel, latest: 1, keepRemoved: true });
  }
});

test("of thousands of records that go at once the files that are there are known, and only they are removed", async () => {
  const channel = await channelOf([a1, a2]);
  const path = join(channel, "noarch/repodata.json");
  const found = repodata(channel, "noarch");
  const record = found["packages.conda"][a1.fileName];
  const many = Array.from({ length: 6000 }, (_, i) => [
    `many-${i}-0.conda`,
    { ...record, name: "many", version: `${i}` },
  ]);
  const all = { ...found, "packages.conda": { ...found["packages.conda"], ...Object.fromEntries(many) } };
  writeFileSync(path, JSON.stringify(all));
  for (const [i, bytes] of [
    [1, "first"],
    [2, "second"],
  ] as const)
    writeFileSync(join(channel, `noarch/many-${i}-0.conda`), bytes);
  const report = await pruneAt(NOW, { channel, exclude: ["many"] });
  assert.equal(report.removed, 6000);
  // Put there anew since.
  writeFileSync(join(channel, "noarch/many-2-0.conda"), "another");
  writeFileSync(join(channel, "noarch/many-3-0.conda"), "not there before");
  const late = await pruneAt(NOW + 8 * DAY, { channel });
  assert.equal(late.freed.packages, 1);
  assert.deepEqual(
    [1, 2, 3].map((i) => existsSync(join(channel, `noarch/many-${i}-0.conda`))),
    [false, true, true],
  );
});
