import assert from "node:assert/strict";
import { test } from "node:test";
import { type BuiltPackage, buildConda, zip } from "./packages/builder.ts";
import { type GitHubServer, githubServer } from "./servers/github/github-server.ts";
import { envOf, mirrored, stagedRecipesZip } from "./support/ci.ts";
import { listed } from "./support/folders.ts";

const REPO = "conda-forge/zlib-feedstock";
const SHA = "c0ffee".padEnd(40, "0");

/** A server with one repository, a token that may read it, and packages in artifacts of two runs. */
async function world(): Promise<{
  github: GitHubServer;
  env: NodeJS.ProcessEnv;
  packages: Record<string, BuiltPackage>;
}> {
  const github = await githubServer(() => Date.UTC(2026, 10, 25, 12));
  github.repos.add(REPO);
  github.tokens.set("ghp_good", { kind: "classic", may: ["repo"] });
  const made = (name: string, subdir: string) => buildConda({ name, subdir });
  const packages = {
    linux: made("a", "linux-64"),
    osx: made("a", "osx-64"),
    other: made("b", "linux-64"),
    old: made("old", "noarch"),
  };
  const flat = (name: string, p: BuiltPackage) => stagedRecipesZip(name, [p]);
  github.runs.push(
    { repo: REPO, id: 1000, sha: SHA, branch: "recipe" },
    { repo: REPO, id: 900, sha: "d".repeat(40), branch: "main" },
  );
  github.artifacts.push(
    {
      repo: REPO,
      id: 11,
      name: "conda_pkgs_linux",
      run: 1000,
      zip: flat("conda_pkgs_linux", packages.linux),
      sha: SHA,
      branch: "recipe",
    },
    {
      repo: REPO,
      id: 12,
      name: "conda_pkgs_osx",
      run: 1000,
      zip: flat("conda_pkgs_osx", packages.osx),
      sha: SHA,
      branch: "recipe",
    },
    {
      repo: REPO,
      id: 5,
      name: "logs",
      run: 900,
      zip: zip([{ name: "log.txt", content: Buffer.from("hello") }]),
      branch: "main",
    },
    { repo: REPO, id: 6, name: "more", run: 900, zip: flat("more", packages.other), branch: "main" },
    { repo: REPO, id: 1, name: "gone", run: 800, zip: flat("gone", packages.old), expired: true },
  );
  github.pulls.push({ repo: REPO, number: 7, sha: SHA, author: "ada" });
  return { github, env: envOf({ github }, "ghp_good"), packages };
}

test("every form of a GitHub source takes what it names", async () => {
  const { github, env } = await world();
  const all = ["linux-64/a", "linux-64/b", "osx-64/a"];
  const recipe = ["linux-64/a", "osx-64/a"];
  const forms: [string, string[], Record<string, unknown>?][] = [
    [REPO, all],
    [`${REPO}.git`, all],
    [`${REPO}#11`, ["linux-64/a"]],
    [`${REPO}@1000`, recipe],
    [`${REPO}/pull/7`, recipe, { sourceType: "github" }],
    [`${github.web}/${REPO}`, all],
    [`${github.web}/${REPO}/actions`, all],
    [`${github.web}/${REPO}/actions/runs/1000`, recipe],
    [`${github.web}/${REPO}/actions/runs/1000/attempts/2`, recipe],
    [`${github.web}/${REPO}/actions/runs/1000/job/55?pr=7`, recipe],
    [`${github.web}/${REPO}/actions/runs/1000/artifacts/12`, ["osx-64/a"]],
    [`${github.web}/${REPO}/suites/3/artifacts/12`, ["osx-64/a"]],
    [`${github.web}/${REPO}/pull/7/files`, recipe, { sourceType: "github" }],
    [`${github.web}/${REPO}/tree/main`, ["linux-64/b"]],
    [`${github.web}/${REPO}/commit/${SHA.slice(0, 8)}`, recipe],
    [`${github.api}/repos/${REPO}/actions/artifacts/11/zip`, ["linux-64/a"]],
    [REPO, ["linux-64/b"], { ci: { branch: "main" } }],
    [REPO, recipe, { ci: { commit: SHA } }],
    [REPO, ["osx-64/a"], { ci: { nameFilter: "osx$" } }],
    [REPO, ["osx-64/a"], { sourcePath: "^conda_pkgs_osx/.*\\.conda$" }],
  ];
  for (const [source, expected, options] of forms) {
    const { target, failures } = await mirrored(source, { env, ...options });
    assert.deepEqual(
      failures.map((e) => e.message),
      [],
      source,
    );
    const found = ["linux-64", "osx-64"].flatMap((subdir) => {
      try {
        return listed(target, subdir).map((f) => `${subdir}/${f.split("-")[0]}`);
      } catch {
        return [];
      }
    });
    assert.deepEqual(found, expected, source);
  }
  assert.deepEqual(github.violations, []);
});
