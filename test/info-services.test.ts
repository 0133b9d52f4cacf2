import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { type InfoOptions, type InfoRow, info, type Offered, type PackageRow } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { azureServer } from "./servers/azure/azure-server.ts";
import { githubServer } from "./servers/github/github-server.ts";
import { envOf, smithyZip, stagedRecipesZip } from "./support/ci.ts";
import { cliRun } from "./support/cli.ts";
import { listed, temporary } from "./support/folders.ts";

const REPO = "conda-forge/zlib-feedstock";
const PROJECT = "conda-forge/feedstock-builds";
const SHA = "c0ffee".padEnd(40, "0");
const a = buildConda({ name: "a", subdir: "linux-64", depends: ["python"] });
const b = buildConda({ name: "b", subdir: "osx-64" });

/** A repository with artifacts, one of them expired, and a pull request that Azure built. */
async function world() {
  const [github, azure] = [await githubServer(() => Date.UTC(2026, 10, 25, 12)), await azureServer()];
  github.repos.add(REPO).add("conda-forge/staged-recipes");
  github.tokens.set("ghp_good", { kind: "classic", may: ["repo"] });
  github.runs.push({ repo: REPO, id: 1000, sha: SHA, branch: "main" });
  const of = { repo: REPO, run: 1000, sha: SHA, branch: "main" };
  const smithy = "zlib-feedstock_conda_pkgs_1000_linux_64_";
  github.artifacts.push(
    { ...of, id: 11, name: "conda_pkgs_linux", zip: smithyZip(smithy, "linux-64", [a]) },
    { ...of, id: 12, name: "conda_pkgs_osx", zip: stagedRecipesZip("conda_pkgs_osx", [b]) },
    { ...of, id: 1, name: "conda_pkgs_gone", zip: stagedRecipesZip("conda_pkgs_gone", [b]), expired: true },
  );
  const built = (id: number, definition: string, result: "succeeded" | "failed") => ({
    id,
    buildNumber: `20261120.${id}`,
    definition: { id: id + 100, name: definition },
    branch: "refs/pull/123/merge",
    commit: "b".repeat(40),
    headCommit: SHA,
    result,
    jobs: [],
    artifacts: [
      { name: "conda_pkgs_linux", type: "PipelineArtifact" as const, zip: stagedRecipesZip("conda_pkgs_linux", [a]) },
    ],
  });
  azure.projects.set(PROJECT, [built(7, "staged-recipes", "succeeded"), built(8, "nightly", "failed")]);
  github.pulls.push({ repo: "conda-forge/staged-recipes", number: 123, sha: SHA, author: "ada" });
  github.checks.push({
    repo: "conda-forge/staged-recipes",
    sha: SHA,
    name: "staged-recipes",
    id: 1,
    app: "azure-pipelines",
    details: `${azure.url}/conda-forge/84710dde-1620-425b-80d0-4cf5baca359d/_build/results?buildId=7`,
    conclusion: "success",
  });
  const env = envOf({ github, azure }, "ghp_good");
  const rows = async (options: InfoOptions) => (await info({ env, ...options })).rows;
  return { github, azure, env, rows };
}

/** What the command of a row takes. */
async function taken(row: InfoRow | undefined, env: NodeJS.ProcessEnv): Promise<string[]> {
  assert.ok(row?.take, "it can be taken");
  const channel = join(temporary(), "channel");
  const { code, err } = await cliRun(["mirror", ...row.take, "--tgt", channel], env);
  assert.equal(code, 0, `${row.take.join(" ")}: ${err}`);
  const subdirs = ["linux-64", "osx-64"].flatMap((subdir) => {
    try {
      return listed(channel, subdir);
    } catch {
      return [];
    }
  });
  return subdirs;
}

test("nothing of a repository's artifacts is fetched to list them; expired ones are marked, and have no command", async () => {
  const { github, rows } = await world();
  const all = (await rows({ github: `${github.web}/${REPO}` })) as Offered[];
  assert.deepEqual(
    all.map((r) => [r.id, r.expired, r.take !== undefined]),
    [
      ["12", false, true],
      ["11", false, true],
      ["1", true, false],
    ],
  );
  assert.equal(github.blobs.requests.length, 0);
});

test("of one artifact the packages are told, through the zip inside it, and can be taken one by one", async () => {
  const { env, rows } = await world();
  const [row, ...more] = (await rows({ source: `${REPO}#11` })) as PackageRow[];
  assert.deepEqual(
    [row?.kind, row?.name, row?.version, row?.subdir, row?.depends, more.length],
    ["package", "a", "1.0", "linux-64", ["python"], 0],
  );
  assert.match(
    row?.member ?? "",
    /^conda_pkgs_linux\/zlib-feedstock_.*\.zip\/build_artifacts\/linux-64\/a-1\.0-0\.conda$/,
  );
  assert.deepEqual(await taken(row, env), [a.fileName]);
});

test("a name filter is about artifacts: builds are shown all the same, and a warning says what chooses among them", async () => {
  const { rows } = await world();
  const warnings: string[] = [];
  const builds = await rows({ azure: PROJECT, nameFilter: "conda_pkgs", onWarning: (w) => warnings.push(w) });
  assert.equal(builds.length, 2);
  assert.match(warnings.join(), /--description-filter/);
  const artifacts = await rows({ azure: `${PROJECT}#8`, buildId: 7, nameFilter: "nothing of the kind" });
  assert.deepEqual(artifacts, []);
});

test("a pull request's checks and artifacts, by its number alone", async () => {
  const { env, rows } = await world();
  for (const pr of ["123", "#123", "conda-forge/staged-recipes/pull/123"]) {
    const [check, artifact] = (await rows({ pr })) as Offered[];
    assert.deepEqual(
      [check?.kind, check?.state, artifact?.kind, artifact?.name],
      ["check", "success", "artifact", "conda_pkgs_linux"],
    );
    if (pr === "123") assert.deepEqual(await taken(artifact, env), [a.fileName]);
  }
});

test("the command line prints the service's records as yaml and as a json array, and never a token", async () => {
  const { env } = await world();
  const yaml = await cliRun(["info", "--github", REPO], env);
  assert.equal(yaml.code, 0, yaml.err);
  assert.match(yaml.out, /^# GitHub Artifacts\n# Total artifacts found: 3\n/);
  const records = parse(yaml.out) as {
    id: number;
    size_in_bytes: number;
    workflow_run: { head_sha: string };
    mirror?: string;
  }[];
  assert.deepEqual(
    records.map((r) => [r.id, typeof r.size_in_bytes, r.workflow_run.head_sha === SHA, r.mirror]),
    [
      [12, "number", true, `meso-forge-mirror mirror '${REPO}#12' --tgt ./my-channel`],
      [11, "number", true, `meso-forge-mirror mirror '${REPO}#11' --tgt ./my-channel`],
      [1, "number", true, undefined],
    ],
  );
  const json = await cliRun(["info", "--github", REPO, "--encode", "json", "--exclude-expired"], env);
  assert.deepEqual(JSON.parse(json.out), records.slice(0, 2));
  const pr = await cliRun(["info", "--pr", "123", "--encode", "table"], env);
  assert.match(pr.out, /^Found 2 offers:\n\nID +Kind +Name +State/);
  const wrong = await cliRun(["info", "--github", REPO, "--azure", PROJECT], env);
  assert.equal(wrong.code, 2);
  for (const { out, err } of [yaml, json, pr, wrong]) assert.doesNotMatch(out + err, /ghp_good/);
});
