import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { loadVersions } from "../src/conda/version.ts";
import { mirror } from "../src/main.ts";
import { readNeed } from "../src/solve/need.ts";
import { machinesOf } from "../src/solve/virtual-packages.ts";
import { asked } from "./support/client.ts";
import { temporary } from "./support/folders.ts";
import { fixtures, needs, python } from "./support/needs.ts";
import { chooser, type Indexes, pathOf, type Question, recordsOf, solvable, specOf } from "./support/solvable.ts";

// Real records: all that lock files hold, which are closed sets of conda-forge and RoboStack, and two channels' indexes.
const there = [needs(join(fixtures, "lockfiles"), "the folder of shared fixtures"), needs(python, "py-rattler")].find(
  (n) => n.skip,
) ?? { skip: false };

const INDEXES = ["repodata/r_linux-64.json", "channels/pytorch/linux-64/repodata.json"];
const PLATFORMS = ["linux-64", "linux-aarch64", "linux-ppc64le", "osx-64", "osx-arm64", "win-64"];

/** Of the packages of a platform one in so many is asked for; ROOTS=all asks for each, which takes minutes. */
const MOST = process.env["ROOTS"] === "all" ? Number.POSITIVE_INFINITY : 120;

let channel: Indexes = {};

before(async () => {
  if (there.skip) return;
  channel = JSON.parse(await asked("rattler_lock_records.py", () => [join(fixtures, "lockfiles")])) as Indexes;
  for (const file of INDEXES) {
    const { packages, "packages.conda": conda } = JSON.parse(readFileSync(join(fixtures, file), "utf8"));
    Object.assign(channel["linux-64"]?.packages ?? {}, packages);
    Object.assign(channel["linux-64"]?.["packages.conda"] ?? {}, conda);
  }
  await leaveOutWhatNothingSatisfies(channel);
});

/** These are parts of channels: what nothing in them satisfies would leave most of their packages without any solution. */
async function leaveOutWhatNothingSatisfies(all: Indexes): Promise<void> {
  const versions = await loadVersions();
  for (const platform of PLATFORMS) {
    const records = recordsOf({ [platform]: at(all, platform), noarch: at(all, "noarch") });
    const byName = Map.groupBy(records, (r) => r.name);
    const known = new Map<string, boolean>();
    const satisfied = (text: string): boolean => {
      const need = readNeed(text, versions);
      return need.name.startsWith("__") || (byName.get(need.name)?.some((r) => need.matches(r.fields)) ?? false);
    };
    for (const record of Object.values(at(all, platform)).flatMap((map) => Object.values(map))) {
      record["depends"] = (record["depends"] as string[]).filter((text) => {
        if (!known.has(text)) known.set(text, satisfied(text));
        return known.get(text);
      });
    }
  }
}

function at(indexes: Indexes, subdir: string): Indexes[string] {
  return indexes[subdir] ?? { packages: {}, "packages.conda": {} };
}

for (const platform of PLATFORMS) {
  test(`for ${platform} rattler installs each real package from what was chosen for it, if it can install it at all`, {
    ...there,
    ...(MOST > 1000 ? { timeout: 60 * 60_000 } : {}),
  }, async (t) => {
    const ask = solvable();
    const indexes = { [platform]: at(channel, platform), noarch: at(channel, "noarch") };
    const records = recordsOf(indexes);
    const choose = await chooser(records, platform);
    // One of two formats of a build: a spec can't tell them apart.
    const builds = [...new Map(records.map((r) => [specOf(r), r])).values()];
    const every = Math.max(1, Math.floor(builds.length / MOST));
    const roots = builds.filter((_, i) => i % every === 0);
    const counts = { solved: 0, unsolved: 0, largest: 0 };
    const began = performance.now();
    for (const [m, machine] of machinesOf(platform).entries()) {
      // What the usual machine can't have is asked for on the other.
      const found = new Map(roots.map((root) => [root, choose(root, m)]));
      const asked = m === 0 ? roots : roots.filter((root) => typeof choose(root, 0) === "string");
      for (let from = 0; from < asked.length || (m === 0 && from === 0); from += 100) {
        const some = asked.slice(from, from + 100);
        const questions = some.map((root): Question => {
          const files = found.get(root);
          return { spec: specOf(root), whole: true, only: Array.isArray(files) ? files.map(pathOf) : null };
        });
        const answers = await ask(m === 0 && from === 0 ? indexes : undefined, machine, questions);
        for (const [i, { whole, only }] of answers.entries()) {
          const { spec, only: chosen } = questions[i] as Question;
          if (Array.isArray(whole)) {
            assert.ok(Array.isArray(only), `${spec}: ${JSON.stringify(only)}`);
            assert.equal(only.length, chosen?.length, `${spec}: more was chosen than is needed`);
            counts.solved++;
            counts.largest = Math.max(counts.largest, only.length);
          } else {
            assert.equal(found.get(some[i] as (typeof some)[0]), "none", `${spec}: rattler says ${whole?.error}`);
            counts.unsolved++;
          }
        }
      }
    }
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    t.diagnostic(
      `${counts.solved} of ${roots.length} solved (${records.length} records), at most ${counts.largest} packages; ${seconds} s`,
    );
    assert.ok(counts.solved > roots.length / 2, JSON.stringify(counts));
  });
}

test(
  "what a run with --with-deps takes from a channel of real records is enough for rattler on each platform",
  there,
  async (t) => {
    const source = temporary();
    for (const [subdir, maps] of Object.entries(channel)) {
      mkdirSync(join(source, subdir));
      writeFileSync(join(source, subdir, "repodata.json"), JSON.stringify({ info: { subdir }, ...maps, removed: [] }));
    }
    const include = ["numpy", "ros-humble-desktop", "r-mgcv", "torchvision", "matplotlib-base", "pip"];
    const report = await mirror({
      sources: [source],
      sourceType: "channel",
      target: temporary(),
      include,
      withDeps: true,
      dryRun: true,
      env: {},
    });
    const taken = (report.plan ?? []).map((s) => `${s.subdir}/${s.fileName}`);
    const ask = solvable();
    let solved = 0;
    for (const platform of PLATFORMS) {
      const indexes = { [platform]: at(channel, platform), noarch: at(channel, "noarch") };
      const roots = recordsOf(indexes).filter((r) => include.includes(r.name));
      const questions = roots.map((root): Question => ({ spec: specOf(root), whole: true, only: taken }));
      const answers = await ask(indexes, machinesOf(platform)[0] ?? [], questions);
      for (const [i, { whole, only }] of answers.entries()) {
        assert.ok(taken.includes(pathOf(roots[i] as (typeof roots)[0])));
        assert.equal(
          Array.isArray(only),
          Array.isArray(whole),
          `${questions[i]?.spec} for ${platform}: ${JSON.stringify(only)}`,
        );
        if (Array.isArray(only)) solved++;
      }
    }
    const all = recordsOf(channel).length;
    t.diagnostic(`${solved} solved with ${taken.length} of ${all} packages`);
    assert.ok(solved > 50 && taken.length < all / 3, `${solved} solved with ${taken.length} of ${all} packages`);
  },
);
