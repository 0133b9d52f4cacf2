import assert from "node:assert/strict";
import { test } from "node:test";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { type AzureServer, azureServer, type Build } from "./servers/azure/azure-server.ts";
import { type GitHubServer, githubServer } from "./servers/github/github-server.ts";
import type { Check } from "./servers/github/state.ts";
import { envOf, mirrored, smithyZip, stagedRecipesZip } from "./support/ci.ts";
import { listed } from "./support/folders.ts";
import { needs, python } from "./support/needs.ts";
import { installed } from "./support/rattler.ts";

const STAGED = "conda-forge/staged-recipes";
const PROJECT = "conda-forge/feedstock-builds";
const GUID = "84710dde-1620-425b-80d0-4cf5baca359d";
const HEAD = "5eed".padEnd(40, "1");
const OLD = "01d".padEnd(40, "2");

interface World {
  readonly github: GitHubServer;
  readonly azure: AzureServer;
  readonly env: NodeJS.ProcessEnv;
}

async function servers(repo: string): Promise<World> {
  const [github, azure] = [await githubServer(), await azureServer()];
  github.repos.add(repo);
  github.tokens.set("ghp_good", { kind: "classic", may: ["repo"] });
  azure.projects.set(PROJECT, []);
  return { github, azure, env: envOf({ github, azure }, "ghp_good") };
}

let ids = 100;
/** A check run as Azure Pipelines reports it: the build, and each job of it. */
function azureChecks({ github, azure }: World, repo: string, sha: string, build: Build): void {
  azure.projects.get(PROJECT)?.push(build);
  const details = `${azure.url}/conda-forge/${GUID}/_build/results?buildId=${build.id}`;
  const conclusion = (r: string | null) => (r === null ? null : r === "succeeded" ? "success" : "failure");
  const check = (name: string, url: string, result: string | null): Check => ({
    repo,
    sha,
    name,
    id: ids++,
    app: "azure-pipelines",
    details: url,
    conclusion: conclusion(result),
  });
  github.checks.push(
    check("staged-recipes", details, build.result),
    ...build.jobs.map((j) => check(`staged-recipes (${j.name})`, `${details}&view=logs&jobId=${j.id}`, j.result)),
  );
}

const job = (name: string, result: string | null = "succeeded") => ({
  id: `${Buffer.from(name).toString("hex").padEnd(8, "0").slice(0, 8)}-0000-0000-0000-000000000000`,
  name,
  result,
});

function stagedBuild(
  id: number,
  jobs: ReturnType<typeof job>[],
  packages: Record<string, BuiltPackage[]>,
  result: Build["result"],
): Build {
  const names: Record<string, string> = { linux: "conda_pkgs_linux", osx: "conda_pkgs_osx", win: "conda_pkgs_win" };
  return {
    id,
    buildNumber: `20261120.${id}`,
    definition: { id: 2, name: "staged-recipes" },
    branch: "refs/pull/123/merge",
    commit: "b".repeat(40),
    headCommit: HEAD,
    result,
    jobs,
    artifacts: jobs
      .filter((j) => packages[j.name])
      .map((j) => ({
        name: names[j.name] as string,
        type: "PipelineArtifact",
        source: j.id,
        zip: stagedRecipesZip(names[j.name] as string, packages[j.name] as BuiltPackage[]),
      })),
  };
}

const linux = buildConda({
  name: "tool",
  version: "2.0",
  build: "h1_0",
  subdir: "linux-64",
  depends: ["tool-data"],
  files: { "bin/tool": "#!/bin/sh\n" },
});
const data = buildTarBz2({ name: "tool-data", files: { "share/tool.txt": "data" } });
const osx = buildConda({ name: "tool", version: "2.0", build: "h2_0", subdir: "osx-64", depends: ["tool-data"] });
const win = buildConda({ name: "tool", version: "2.0", build: "h3_0", subdir: "win-64", depends: ["tool-data"] });

test(
  "from a staged-recipes pull request's address to a channel that rattler installs from",
  needs(python, "py-rattler"),
  async () => {
    const world = await servers(STAGED);
    const { github, azure, env } = world;
    github.pulls.push({ repo: STAGED, number: 123, sha: HEAD, author: "ada" });
    const jobs = [job("linux"), job("osx"), job("win")];
    azureChecks(
      world,
      STAGED,
      HEAD,
      stagedBuild(1, jobs, { linux: [linux, data], osx: [osx], win: [win] }, "succeeded"),
    );
    for (const source of [
      `${github.web}/${STAGED}/pull/123`,
      `${github.web}/${STAGED}/pull/123/files`,
      `${STAGED}/pull/123`,
      "staged-recipes#123",
    ]) {
      const { target, report, failures, checks } = await mirrored(source, { env });
      assert.deepEqual(
        failures.map((e) => e.message),
        [],
      );
      assert.equal(report.added, 4, source);
      assert.equal(checks.length, 4);
      assert.deepEqual(
        ["linux-64", "osx-64", "win-64", "noarch"].map((s) => listed(target, s)),
        [[linux.fileName], [osx.fileName], [win.fileName], [data.fileName]],
      );
      if (source.startsWith("http")) continue;
      const { packages } = await installed(target, "zst", "tool");
      assert.deepEqual(packages, [
        ["tool", "2.0", "h1_0", "linux-64"],
        ["tool-data", "1.0", "0", "noarch"],
      ]);
    }
    assert.deepEqual(github.violations, []);
    assert.ok(
      azure.requests.every((r) => r.headers.authorization === undefined),
      "public projects are asked without a token",
    );
  },
);

test(
  "a feedstock's pull request: both systems, nested zips, whichever names conda-smithy chose",
  needs(python, "py-rattler"),
  async () => {
    const repo = "conda-forge/tool-feedstock";
    const world = await servers(repo);
    const { github, env } = world;
    github.pulls.push({ repo, number: 5, sha: HEAD, author: "ada" });
    const name = (prefix: string, run: string, config: string) => `${prefix}_${run}_${config}`;
    // Azure calls them conda_artifacts whatever became of them; GitHub Actions conda_pkgs when the job succeeded.
    const osxName = name("conda_artifacts", "20261120.7.1", "osx_64_");
    const jobs = [job("osx")];
    azureChecks(world, repo, HEAD, {
      ...stagedBuild(7, jobs, {}, "succeeded"),
      buildNumber: "20261120.7",
      artifacts: [
        {
          name: osxName,
          type: "PipelineArtifact",
          source: jobs[0]?.id as string,
          zip: smithyZip(`tool-feedstock_${osxName}`, "osx-64", [osx], { folder: osxName }),
        },
      ],
    });
    github.runs.push({ repo, id: 4000, sha: HEAD });
    const linuxName = name("conda_pkgs", "4000", "linux_64_");
    github.artifacts.push({
      repo,
      id: 70,
      name: linuxName,
      run: 4000,
      zip: smithyZip(`tool-feedstock_${linuxName}`, "linux-64", [linux, data]),
    });
    github.checks.push({
      repo,
      id: 1,
      sha: HEAD,
      name: "build (linux_64)",
      app: "github-actions",
      details: `${github.web}/${repo}/actions/runs/4000/job/1`,
      conclusion: "success",
    });
    const { target, report, failures } = await mirrored(`${github.web}/${repo}/pull/5`, { env });
    assert.deepEqual(
      failures.map((e) => e.message),
      [],
    );
    assert.equal(report.added, 3);
    assert.deepEqual(
      ["linux-64", "osx-64", "noarch"].map((s) => listed(target, s).length),
      [1, 1, 1],
    );
    assert.equal((await installed(target, "json", "tool")).packages.length, 2);
    assert.deepEqual(github.violations, []);
  },
);

test("packages of failed builds are left out, job by job, unless they are allowed", async () => {
  const world = await servers(STAGED);
  const { github, env } = world;
  github.pulls.push({ repo: STAGED, number: 123, sha: HEAD, author: "ada" });
  const jobs = [job("linux"), job("osx", "failed"), job("win", null)];
  azureChecks(world, STAGED, HEAD, stagedBuild(1, jobs, { linux: [linux], osx: [osx], win: [win] }, "failed"));
  const careful = await mirrored("staged-recipes#123", { env });
  assert.deepEqual([careful.report.exitCode, careful.report.added], [0, 1]);
  assert.deepEqual(listed(careful.target, "linux-64"), [linux.fileName]);
  assert.deepEqual(
    careful.checks.map((c) => [c.name, c.state]),
    [
      ["staged-recipes", "failure"],
      ["staged-recipes (linux)", "success"],
      ["staged-recipes (osx)", "failure"],
      ["staged-recipes (win)", "pending"],
    ],
  );
  assert.match(
    careful.warnings.join("\n"),
    /conda_pkgs_osx is of a failed build and is left out; --allow-failed[\s\S]*conda_pkgs_win is of a build that is not finished/,
  );
  const bold = await mirrored("staged-recipes#123", { env, ci: { allowFailed: true } });
  assert.equal(bold.report.added, 3);
});

test("GitHub Actions: a failed run gives what its good jobs made, by conda-smithy's names", async () => {
  const repo = "conda-forge/tool-feedstock";
  const world = await servers(repo);
  const { github, env } = world;
  github.pulls.push({ repo, number: 5, sha: HEAD, author: "ada" });
  github.runs.push({ repo, id: 4000, sha: HEAD });
  const artifact = (id: number, name: string, p: BuiltPackage) => ({
    repo,
    id,
    name,
    run: 4000,
    zip: smithyZip(`x_${name}`, "linux-64", [p]),
  });
  github.artifacts.push(
    artifact(1, "conda_pkgs_4000_linux_64_", linux),
    artifact(2, "conda_artifacts_4000_osx_64_", osx),
    artifact(3, "own-name", win),
  );
  const check = (id: number, conclusion: string | null): Check => ({
    repo,
    id,
    sha: HEAD,
    name: `build ${id}`,
    app: "github-actions",
    details: `${github.web}/${repo}/actions/runs/4000/job/${id}`,
    conclusion,
  });
  github.checks.push(check(1, "success"), check(2, "failure"), check(3, null));
  const source = `${repo}/pull/5`;
  assert.equal((await mirrored(source, { env })).report.added, 1);
  assert.equal((await mirrored(source, { env, ci: { allowFailed: true } })).report.added, 3);
  github.checks.splice(0, 3, check(1, "success"), check(3, null));
  const running = await mirrored(source, { env });
  assert.match(running.warnings.join("\n"), /own-name is of a build that is not finished/);
});

test("the newest commit is taken by default, another one by its SHA, whole or short", async () => {
  const world = await servers(STAGED);
  const { github, env } = world;
  github.pulls.push({ repo: STAGED, number: 123, sha: HEAD, author: "ada" });
  github.runs.push({ repo: STAGED, id: 1, sha: OLD });
  azureChecks(world, STAGED, HEAD, stagedBuild(2, [job("linux")], { linux: [linux] }, "succeeded"));
  azureChecks(world, STAGED, OLD, stagedBuild(1, [job("linux")], { linux: [data] }, "succeeded"));
  const taken = async (source: string, commit?: string) => {
    const { report } = await mirrored(source, { env, ci: commit === undefined ? {} : { commit } });
    return report.packages.map((p) => p.fileName);
  };
  assert.deepEqual(await taken("staged-recipes#123"), [linux.fileName]);
  assert.deepEqual(await taken("staged-recipes#123", OLD), [data.fileName]);
  assert.deepEqual(await taken("staged-recipes#123", OLD.slice(0, 7)), [data.fileName]);
  assert.deepEqual(await taken(`${github.web}/${STAGED}/pull/123/commits/${OLD}`), [data.fileName]);
});

test("all open pull requests of a person, of a label, and several by their addresses", async () => {
  const world = await servers(STAGED);
  const { github, env } = world;
  const shas = [1, 2, 3, 4].map((n) => String(n).repeat(40));
  const packages = shas.map((_, n) => buildConda({ name: `p${n}` }));
  const pull = (n: number, author: string, labels: string[], state: "open" | "closed" = "open") => {
    github.pulls.push({ repo: STAGED, number: n, sha: shas[n - 1] as string, author, labels, state });
    azureChecks(
      world,
      STAGED,
      shas[n - 1] as string,
      stagedBuild(n, [job("linux")], { linux: [packages[n - 1] as BuiltPackage] }, "succeeded"),
    );
  };
  pull(1, "ada", ["python"]);
  pull(2, "ada", []);
  pull(3, "bob", ["python"]);
  pull(4, "ada", [], "closed");
  github.issues.push({ repo: STAGED, number: 9, sha: HEAD, author: "ada" });
  // One of hers has not been built yet.
  github.pulls.push({ repo: STAGED, number: 8, sha: "8".repeat(40), author: "ada" });
  const taken = async (sources: string | string[], ci = {}) => {
    const { report, error } = await mirrored(sources, { env, ci });
    assert.equal(error, undefined, error?.message);
    return report.packages.map((p) => p.fileName[1]).sort();
  };
  assert.deepEqual(await taken(STAGED, { author: "ada" }), ["0", "1"]);
  assert.deepEqual(await taken(STAGED, { author: "@me" }), ["0", "1"]);
  assert.deepEqual(await taken("staged-recipes", { label: "python" }), ["0", "2"]);
  assert.deepEqual(await taken(STAGED, { author: "ada", label: "python" }), ["0"]);
  assert.deepEqual(await taken(STAGED, { author: "nobody" }), []);
  assert.deepEqual(await taken(["staged-recipes#1", `${STAGED}/pull/3`]), ["0", "2"]);
  assert.deepEqual(github.violations, []);
});

test("a pull request without packages says what its checks are, and what could help", async () => {
  const world = await servers(STAGED);
  const { github, env } = world;
  github.pulls.push({ repo: STAGED, number: 123, sha: HEAD, author: "ada" });
  const none = await mirrored("staged-recipes#123", { env });
  assert.equal(none.report.exitCode, 3);
  assert.match(
    none.error?.message ?? "",
    /staged-recipes#123: no packages\n {2}no CI system has reported on its commit\n/,
  );
  azureChecks(world, STAGED, HEAD, stagedBuild(1, [job("osx", "failed")], { osx: [osx] }, "failed"));
  github.statuses.push({
    repo: STAGED,
    sha: HEAD,
    context: "ci/circleci: build",
    state: "success",
    target: "https://circleci.com/gh/x/1",
  });
  const failed = await mirrored("staged-recipes#123", { env });
  assert.match(
    failed.error?.why ?? "",
    /of its 3 checks \(2 failure, 1 success\) none of their artifacts may be taken; ci\/circleci: build can't be read/,
  );
  assert.match(failed.error?.next ?? "", /--allow-failed/);
  const unknown = await mirrored("staged-recipes#404", { env });
  assert.match(unknown.error?.why ?? "", /does not exist/);
});

test("a repository that was renamed is followed, its checks and its artifacts' files too", async () => {
  const [old, now] = ["conda-forge/old-feedstock", "conda-forge/new-feedstock"];
  const world = await servers(now);
  const { github, env } = world;
  github.renamed.set(old, now);
  github.pulls.push({ repo: now, number: 5, sha: HEAD, author: "ada" });
  github.runs.push({ repo: now, id: 40, sha: HEAD });
  const name = "conda_pkgs_40_linux_64_";
  github.artifacts.push({ repo: now, id: 1, name, run: 40, zip: smithyZip(`x_${name}`, "linux-64", [linux]) });
  const details = `${github.web}/${now}/actions/runs/40/job/1`;
  github.checks.push({ repo: now, id: 1, sha: HEAD, name: "b", app: "github-actions", details, conclusion: "success" });
  const { report, error } = await mirrored(`${old}/pull/5`, { env });
  assert.equal(report.added, 1, error?.message);
  assert.deepEqual(github.violations, []);
});

test("what conda-smithy keeps of environments is not looked into", async () => {
  const repo = "conda-forge/tool-feedstock";
  const world = await servers(repo);
  const { github, env } = world;
  github.pulls.push({ repo, number: 5, sha: HEAD, author: "ada" });
  github.runs.push({ repo, id: 40, sha: HEAD });
  const artifact = (id: number, name: string) => ({
    repo,
    id,
    name,
    run: 40,
    zip: smithyZip(name, "linux-64", [linux]),
  });
  github.artifacts.push(artifact(1, "conda_artifacts_40_linux_64_"), artifact(2, "conda_envs_40_linux_64_"));
  const details = `${github.web}/${repo}/actions/runs/40/job/1`;
  github.checks.push({ repo, id: 1, sha: HEAD, name: "b", app: "github-actions", details, conclusion: "failure" });
  const { report } = await mirrored(`${repo}/pull/5`, { env, ci: { allowFailed: true } });
  assert.equal(report.added, 1);
  assert.equal(github.requests.filter((r) => r.path.endsWith("artifacts/2/zip")).length, 0);
});
