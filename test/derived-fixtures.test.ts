import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { test } from "node:test";
import { formatOf } from "../src/conda/file-name.ts";
import { parseMatchSpec } from "../src/conda/match-spec.ts";
import { NO_RUN_EXPORTS, normaliseRunExports } from "../src/conda/run-exports.ts";
import { loadVersions } from "../src/conda/version.ts";
import { versionParts } from "../src/conda/version-prefix.ts";
import { channeldata } from "../src/index/channeldata.ts";
import { currentRepodata, recordsByName } from "../src/index/current-repodata.ts";
import { type PackageFacts, packageFacts } from "../src/index/package-facts.ts";
import { parsePatch, patchRepodata } from "../src/index/patch.ts";
import { eachRecord, readRepodata } from "../src/index/repodata.ts";
import { mergeRunExports } from "../src/index/run-exports.ts";
import { readPatchPackage } from "../src/package/patch-package.ts";
import { type InfoMember, RECIPE_BEYOND_INFO, readPackage } from "../src/package/read.ts";
import { readAtBuffer } from "../src/package/read-at.ts";
import { fixtures, needs } from "./support/needs.ts";

// What is derived from records, against the shared fixtures: real data and the answers of rattler and conda-index.
const there = needs(join(fixtures, "expected"), "the folder of shared fixtures");

type Records = Record<string, Record<string, unknown>>;

function json<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(fixtures, ...path), "utf8")) as T;
}

function recordsOf(...path: string[]): Records {
  const index = json<{ packages: Records; "packages.conda": Records }>(...path);
  return { ...index.packages, ...index["packages.conda"] };
}

const SUBDIRS = ["linux-64", "noarch", "osx-64", "win-32", "win-64"];

/** The subdir that conda-index put each fixture package into. */
function subdirsOfPackages(): Map<string, string> {
  const subdirs = new Map<string, string>();
  for (const subdir of SUBDIRS)
    for (const fileName of Object.keys(recordsOf("expected/conda-index", subdir, "repodata.json")))
      subdirs.set(fileName, subdir);
  return subdirs;
}

interface FixturePackage {
  readonly fileName: string;
  readonly subdir: string;
  readonly members: ReadonlyMap<InfoMember, Uint8Array>;
}

/** Every package that conda-index indexed, with members of its info. */
async function* packages(wanted: readonly InfoMember[]): AsyncGenerator<FixturePackage> {
  const subdirs = subdirsOfPackages();
  for (const folder of ["packages", "index-data", "index-hotfix", "channels/zlib-both-formats"]) {
    for (const path of readdirSync(join(fixtures, folder), { recursive: true, encoding: "utf8" })) {
      const fileName = basename(path);
      // The same file names stand in win-32 and win-64; loose packages lie in no subdir.
      const folderName = basename(dirname(path));
      const subdir = SUBDIRS.includes(folderName) ? folderName : subdirs.get(fileName);
      if (subdir === undefined || formatOf(fileName) === undefined) continue;
      const bytes = readFileSync(join(fixtures, folder, path));
      yield {
        fileName,
        subdir,
        members: (await readPackage(fileName, readAtBuffer(bytes), wanted, RECIPE_BEYOND_INFO)).members,
      };
    }
  }
}

test("run_exports.json of every fixture channel is the one that conda-index makes", there, async () => {
  const bySubdir = new Map<string, Map<string, Uint8Array>>(SUBDIRS.map((subdir) => [subdir, new Map()]));
  for await (const { fileName, subdir, members } of packages(["info/run_exports.json"])) {
    const { runExports, problems } = normaliseRunExports(members.get("info/run_exports.json"));
    assert.deepEqual(problems, []);
    bySubdir.get(subdir)?.set(fileName, runExports);
  }
  for (const [subdir, add] of bySubdir) {
    const made = JSON.parse(Buffer.from(mergeRunExports(undefined, subdir, add, new Set())).toString()) as unknown;
    assert.deepEqual(made, json("expected/conda-index", subdir, "run_exports.json"), subdir);
  }
});

for (const [folder, subdir] of [
  ...SUBDIRS.map((subdir) => ["expected/conda-index", subdir] as const),
  ["expected/hotfix", "osx-64"] as const,
]) {
  test(
    `current_repodata.json of ${folder}/${subdir} is the one that conda-index makes of the same records`,
    there,
    async () => {
      const index = readRepodata(readFileSync(join(fixtures, folder, subdir, "repodata.json")));
      const made = currentRepodata({
        records: recordsByName(index),
        top: index,
        versions: await loadVersions(),
        warn: (fileName, why) => assert.fail(`${fileName}: ${why}`),
      });
      assert.deepEqual(JSON.parse(Buffer.from(made).toString()), json(folder, subdir, "current_repodata.json"));
    },
  );
}

interface Channeldata {
  packages: Record<string, Record<string, unknown>>;
}

/** Our channeldata.json of every fixture package. */
async function ourChanneldata(): Promise<Channeldata> {
  const versions = await loadVersions();
  const all: PackageFacts[] = [];
  for await (const { fileName, subdir, members } of packages([
    "info/index.json",
    "info/about.json",
    "info/paths.json",
    "info/run_exports.json",
    "info/recipe/meta.yaml",
    "info/recipe/meta.yaml.rendered",
    "info/meta.yaml",
  ])) {
    const facts = packageFacts(
      {
        indexJson: members.get("info/index.json") as Uint8Array,
        aboutJson: members.get("info/about.json"),
        pathsJson: members.get("info/paths.json"),
        runExports: normaliseRunExports(members.get("info/run_exports.json")).runExports,
        recipe:
          members.get("info/recipe/meta.yaml") ??
          members.get("info/recipe/meta.yaml.rendered") ??
          members.get("info/meta.yaml"),
        subdir,
      },
      (why) => assert.fail(`${fileName}: ${why}`),
    );
    all.push(facts as PackageFacts);
  }
  const bytes = channeldata(all, SUBDIRS, versions);
  assert.deepEqual(
    channeldata(all.toReversed(), SUBDIRS, versions),
    bytes,
    "the order of the packages does not matter",
  );
  assert.equal(bytes.at(-1), 10);
  return JSON.parse(Buffer.from(bytes).toString()) as Channeldata;
}

/** Packages of several files, of which conda-index wrote the timestamp of the one it saw last. */
const NEWEST: Record<string, number> = {
  "clobber-2": 1707750772,
  "clobber-3": 1707750772,
  "conda-index-pkg-a": 1508520204,
  "dummy-package": 1557771563,
};

test(
  "channeldata.json is the one that conda-index makes, but for five fields that the next two tests are about",
  there,
  async () => {
    const ours = await ourChanneldata();
    const theirs = json<Channeldata>("expected/conda-index/channeldata.json");
    for (const [name, timestamp] of Object.entries(NEWEST))
      Object.assign(theirs.packages[name] as object, { timestamp });
    delete ours.packages["flask"]?.["source_url"];
    assert.deepEqual(ours, theirs);
  },
);

test(
  "the timestamp of a package is the newest of its files', as CEP 38 says (conda-index writes that of the file it sees last)",
  there,
  async () => {
    const ours = await ourChanneldata();
    for (const [name, timestamp] of Object.entries(NEWEST)) {
      assert.equal(ours.packages[name]?.["timestamp"], timestamp, name);
      const all = [...SUBDIRS].flatMap((subdir) =>
        Object.values(recordsOf("expected/conda-index", subdir, "repodata.json")).filter((r) => r["name"] === name),
      );
      assert.equal(Math.floor(Math.max(...all.map((r) => r["timestamp"] as number)) / 1000), timestamp, name);
    }
  },
);

test(
  "flask has its recipe's source_url (conda-index gives up on a recipe when any part of it is no plain YAML)",
  there,
  async () => {
    const ours = await ourChanneldata();
    assert.match(String(ours.packages["flask"]?.["source_url"]), /^https:.*\/Flask-0\.11\.1\.tar\.gz$/);
  },
);

const HOTFIX = "expected/hotfix/osx-64";

test(
  "the hotfix fixture makes of its index what conda-index makes: fields, twins, revoked and removed files",
  there,
  () => {
    const index = readRepodata(readFileSync(join(fixtures, HOTFIX, "repodata_from_packages.json")));
    const patch = parsePatch(readFileSync(join(fixtures, HOTFIX, "patch_instructions.json")));
    const { bytes: made } = patchRepodata(index, patch, (fileName, why) => assert.fail(`${fileName}: ${why}`));
    assert.deepEqual(JSON.parse(Buffer.from(made).toString()), json(HOTFIX, "repodata.json"));
  },
);

test("the current_repodata.json of a patched index is made of its patched records", there, async () => {
  const index = readRepodata(readFileSync(join(fixtures, HOTFIX, "repodata_from_packages.json")));
  const patch = parsePatch(readFileSync(join(fixtures, HOTFIX, "patch_instructions.json")));
  const patched = readRepodata(patchRepodata(index, patch).bytes);
  const made = currentRepodata({
    records: recordsByName(patched),
    top: patched,
    versions: await loadVersions(),
  });
  assert.deepEqual(JSON.parse(Buffer.from(made).toString()), json(HOTFIX, "current_repodata.json"));
});

test("the run_exports.json of a patched index has every file of the unpatched one", there, () => {
  const index = readRepodata(readFileSync(join(fixtures, HOTFIX, "repodata_from_packages.json")));
  const add = new Map([...eachRecord(index)].map(({ fileName }) => [fileName, NO_RUN_EXPORTS]));
  const made = JSON.parse(Buffer.from(mergeRunExports(undefined, "osx-64", add, new Set())).toString()) as unknown;
  assert.deepEqual(made, json(HOTFIX, "run_exports.json"));
});

test("the real package of conda-forge's patches has instructions for seven subdirs, all usable", there, async () => {
  const fileName = "conda-forge-repodata-patches-20180828-0.tar.bz2";
  const patches = await readPatchPackage(fileName, readAtBuffer(readFileSync(join(fixtures, "packages", fileName))));
  assert.deepEqual([...patches.keys()].sort(), [
    "linux-64",
    "linux-armv7l",
    "linux-ppc64le",
    "noarch",
    "osx-64",
    "win-32",
    "win-64",
  ]);
  for (const bytes of patches.values()) assert.equal(parsePatch(bytes).version, 1);
  const linux = parsePatch(patches.get("linux-64") as Uint8Array);
  assert.ok(linux.packages.size > 500 && linux.remove.includes("vaex-core-0.4.0-py27_0.tar.bz2"));
});

test("the patches of rattler's own tests do what they do there, though they have no version", there, () => {
  const folder = "channels/patch/linux-64";
  const patched = (patch: string, index = "repodata_from_packages.json") =>
    JSON.parse(
      Buffer.from(
        patchRepodata(
          readRepodata(readFileSync(join(fixtures, folder, index))),
          parsePatch(readFileSync(join(fixtures, folder, patch))),
          (fileName, why) => assert.fail(`${fileName}: ${why}`),
        ).bytes,
      ).toString(),
    ) as { packages: Records; "packages.conda": Records; removed: string[] };
  const name = "cross-python_emscripten-32-3.10.1-h60d57d3_8";
  assert.equal(patched("patch_instructions.json").packages[`${name}.tar.bz2`]?.["license"], "WOLF LICENSE");
  const two = patched("patch_instructions_2.json");
  assert.ok(!(`${name}.tar.bz2` in two.packages) && two.removed.includes(`${name}.tar.bz2`));
  assert.deepEqual(patched("patch_instructions_4.json").packages[`${name}.tar.bz2`]?.["purls"], [
    "pkg:pypi/cross-python@3.10.1",
  ]);
  const five = patched("patch_instructions_5.json", "repodata_from_packages_5.json");
  const [record] = Object.values(five["packages.conda"]);
  assert.ok(record && !("track_features" in record) && record["name"] === "pytorch-cpu");
});

test("360 specs match exactly the records that py-rattler matches, in two real indexes", there, async () => {
  const versions = await loadVersions();
  interface Case {
    spec: string;
    error?: string;
    matches: number;
    sha256: string;
    first: string[];
  }
  const expected = json<Record<string, Case[]>>("expected/matchspecs.json");
  const indexes: Record<string, Records> = {
    "r_linux-64": recordsOf("repodata/r_linux-64.json"),
    pytorch: recordsOf("channels/pytorch/linux-64/repodata.json"),
  };
  let compared = 0;
  for (const [index, cases] of Object.entries(expected)) {
    for (const { spec, error, ...want } of cases) {
      compared++;
      if (error !== undefined) {
        assert.throws(() => parseMatchSpec(spec, versions), { name: "MatchSpecError" }, spec);
        continue;
      }
      const parsed = parseMatchSpec(spec, versions);
      const found = Object.entries(indexes[index] as Records)
        .filter(([, record]) => parsed.matches(record))
        .map(([fileName]) => fileName)
        .sort();
      const got = { matches: found.length, sha256: hash("sha256", found.join("\n")), first: found.slice(0, 3) };
      assert.deepEqual(got, want, `${index}: ${spec}`);
    }
  }
  assert.equal(compared, 360);
});

test(
  "a spec that names a file matches that file alone once file names are known (rattler's bare records have none, so there it matches all)",
  there,
  async () => {
    const spec = parseMatchSpec('*[fn="*mkl*"]', await loadVersions());
    for (const [fileName, record] of Object.entries(recordsOf("repodata/r_linux-64.json"))) {
      assert.ok(spec.matches(record));
      assert.equal(spec.matches(record, { fileName }), fileName.includes("mkl"), fileName);
    }
  },
);

test("28,000 versions from the wild are all readable, and come apart as conda takes them apart", there, async () => {
  const versions = await loadVersions();
  let compared = 0;
  for (const line of readFileSync(join(fixtures, "parsed_versions.txt"), "utf8").split("\n")) {
    const [, version, parsed] = /^([^#]+?)=(\[\[.*\]\])$/.exec(line) ?? [];
    if (version === undefined || parsed === undefined) continue;
    compared++;
    assert.ok(versions.isVersion(version), version);
    // Python's spelling of lists; conda's inf is "post", its DEV "dev".
    const spelled = parsed
      .replaceAll("'", '"')
      .replace(/\binf\b/g, '"post"')
      .replaceAll("DEV", "dev")
      .replace(/\d{16,}/g, '"$&"');
    const conda = (JSON.parse(spelled) as unknown[][]).map((segment) => segment.map(String));
    const ours = versionParts(version);
    assert.deepEqual([[ours.epoch], ...ours.release], conda, version);
  }
  assert.ok(compared > 28_000, String(compared));
});
