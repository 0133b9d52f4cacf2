import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { hash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { indexChannel } from "../src/index-channel.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { temporary } from "./support/folders.ts";
import { gistOf } from "./support/index-gist.ts";
import { copyChannel, stateOf } from "./support/twin.ts";

const dyingIndex = new URL("support/dying-index.ts", import.meta.url).pathname;
const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;

/** At every so many moments a process really dies, which shows that the channels that others keep are those that it leaves. */
const KILLED_EVERY = 7;

type Packages = ReadonlyMap<string, BuiltPackage>;

function index(channel: string) {
  return indexChannel({ channel, env: {}, threads: 1 });
}

function packages(...all: readonly (readonly [subdir: string, p: BuiltPackage])[]): Packages {
  return new Map(all.map(([subdir, p]) => [`${subdir}/${p.fileName}`, p]));
}

/** Makes a channel's packages those given: changed ones become new files, as programs that copy write them. */
function lay(channel: string, now: Packages, before: Packages = new Map()): void {
  for (const path of before.keys()) if (now.get(path) !== before.get(path)) rmSync(join(channel, path));
  for (const [path, p] of now) {
    if (before.get(path) === p) continue;
    mkdirSync(dirname(join(channel, path)), { recursive: true });
    writeFileSync(join(channel, path), p.bytes);
  }
}

/** A new channel. They all have one name, which stands on their pages. */
function newChannel(): string {
  const channel = join(temporary(), "channel");
  mkdirSync(channel);
  return channel;
}

function twin(channel: string): string {
  return copyChannel(channel, newChannel());
}

/** What a channel of these packages is when it is indexed from nothing. */
async function fromNothing(now: Packages): Promise<Map<string, string>> {
  const channel = newChannel();
  lay(channel, now);
  await index(channel);
  return gistOf(channel);
}

/** What a channel is once all that lies there is in its index, and nothing of what the index had has gone. */
function between(now: Packages, before: Packages): Promise<Map<string, string>> {
  return fromNothing(new Map([...before, ...now]));
}

/** Whether an index lists a package: after runs that were killed, it may be one that went long ago. */
function isListed(gist: ReadonlyMap<string, string>, subdir: string, { fileName, sha256 }: BuiltPackage): boolean {
  const { packages = {}, "packages.conda": conda = {} } = JSON.parse(gist.get(`${subdir}/repodata.json`) ?? "{}");
  return { ...packages, ...conda }[fileName]?.sha256 === sha256;
}

/** Whatever a client sees is of the time before, after or between, and what the new index lists is there. */
function whole(
  channel: string,
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
  middle: ReadonlyMap<string, string>,
): void {
  const seen = gistOf(channel);
  for (const place of new Set([...seen.keys(), ...before.keys(), ...after.keys()])) {
    const now = seen.get(place);
    assert.ok(
      [before, middle, after].some((state) => now === state.get(place)),
      `${place} is neither old nor new: ${now}`,
    );
  }
  for (const [place, text] of seen) {
    if (!place.endsWith("/repodata.json") || text !== after.get(place)) continue;
    const { packages, "packages.conda": conda } = JSON.parse(text) as Record<
      string,
      Record<string, { sha256: string }>
    >;
    for (const [fileName, { sha256 }] of Object.entries({ ...packages, ...conda }))
      assert.equal(hash("sha256", readFileSync(join(channel, dirname(place), fileName)), "hex"), sha256, fileName);
  }
}

/** A run that nobody kills puts everything right, and then there is nothing left to do. */
async function repaired(channel: string, after: ReadonlyMap<string, string>): Promise<void> {
  assert.equal((await index(channel)).exitCode, 0);
  assert.deepEqual(Object.fromEntries(gistOf(channel)), Object.fromEntries(after));
  const { read, removed, written } = await index(channel);
  assert.deepEqual([read, removed, written], [0, 0, []]);
}

function run(args: readonly string[], killAfterMs?: number): Promise<{ signal: string | null; stdout: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (d) => (stdout += d));
    child.stderr.on("data", (d) => (stderr += d));
    const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfterMs);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      if (code === 0 || signal === "SIGKILL") resolve({ signal, stdout });
      else reject(new Error(stderr));
    });
  });
}

/**
 * Has a run keep the channel as it would leave it if it were killed at each of its changes of the disk, kills others for good
 * at some of them, and has each of the channels that are left repaired.
 */
async function everyMoment(
  channel: string,
  after: ReadonlyMap<string, string>,
  middle: ReadonlyMap<string, string> = after,
): Promise<string[]> {
  const before = gistOf(channel);
  const seen = new Set<string>();
  const folder = temporary();
  const changes = JSON.parse((await run([dyingIndex, twin(channel), folder])).stdout) as string[];
  const check = async (dead: string, how: string) => {
    try {
      whole(dead, before, after, middle);
      // What is left of a temporary file makes no difference to the next run.
      const left = stateOf(dead);
      if (!seen.has(left)) await repaired(dead, after);
      seen.add(left);
    } catch (e) {
      throw new Error(`${how}: ${(e as Error).message}`, { cause: e });
    }
    rmSync(dead, { recursive: true });
  };
  for (const [i, change] of changes.entries())
    await check(join(folder, String(i + 1), "channel"), `as it was before change ${i + 1}, ${change}`);
  for (let moment = 1; moment <= changes.length; moment += KILLED_EVERY) {
    const dead = twin(channel);
    assert.equal((await run([dyingIndex, dead, String(moment)])).signal, "SIGKILL");
    await check(dead, `killed before change ${moment}, ${changes[moment - 1]}`);
  }
  return changes;
}

const v3 = { schema_version: 3, extra_depends: { more: ["a"] } };
const a = buildConda({ name: "a", runExports: { weak: ["a >=1"] } });
const b = buildConda({ name: "b" });
const d = buildConda({ name: "d", subdir: "linux-64" });
const one = packages(["noarch", a]);
const two = packages(["noarch", a], ["noarch", b]);
const first = packages(
  ["noarch", a],
  ["noarch", b],
  ["linux-64", buildTarBz2({ name: "c", subdir: "linux-64" })],
  ["linux-64", d],
);
const second = packages(
  ["noarch", buildConda({ name: "a", depends: ["b"] })],
  ["noarch", buildConda({ name: "e", runExports: ["e"] })],
  ["linux-64", buildTarBz2({ name: "c", subdir: "linux-64", version: "2.0" })],
  ["linux-64", d],
  ["linux-64", buildConda({ name: "f", subdir: "linux-64", index: v3 })],
);

/** The changes by which the phases of a run are told: databases, then the index files in their order. */
function covers(changes: readonly string[], order: readonly string[]): void {
  const places = order.map((file) => changes.findIndex((c) => /^(rename|link|open)/.test(c) && c.endsWith(file)));
  assert.ok(!places.includes(-1), `${order[places.indexOf(-1)]} is among ${changes.join(", ")}`);
  assert.deepEqual(
    places,
    [...places].sort((x, y) => x - y),
    changes.join(", "),
  );
  for (const phase of ["BEGIN EXCLUSIVE", "write half a file", "run row", "exec COMMIT", "exit"])
    assert.ok(
      changes.some((c) => c.includes(phase)),
      phase,
    );
}

const [JSON_, ZST] = ["noarch/repodata.json", "noarch/repodata.json.zst"];
const SHARDS = ["noarch/shards/HASH.msgpack.zst", "noarch/repodata_shards.msgpack.zst"];
const LAST = [
  "noarch/current_repodata.json",
  "index-state.json",
  "channeldata.json",
  "noarch/index.html",
  "rename index.html",
];

test("killed at each of its 60 and more moments of indexing a new channel, clients see nothing half done, and the next run repairs it", async () => {
  const channel = newChannel();
  lay(channel, one);
  const changes = await everyMoment(channel, await fromNothing(one));
  assert.ok(changes.length >= 60, `${changes.length} moments`);
  covers(changes, ["noarch/run_exports.json", ZST, JSON_, ...SHARDS, ...LAST]);
});

test("killed at each of its 100 and more moments after packages came, changed and went, clients see the old or the new state, and the next run repairs it", async () => {
  const channel = newChannel();
  lay(channel, first);
  await index(channel);
  lay(channel, second, first);
  const changes = await everyMoment(channel, await fromNothing(second), await between(second, first));
  assert.ok(changes.length >= 100, `${changes.length} moments`);
  covers(changes, ["noarch/run_exports.json", ...SHARDS, ZST, JSON_, ...LAST]);
});

test("killed at each of its 50 and more moments after packages went, none that is gone stays in the index", async () => {
  const channel = newChannel();
  lay(channel, two);
  await index(channel);
  lay(channel, one, two);
  const changes = await everyMoment(channel, await fromNothing(one));
  assert.ok(changes.length >= 50, `${changes.length} moments`);
});

test("killed 24 times at random moments while packages come, change and go, clients see the old or the new state each time", async () => {
  let seed = 20260101;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return ((seed >>> 8) * below) >>> 24;
  };
  const versions = ["1.0", "2.0"].flatMap((version) =>
    ["x", "y"].flatMap((depends) =>
      ["a", "b", "c", "d"].flatMap((name) =>
        ["noarch", "linux-64"].map(
          (subdir) => [subdir, buildConda({ name, version, depends: [depends], subdir })] as const,
        ),
      ),
    ),
  );
  const channel = newChannel();
  let now: Packages = new Map();
  const args = [cli, "index", channel, "-q", "--threads", "1"];
  const began = performance.now();
  await run([...args.slice(0, 2), temporary(), ...args.slice(3)]);
  let duration = 2 * (performance.now() - began);
  let killed = 0;
  for (let round = 1; round <= 24; round++) {
    const next = new Map(now);
    for (let i = 0; i <= random(3); i++) {
      const [subdir, p] = versions[random(versions.length)] as (typeof versions)[number];
      const path = `${subdir}/${p.fileName}`;
      if (next.get(path) === p) next.delete(path);
      else next.set(path, p);
    }
    const before = gistOf(channel);
    lay(channel, next, now);
    now = next;
    const after = await fromNothing(now);
    const middle = await between(now, packages(...versions.filter(([subdir, p]) => isListed(before, subdir, p))));
    const started = performance.now();
    const { signal } = await run(args, (random(1500) * duration) / 1000);
    if (signal === "SIGKILL") killed++;
    else duration = performance.now() - started;
    whole(channel, before, after, middle);
    if (round % 8 === 0) await repaired(channel, after);
  }
  assert.ok(killed >= 6, `${killed} of 24 runs were killed before they were done`);
});
