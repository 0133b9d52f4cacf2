import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { test } from "node:test";
import { indexChannel } from "../src/main.ts";
import { temporary, visible } from "./support/folders.ts";
import { fixtures, needs } from "./support/needs.ts";

// The whole command on the shared fixtures, against what conda-index made of the same packages.
const there = needs(join(fixtures, "expected"), "the folder of shared fixtures");
const SUBDIRS = ["linux-64", "noarch", "osx-64", "win-32", "win-64"];

type Records = Record<string, Record<string, unknown>>;
interface Index {
  packages: Records;
  "packages.conda": Records;
  [key: string]: unknown;
}

const json = (...path: string[]) => JSON.parse(readFileSync(join(...path), "utf8")) as Index;
const expected = (...path: string[]) => json(fixtures, "expected", ...path);

/** arch and platform are the package's own words, which conda-index drops and rattler keeps: we follow rattler. */
function withoutArch(index: Index): Index {
  const bare = (records: Records) =>
    Object.fromEntries(Object.entries(records).map(([f, { arch: _, platform: __, ...record }]) => [f, record]));
  return { ...index, packages: bare(index.packages), "packages.conda": bare(index["packages.conda"]) };
}

/** A record that names no subdir gets the folder's: conda-index leaves it out, and clients compare it with the folder. */
function withSubdir(index: Index, subdir: string): Index {
  const filled = (records: Records) =>
    Object.fromEntries(Object.entries(records).map(([f, record]) => [f, { subdir, ...record }]));
  return { ...index, packages: filled(index.packages), "packages.conda": filled(index["packages.conda"]) };
}

/** Every package of the fixtures in the subdir that conda-index put it into. */
function allPackages(): string {
  const channel = join(temporary(), "channel");
  const subdirOf = new Map<string, string>();
  for (const subdir of SUBDIRS) {
    mkdirSync(join(channel, subdir), { recursive: true });
    const { packages, "packages.conda": conda } = expected("conda-index", subdir, "repodata.json");
    for (const fileName of Object.keys({ ...packages, ...conda })) subdirOf.set(fileName, subdir);
  }
  for (const folder of ["packages", "index-data", "index-hotfix", "channels/zlib-both-formats"]) {
    for (const path of readdirSync(join(fixtures, folder), { recursive: true, encoding: "utf8" })) {
      const inFolder = basename(dirname(path));
      const subdir = SUBDIRS.includes(inFolder) ? inFolder : subdirOf.get(basename(path));
      if (subdir && /\.(conda|tar\.bz2)$/.test(path))
        copyFileSync(join(fixtures, folder, path), join(channel, subdir, basename(path)));
    }
  }
  return channel;
}

test(
  "a channel of every fixture package has the indexes that conda-index makes of it (but for arch, platform, a missing subdir and five fields of channeldata)",
  there,
  async () => {
    const channel = allPackages();
    const { failed, exitCode } = await indexChannel({ channel, env: {} });
    assert.deepEqual([failed, exitCode], [[], 0]);
    for (const subdir of SUBDIRS) {
      for (const file of ["repodata.json", "current_repodata.json", "run_exports.json"]) {
        const theirs = expected("conda-index", subdir, file);
        const ours = json(channel, subdir, file);
        const compared = file === "run_exports.json" ? ours : withoutArch(ours);
        const told = file === "run_exports.json" ? theirs : withSubdir(theirs, subdir);
        assert.deepEqual(compared, told, `${subdir}/${file}`);
      }
    }
    // Which fields of channeldata.json differ and why is told by test/derived-fixtures.test.ts.
    const [ours, theirs] = [json(channel, "channeldata.json"), expected("conda-index", "channeldata.json")];
    assert.deepEqual(Object.keys(ours.packages), Object.keys(theirs.packages));
    const different = Object.keys(ours.packages).flatMap((name) => {
      const [a, b] = [ours.packages[name] ?? {}, theirs.packages[name] ?? {}];
      return Object.keys({ ...a, ...b }).filter((k) => JSON.stringify(a[k]) !== JSON.stringify(b[k]));
    });
    assert.deepEqual(different.sort(), ["source_url", "timestamp", "timestamp", "timestamp", "timestamp"]);
  },
);

test("patch instructions make of the hotfix fixture what conda-index makes of it, again and again", there, async () => {
  const channel = join(temporary(), "channel");
  mkdirSync(join(channel, "osx-64"), { recursive: true });
  for (const file of readdirSync(join(fixtures, "index-hotfix/osx-64")).filter((f) => /\.(conda|tar\.bz2)$/.test(f)))
    copyFileSync(join(fixtures, "index-hotfix/osx-64", file), join(channel, "osx-64", file));
  const patch = join(fixtures, "expected/hotfix");
  await indexChannel({ channel, patch, env: {} });
  const agrees = () => {
    for (const file of ["repodata.json", "repodata_from_packages.json", "current_repodata.json", "run_exports.json"]) {
      const ours = json(channel, "osx-64", file);
      const compared = file === "run_exports.json" ? ours : withoutArch(ours);
      assert.deepEqual(compared, expected("hotfix", "osx-64", file), file);
    }
  };
  agrees();
  const before = visible(channel);
  for (const options of [{ patch }, {}]) {
    assert.deepEqual((await indexChannel({ channel, ...options, env: {} })).written, []);
    // Without its caches too: what the patch took away is not listed again though its file is there.
    rmSync(join(channel, ".meso-forge-mirror"), { recursive: true });
    assert.deepEqual((await indexChannel({ channel, ...options, env: {} })).written, []);
  }
  assert.deepEqual(visible(channel), before);
  agrees();
  assert.ok(existsSync(join(channel, "osx-64/remove_test-1.0-0.conda")));
  await assert.rejects(
    indexChannel({ channel, patch: join(channel, "noarch"), env: {} }),
    /holds no patch instructions/,
  );
});
