import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { hash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { indexChannel } from "../src/index-channel.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { SEED } from "./support/draws.ts";
import { temporary } from "./support/folders.ts";
import { cutShards, gistOf } from "./support/index-gist.ts";
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

const UNPATCHED = "repodata_from_packages.json";

function gistAndUnpatched(channel: string): Record<string, string> {
  return {
    ...Object.fromEntries(gistOf(channel)),
    [UNPATCHED]: readFileSync(join(channel, "noarch", UNPATCHED), "utf8"),
  };
}

/** Whether an index lists a package: after runs that were killed, it may be one that went long ago. */
function isListed(gist: ReadonlyMap<string, string>, subdir: string, { fileName, sha256 }: BuiltPackage): boolean {
  const { packages = {}, "packages.conda": conda = {} } = JSON.parse(gist.get(`${subdir}/repodata.json`) ?? "{}");
  return { ...packages, ...conda }[fileName]?.sha256 === sha256;
}

type Exported = Record<string, Record<string, { run_exports?: unknown }>>;

/**
 * A gist without the run exports of packages that went: a run that died may have written those of another package that had the
 * name for a while, and they are no more read from anything. They go with their record.
 */
function withoutGone(gist: ReadonlyMap<string, string>, now: Packages): Map<string, string> {
  const told = [...gist].map(([place, text]) => {
    const [subdir, name = ""] = place.split("/");
    if (name !== "run_exports.json" && !name.startsWith("shards of")) return [place, text] as const;
    const value = JSON.parse(text) as Exported;
    for (const map of ["packages", "packages.conda"])
      for (const [fileName, entry] of Object.entries(value[map] ?? {}))
        if (!now.has(`${subdir}/${fileName}`)) delete entry.run_exports;
    return [place, JSON.stringify(value)] as const;
  });
  return new Map(told);
}

/** Whatever a client sees is of the time before, after or between, and what the new index lists is there. */
function whole(
  channel: string,
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
  middle: ReadonlyMap<string, string>,
  as: (gist: ReadonlyMap<string, string>) => ReadonlyMap<string, string> = (gist) => gist,
): void {
  const seen = as(gistOf(channel));
  const states = [before, middle, after].map(as);
  for (const place of new Set([...seen.keys(), ...before.keys(), ...after.keys()])) {
    const now = seen.get(place);
    assert.ok(
      states.some((state) => now === state.get(place)),
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

/** What is to become of a channel that a killed run left, when its packages are changed once more before the next run. */
interface Turn {
  readonly from: Packages;
  readonly to: Packages;
}

/**
 * Has a run keep the channel as it would leave it if it were killed at each of its changes of the disk, kills others for good
 * at some of them, and has each of the channels that are left repaired, and one more of it after a turn.
 */
async function everyMoment(
  channel: string,
  after: ReadonlyMap<string, string>,
  { middle = after, turn }: { readonly middle?: ReadonlyMap<string, string>; readonly turn?: Turn } = {},
): Promise<string[]> {
  const before = gistOf(channel);
  const turned = turn && (await fromNothing(turn.to));
  const seen = new Set<string>();
  let cut = 0;
  const folder = temporary();
  const changes = JSON.parse((await run([dyingIndex, twin(channel), folder])).stdout) as string[];
  const check = async (dead: string, how: string) => {
    try {
      whole(dead, before, after, middle);
      // What is left of a temporary file makes no difference to the next run.
      const left = stateOf(dead);
      if (seen.has(left)) return;
      seen.add(left);
      if (cutShards(dead).length > 0) cut++;
      if (turn && turned) {
        const other = twin(dead);
        lay(other, turn.to, turn.from);
        await repaired(other, turned);
        rmSync(other, { recursive: true });
      }
      await repaired(dead, after);
      assert.deepEqual(cutShards(dead), []);
    } catch (e) {
      throw new Error(`${how}: ${(e as Error).message}`, { cause: e });
    } finally {
      rmSync(dead, { recursive: true });
    }
  };
  for (const [i, change] of changes.entries())
    await check(join(folder, String(i + 1), "channel"), `as it was before change ${i + 1}, ${change}`);
  for (let moment = 1; moment <= changes.length; moment += KILLED_EVERY) {
    const dead = twin(channel);
    assert.equal((await run([dyingIndex, dead, String(moment)])).signal, "SIGKILL");
    await check(dead, `killed before change ${moment}, ${changes[moment - 1]}`);
  }
  if (changes.some((c) => c.startsWith("open") && c.endsWith("HASH.msgpack.zst")))
    assert.ok(cut > 0, "a run died while it wrote a shard");
  return changes;
}

const v3 = { schema_version: 3, extra_depends: { more: ["a"] } };
const a = buildConda({ name: "a", runExports: { weak: ["a >=1"] } });
const b = buildConda({ name: "b" });
const d = buildConda({ name: "d", subdir: "linux-64" });
const f = buildConda({ name: "f", subdir: "linux-64", index: v3 });
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
  ["linux-64", f],
);

/** The changes by which the phases of a run are told: databases, then the index files in their order. */
function covers(changes: readonly string[], order: readonly string[]): void {
  // What is there already is noted at the very first, and what was written at the last.
  const places = order.map((file) =>
    changes[file === "index-state.json" ? "findLastIndex" : "findIndex"](
      (c) => /^(rename|link|open)/.test(c) && c.endsWith(file),
    ),
  );
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

test("killed at each of its 100 and more moments after packages came, changed and went, clients see the old or the new state, and the next run repairs it, also where all that is taken back first", async () => {
  const channel = newChannel();
  lay(channel, first);
  await index(channel);
  lay(channel, second, first);
  const middle = await between(second, first);
  const changes = await everyMoment(channel, await fromNothing(second), {
    middle,
    // An index that had a package of v3 keeps the place for it.
    turn: { from: second, to: new Map([...first, ["linux-64/f-1.0-0.conda", f]]) },
  });
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

test("what a killed run put into the index before patches goes with its package", async () => {
  const patch = temporary();
  mkdirSync(join(patch, "noarch"));
  const instructions = { patch_instructions_version: 1, packages: {}, "packages.conda": {}, remove: [], revoke: [] };
  writeFileSync(join(patch, "noarch/patch_instructions.json"), JSON.stringify(instructions));
  const patched = (channel: string) => indexChannel({ channel, patch, env: {}, threads: 1 });
  const channel = newChannel();
  lay(channel, one);
  await patched(channel);
  const before = gistAndUnpatched(channel);
  const further = twin(channel);
  lay(further, two, one);
  await patched(further);
  // A run that has written this file, and dies, has written no other but run_exports.json.
  for (const name of [UNPATCHED, "run_exports.json"]) {
    rmSync(join(channel, "noarch", name));
    copyFileSync(join(further, "noarch", name), join(channel, "noarch", name));
  }
  assert.match(readFileSync(join(channel, "noarch", UNPATCHED), "utf8"), /b-1\.0-0\.conda/);
  await patched(channel);
  assert.deepEqual(gistAndUnpatched(channel), before);
});

test("killed 24 times at random moments while packages come, change and go, clients see the old or the new state each time", async () => {
  let seed = SEED;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const versions = ["1.0", "2.0"].flatMap((version) =>
    ["x", "y"].flatMap((depends) =>
      ["a", "b", "c", "d"].flatMap((name) =>
        ["noarch", "linux-64"].map(
          (subdir) =>
            [subdir, buildConda({ name, version, depends: [depends], subdir, runExports: [depends] })] as const,
        ),
      ),
    ),
  );
  const channel = newChannel();
  // Every subdir has some package at any time.
  let now = packages(
    ["noarch", buildConda({ name: "always" })],
    ["linux-64", buildConda({ name: "always", subdir: "linux-64" })],
  );
  lay(channel, now);
  const args = [cli, "index", channel, "-q", "--threads", "1"];
  const began = performance.now();
  await run([...args.slice(0, 2), temporary(), ...args.slice(3)]);
  let duration = performance.now() - began;
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
    const { signal } = await run(args, (random(1300) * duration) / 1000);
    if (signal === "SIGKILL") killed++;
    else duration = performance.now() - started;
    whole(channel, before, after, middle, (gist) => withoutGone(gist, now));
    if (round % 8 === 0) await repaired(channel, after);
  }
  assert.ok(killed >= 6, `${killed} of 24 runs were killed before they were done`);
});
