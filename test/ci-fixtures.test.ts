import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { type BuiltPackage, built } from "./packages/builder.ts";
import { azureServer } from "./servers/azure/azure-server.ts";
import { folderServer } from "./servers/folder-server.ts";
import { githubServer } from "./servers/github/github-server.ts";
import { envOf, mirrored, smithyZip, stagedRecipesZip } from "./support/ci.ts";
import { asked } from "./support/client.ts";
import { repodata, temporary } from "./support/folders.ts";
import { fixtures, needs, python } from "./support/needs.ts";

// The whole way with real packages: a pull request's address in, packages installed by the real client out.
const check = join(fixtures, "../tools/client_check.py");
const there = [
  needs(join(fixtures, "packages"), "the folder of shared fixtures"),
  needs(check, "the shared client"),
  needs(python, "py-rattler"),
].find((n) => n.skip) ?? { skip: false };
const SHA = "5eed".padEnd(40, "1");

type Records = Record<string, { name: string; sha256: string; depends?: string[] }>;

/** It names no subdir: the indexers go by the folder that it lay in, we by the platform that it names. */
const NO_SUBDIR = "nano-2.4.1-0.tar.bz2";

/** The fixtures by the subdir that rattler found in them, with their records. */
function bySubdir(): Map<string, { packages: BuiltPackage[]; records: Records }> {
  const below = (folder: string) =>
    readdirSync(join(fixtures, folder), { recursive: true, encoding: "utf8" })
      .filter((f) => /\.(conda|tar\.bz2)$/.test(f))
      .map((f) => built(basename(f), readFileSync(join(fixtures, folder, f))));
  const files = new Map(["packages", "index-data", "index-hotfix"].flatMap(below).map((p) => [p.sha256, p]));
  const found = new Map<string, { packages: BuiltPackage[]; records: Records }>();
  for (const subdir of readdirSync(join(fixtures, "expected/rattler"))) {
    const path = join(fixtures, "expected/rattler", subdir, "repodata.json");
    if (!existsSync(path)) continue;
    const index = JSON.parse(readFileSync(path, "utf8")) as { packages: Records; "packages.conda": Records };
    const records = { ...index.packages, ...index["packages.conda"] };
    const packages = Object.entries(records)
      .filter(([f]) => f !== NO_SUBDIR)
      .flatMap(([, r]) => files.get(r.sha256) ?? []);
    if (packages.length > 0) found.set(subdir, { packages, records });
  }
  return found;
}

async function holds(target: string, all: ReturnType<typeof bySubdir>): Promise<void> {
  for (const [subdir, { packages }] of all) {
    const index = repodata(target, subdir);
    const records = { ...index.packages, ...index["packages.conda"] };
    assert.deepEqual(Object.keys(records).sort(), packages.map((p) => p.fileName).sort(), subdir);
    for (const p of packages) {
      assert.equal(records[p.fileName]?.["sha256"], p.sha256);
      assert.equal(hash("sha256", readFileSync(join(target, subdir, p.fileName))), p.sha256);
    }
  }
}

/** Has the shared client install, over HTTP, what needs nothing else, by each index format. Gives how many. */
async function installs(target: string, all: ReturnType<typeof bySubdir>): Promise<number> {
  const names = ["linux-64", "noarch"].flatMap((subdir) => {
    const { packages, records } = all.get(subdir) ?? { packages: [], records: {} };
    const alone = packages.map((p) => records[p.fileName]).filter((r) => r && (r.depends ?? []).length === 0);
    // Those that clobber each other go into no prefix together; the three list no files, which rattler asks for.
    return alone
      .map((r) => r?.name as string)
      .filter((name) => !/^clobber|^info-only$|^symlink-test$|^zip64-test$/.test(name));
  });
  const specs = [...new Set(names)];
  const url = await folderServer(target);
  const stdout = await asked(check, () => [url, "linux-64", ...specs, "--prefix", temporary()]);
  const lines = ["json", "zst", "shards"].map(
    (f) => `${f}: solved ${specs.length} packages, installed ${specs.length}`,
  );
  assert.deepEqual(stdout.trim().split("\n"), lines);
  return specs.length;
}

test("real packages from a staged-recipes pull request, built on Azure, are installed by rattler", there, async () => {
  const [github, azure] = [await githubServer(), await azureServer()];
  const repo = "conda-forge/staged-recipes";
  github.repos.add(repo);
  github.pulls.push({ repo, number: 1, sha: SHA, author: "ada" });
  const all = bySubdir();
  const artifacts = [...all].map(([subdir, { packages }]) => {
    const name = `conda_pkgs_${subdir.replace("-", "_")}`;
    return { name, type: "PipelineArtifact" as const, zip: stagedRecipesZip(name, packages) };
  });
  azure.projects.set("conda-forge/feedstock-builds", [
    {
      id: 7,
      buildNumber: "20261120.7",
      definition: { id: 2, name: "staged" },
      branch: "refs/pull/1/merge",
      commit: SHA,
      result: "succeeded",
      jobs: [],
      artifacts,
    },
  ]);
  github.checks.push({
    repo,
    id: 1,
    sha: SHA,
    name: "staged-recipes",
    app: "azure-pipelines",
    details: `${azure.url}/conda-forge/feedstock-builds/_build/results?buildId=7`,
    conclusion: "success",
  });
  const { target, report } = await mirrored(`${github.web}/${repo}/pull/1`, { env: envOf({ github, azure }) });
  assert.deepEqual([report.exitCode, report.failed], [0, 0]);
  assert.ok(report.added >= 45, String(report.added));
  await holds(target, all);
  assert.ok((await installs(target, all)) >= 5);
  assert.deepEqual(github.violations, []);
});

test(
  "real packages from a feedstock's pull request, nested by conda-smithy, are installed by rattler",
  there,
  async () => {
    const github = await githubServer();
    const repo = "conda-forge/real-feedstock";
    github.repos.add(repo);
    github.tokens.set("ghp_good", { kind: "classic", may: ["repo"] });
    github.pulls.push({ repo, number: 1, sha: SHA, author: "ada" });
    github.runs.push({ repo, id: 7, sha: SHA });
    const all = bySubdir();
    for (const [i, [subdir, { packages }]] of [...all].entries()) {
      const name = `conda_pkgs_7_${subdir.replace("-", "_")}_`;
      // Stored and deflated, as the versions of the action that uploads have done.
      const zip = smithyZip(`real-feedstock_${name}`, subdir, packages, { method: i % 2 ? 8 : 0 });
      github.artifacts.push({ repo, id: i + 1, name, run: 7, zip });
      github.checks.push({
        repo,
        id: i + 1,
        sha: SHA,
        name: `build (${subdir})`,
        app: "github-actions",
        details: `${github.web}/${repo}/actions/runs/7/job/${i}`,
        conclusion: "success",
      });
    }
    const { target, report } = await mirrored("real-feedstock#1", { env: envOf({ github }, "ghp_good") });
    assert.deepEqual([report.exitCode, report.failed], [0, 0]);
    assert.ok(report.added >= 45, String(report.added));
    await holds(target, all);
    assert.ok((await installs(target, all)) >= 5);
    assert.deepEqual(github.violations, []);
  },
);
