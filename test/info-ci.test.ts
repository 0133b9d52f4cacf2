import assert from "node:assert/strict";
import { test } from "node:test";
import { info } from "../src/info.ts";
import { buildConda } from "./packages/builder.ts";
import { type AzureServer, azureServer } from "./servers/azure/azure-server.ts";
import { type GitHubServer, githubServer } from "./servers/github/github-server.ts";
import { envOf, stagedRecipesZip } from "./support/ci.ts";
import { cliRun } from "./support/cli.ts";
import { temporary } from "./support/folders.ts";

const REPO = "conda-forge/tool-feedstock";
const PROJECT = "conda-forge/feedstock-builds";
const SHA = "5eed".padEnd(40, "1");

async function world(): Promise<{ github: GitHubServer; azure: AzureServer; env: NodeJS.ProcessEnv }> {
  const [github, azure] = [await githubServer(), await azureServer()];
  github.repos.add(REPO);
  github.tokens.set("ghp_good", { kind: "classic", may: ["repo"] });
  const made = (name: string) =>
    stagedRecipesZip(name, [buildConda({ name: `p-${name.replace(/[^a-z_]/g, "")}`, subdir: "linux-64" })]);
  const artifact = (id: number, name: string, run: number, expired = false) => ({
    repo: REPO,
    id,
    name,
    run,
    zip: made(name),
    expired,
    sha: SHA,
  });
  github.runs.push({ repo: REPO, id: 40, sha: SHA });
  github.artifacts.push(artifact(1, "linux", 40), artifact(2, "osx (arm)", 40), artifact(3, "gone", 30, true));
  github.pulls.push({ repo: REPO, number: 5, sha: SHA, author: "ada" });
  const check = { repo: REPO, sha: SHA };
  github.checks.push(
    {
      ...check,
      id: 1,
      name: "build",
      app: "github-actions",
      details: `${github.web}/${REPO}/actions/runs/40/job/1`,
      conclusion: "success",
    },
    {
      ...check,
      id: 2,
      name: "tool",
      app: "azure-pipelines",
      details: `${azure.url}/${PROJECT}/_build/results?buildId=7`,
      conclusion: "success",
    },
  );
  const asset = buildConda({ name: "asset" });
  github.releases.push({
    repo: REPO,
    id: 9,
    tag: "v1",
    assets: [
      { id: 90, name: asset.fileName, bytes: asset.bytes, digest: null },
      { id: 91, name: "notes.txt", bytes: Buffer.from("x"), digest: null },
    ],
  });
  const build = (id: number, result: "succeeded" | "failed", name: string) => ({
    id,
    buildNumber: `20261120.${id}`,
    definition: { id: 2, name },
    branch: "refs/heads/main",
    commit: SHA,
    result,
    jobs: [],
    artifacts: [
      { name: "conda_pkgs_win", type: "PipelineArtifact" as const, zip: made("conda_pkgs_win") },
      { name: "share", type: "FilePath" as const, zip: made("share") },
    ],
  });
  azure.projects.set(PROJECT, [build(7, "succeeded", "staged"), build(8, "failed", "nightly")]);
  return { github, azure, env: envOf({ github, azure }, "ghp_good") };
}

const run = (args: readonly string[], env: NodeJS.ProcessEnv) => cliRun(args, env, [], temporary());

/** What a command line takes, as info prints it for a shell. */
function words(command: string): string[] {
  const found = command.match(/'[^']*'|[^\s']+/g) ?? [];
  return found.map((w) => w.replace(/^'|'$/g, "")).slice(1);
}

test("a repository, a run, a release, a project, a build and a pull request are told of, each row with the command that takes it", async () => {
  const { github, env } = await world();
  const rows = async (options: Parameters<typeof info>[0]) => {
    const report = await info({ env, ...options });
    return report.rows.map((r) => ("name" in r ? `${r.kind} ${r.kind === "package" ? r.fileName : r.name}` : r.kind));
  };
  assert.deepEqual(await rows({ github: REPO }), ["artifact gone", "artifact osx (arm)", "artifact linux"]);
  assert.deepEqual(await rows({ github: REPO, excludeExpired: true, nameFilter: "linux|gone" }), ["artifact linux"]);
  assert.deepEqual(await rows({ source: `${REPO}@40` }), ["artifact osx (arm)", "artifact linux"]);
  assert.deepEqual(await rows({ source: `${REPO}#1` }), ["package p-linux-1.0-0.conda"]);
  assert.deepEqual(await rows({ source: `${REPO}/releases/tag/v1` }), [
    "release-asset asset-1.0-0.conda",
    "release-asset notes.txt",
  ]);
  assert.deepEqual(await rows({ azure: PROJECT }), ["build 20261120.8", "build 20261120.7"]);
  assert.deepEqual(await rows({ azure: PROJECT, descriptionFilter: "night" }), ["build 20261120.8"]);
  assert.deepEqual(await rows({ azure: PROJECT, buildId: 7 }), ["artifact conda_pkgs_win", "artifact share"]);
  assert.deepEqual(await rows({ pr: `${REPO}/pull/5` }), [
    "check build",
    "check tool",
    "artifact conda_pkgs_win",
    "artifact osx (arm)",
    "artifact linux",
  ]);
  assert.deepEqual(github.violations, []);
});

test("each command that info prints takes the very thing it stands beside", async () => {
  const { env } = await world();
  const expected: Record<string, string> = {
    "osx (arm)": "p-osxarm",
    linux: "p-linux",
    conda_pkgs_win: "p-conda_pkgs_win",
  };
  let tried = 0;
  for (const args of [
    ["--github", REPO],
    ["--azure", PROJECT, "--build-id", "7"],
    ["--pr", `${REPO}/pull/5`],
    ["--azure", PROJECT],
    [`${REPO}/releases/tag/v1`],
  ]) {
    const told = await run(["info", ...args, "--encode", "json"], env);
    assert.equal(told.code, 0, told.err);
    for (const row of JSON.parse(told.out) as { name: string; mirror?: string }[]) {
      if (row.mirror === undefined) continue;
      tried++;
      const { code, out, err } = await run([...words(row.mirror), "--json"], env);
      const report = JSON.parse(out) as { packages: { fileName: string }[] };
      assert.equal(code, 0, `${row.mirror}: ${err}`);
      assert.equal(report.packages.length, 1, row.mirror);
      const name = expected[row.name];
      if (name) assert.ok(report.packages[0]?.fileName.startsWith(name), row.mirror);
    }
  }
  assert.equal(tried, 2 + 1 + 3 + 2 + 1);
});

test("JSON has the services' own fields, which were null in the Rust tool; tables have its headings", async () => {
  const { env } = await world();
  const builds = JSON.parse((await run(["info", "--azure", PROJECT, "--encode", "json"], env)).out) as Record<
    string,
    unknown
  >[];
  for (const field of ["id", "buildNumber", "queueTime", "finishTime", "sourceBranch", "sourceVersion"])
    assert.ok(
      builds.every((b) => b[field] !== null && b[field] !== undefined),
      field,
    );
  const artifacts = JSON.parse((await run(["info", "--github", REPO, "--encode", "json"], env)).out) as Record<
    string,
    unknown
  >[];
  for (const field of ["id", "name", "size_in_bytes", "created_at", "expires_at", "expired"])
    assert.ok(
      artifacts.every((a) => a[field] !== null && a[field] !== undefined),
      field,
    );
  const table = (await run(["info", "--azure", PROJECT, "--encode", "table"], env)).out;
  assert.match(table, /Build ID +Build Number +Status +Result +Definition +Source Branch +Finish Time +Mirror Source/);
  assert.match(table, /8 +20261120\.8 +completed +failed +nightly +refs\/heads\/main/);
  const yaml = (await run(["info", "--github", REPO, "--encode", "yaml"], env)).out;
  assert.match(yaml, /^# GitHub Artifacts\n/);
});
