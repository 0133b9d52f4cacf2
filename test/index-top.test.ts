import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { buildConda } from "./packages/builder.ts";
import { channelOf } from "./support/channels.ts";
import { listed, repodata, written } from "./support/folders.ts";
import { index, warnings } from "./support/index-once.ts";
import { DAY, NOW, pruneAt } from "./support/pruned.ts";

const a = buildConda({ name: "a" });
const b = buildConda({ name: "b", version: "1" });
const b2 = buildConda({ name: "b", version: "2" });
const c = buildConda({ name: "c", subdir: "linux-64" });

const off = { settings: { write_channeldata: false, write_html: false } };

test("channeldata.json and pages that are switched off go when the index that they tell of changes, and not before", async () => {
  const channel = await channelOf([a, b, c]);
  const there = () =>
    ["channeldata.json", "index.html", "linux-64/index.html", "noarch/index.html"].filter((f) =>
      existsSync(join(channel, f)),
    );
  await index(channel, off);
  assert.equal(there().length, 4);
  rmSync(join(channel, "noarch", a.fileName));
  await index(channel, off);
  assert.deepEqual(there(), ["linux-64/index.html"], "that one tells of what is there");
  assert.equal(warnings.length, 3, warnings.join("\n"));
  await index(channel);
  assert.equal(there().length, 4);
});

test("a page that somebody made by hand is not written over, nor removed", async () => {
  const channel = await channelOf([a, b, c]);
  const [mine, path] = ["<h1>Our portal</h1>", join(channel, "index.html")];
  writeFileSync(path, mine);
  writeFileSync(join(channel, "noarch/index.html"), mine);
  rmSync(join(channel, "noarch", a.fileName));
  await index(channel);
  assert.match(warnings.join("\n"), /^noarch\/index\.html is none of our pages .*\nindex\.html is none of our pages /);
  rmSync(join(channel, "noarch", b.fileName));
  await index(channel, off);
  written(join(channel, "noarch"), [b, b2]);
  await index(channel);
  await pruneAt(NOW, { channel, latest: 1 });
  assert.deepEqual(listed(channel, "noarch"), [b2.fileName]);
  assert.deepEqual(
    [readFileSync(path, "utf8"), readFileSync(join(channel, "noarch/index.html"), "utf8")],
    [mine, mine],
  );
  rmSync(path);
  await index(channel, { now: () => NOW + DAY });
  assert.match(readFileSync(path, "utf8"), /^<!DOCTYPE html>[\s\S]*linux-64/);
});

test("it is told when channeldata.json can't tell of all that is listed, and what is gone leaves it", async () => {
  const channel = await channelOf([a, b]);
  await index(channel, { settings: { base_url: "https://pool.example" } });
  assert.deepEqual(warnings, []);
  const path = join(channel, "noarch/repodata.json");
  const found = repodata(channel, "noarch");
  const { [a.fileName]: gone, ...left } = found["packages.conda"];
  const far = { "far-1.0-0.conda": { ...gone, name: "far" } };
  writeFileSync(path, JSON.stringify({ ...found, "packages.conda": { ...left, ...far } }));
  rmSync(join(channel, "noarch", a.fileName));
  await index(channel);
  assert.match(
    warnings.join("\n"),
    /^channeldata\.json is not brought up to date, but for what is gone: .* 1 were not read /,
  );
  const { packages } = JSON.parse(readFileSync(join(channel, "channeldata.json"), "utf8"));
  assert.deepEqual(Object.keys(packages), ["b"]);
});
