import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { buildConda, zip } from "./packages/builder.ts";
import { azureServer } from "./servers/azure/azure-server.ts";
import { fileServer } from "./servers/file-server.ts";
import { githubServer } from "./servers/github/github-server.ts";
import { envOf, mirrored, stagedRecipesZip } from "./support/ci.ts";
import { listed, repodata, temporary } from "./support/folders.ts";

// What the Rust tool of the same name does wrong with GitHub and Azure, and what ours does.
const REPO = "owner/repo";
const packages = Array.from({ length: 45 }, (_, i) => buildConda({ name: `p${i}`, subdir: "linux-64" }));

async function repository() {
  const github = await githubServer();
  github.repos.add(REPO);
  github.tokens.set("ghp_good", { kind: "classic", may: ["repo"] });
  for (const [i, p] of packages.entries())
    github.artifacts.push({
      repo: REPO,
      id: i + 1,
      name: `build-${i}`,
      run: 1,
      zip: stagedRecipesZip(`build-${i}`, [p]),
    });
  return { github, env: envOf({ github }, "ghp_good") };
}

test("its token went to every host: ours goes to GitHub's alone", async () => {
  const { github, env } = await repository();
  const other = await fileServer({ [packages[0]?.fileName as string]: packages[0]?.bytes as Buffer });
  const { report } = await mirrored([`${other.url}/${packages[0]?.fileName}`, `${REPO}#2`], { env });
  assert.equal(report.added, 2);
  assert.ok(other.requests.length > 0 && other.requests.every((r) => r.headers.authorization === undefined));
  assert.ok(github.blobs.requests.every((r) => r.headers.authorization === undefined));
  assert.ok(github.requests.every((r) => r.headers.authorization === "Bearer ghp_good"));
});

test("it knew the newest 30 artifacts, and took one package of one: ours takes all of all", async () => {
  const { env } = await repository();
  const { report } = await mirrored(REPO, { env });
  assert.equal(report.added, 45);
});

test("its documented owner/repo#ID was broken", async () => {
  const { env } = await repository();
  const { target } = await mirrored(`${REPO}#7`, { env, sourceType: "github" });
  assert.deepEqual(listed(target, "linux-64"), [packages[6]?.fileName]);
});

test("it took no notice of the environment when there was a file, and no file that lacked a key", async () => {
  const { github, env } = await repository();
  const file = join(temporary(), "c.json");
  writeFileSync(file, JSON.stringify({ _comment: "hello", github_token: "ghp_old" }));
  const { report } = await mirrored(`${REPO}#1`, { env, config: file });
  assert.equal(report.added, 1);
  assert.ok(github.requests.every((r) => r.headers.authorization === "Bearer ghp_good"));
});

test("its --src-path chose the artifact and the member by one expression, and the first match alone", async () => {
  const { github, env } = await repository();
  const content = packages.slice(0, 3).map((p) => ({ name: `linux/${p.fileName}`, content: p.bytes }));
  github.artifacts.push({ repo: REPO, id: 99, name: "many", run: 2, zip: zip(content) });
  assert.equal((await mirrored(REPO, { env, sourcePath: "^many/linux/p[02]" })).report.added, 2);
  // Scripts that gave the artifact's name get what is in it.
  assert.equal((await mirrored(REPO, { env, sourcePath: "many" })).report.added, 3);
});

test("it asked again for what is not there, and after refusals", async () => {
  const { github, env } = await repository();
  await mirrored(`${REPO}#4242`, { env });
  assert.equal(github.requests.length, 1);
  await mirrored(`${REPO}#1`, { env: { ...env, GITHUB_TOKEN: "ghp_wrong" } });
  assert.equal(github.requests.length, 2);
});

test("a second artifact wrote over the first one's index, and packages landed in guessed subdirs", async () => {
  const { env } = await repository();
  const { target } = await mirrored(`${REPO}#1`, { env });
  await mirrored(`${REPO}#2`, { env, target });
  const records = repodata(target, "linux-64")["packages.conda"];
  assert.deepEqual(Object.keys(records).sort(), [packages[0]?.fileName, packages[1]?.fileName].sort());
  assert.equal(repodata(target, "noarch")["packages.conda"][packages[0]?.fileName as string], undefined);
});

test("it wanted a token for Azure's public projects, and stopped at 50 builds", async () => {
  const azure = await azureServer();
  const builds = packages.flatMap((p, i) =>
    [1, 2].map((half) => ({
      id: i * 2 + half,
      buildNumber: `${i}`,
      definition: { id: 1, name: "d" },
      branch: "refs/heads/main",
      commit: "c".repeat(40),
      result: "succeeded" as const,
      jobs: [],
      artifacts:
        half === 1 ? [{ name: "drop", type: "PipelineArtifact" as const, zip: stagedRecipesZip("drop", [p]) }] : [],
    })),
  );
  azure.projects.set("org/project", builds);
  const options = { env: envOf({ azure }), sourceType: "azure", ci: { nameFilter: "drop" } };
  assert.equal((await mirrored("org/project", options)).report.added, 25);
  assert.equal((await mirrored("org/project", { ...options, ci: { ...options.ci, maxBuilds: 90 } })).report.added, 45);
});
