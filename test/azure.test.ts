import assert from "node:assert/strict";
import { test } from "node:test";
import { type BuiltPackage, buildConda } from "./packages/builder.ts";
import { type AzureServer, azureServer, type Build } from "./servers/azure/azure-server.ts";
import { envOf, mirrored, patientClock, stagedRecipesZip } from "./support/ci.ts";

const PROJECT = "conda-forge/feedstock-builds";
const OLD = "01d".padEnd(40, "0");

function build(id: number, more: Partial<Build> & { readonly packages?: Record<string, BuiltPackage[]> } = {}): Build {
  const { packages = { conda_pkgs_linux: [buildConda({ name: `p${id}`, subdir: "linux-64" })] }, ...rest } = more;
  return {
    id,
    buildNumber: `20261120.${id}`,
    definition: { id: 2, name: "staged-recipes" },
    branch: "refs/heads/main",
    commit: "c".repeat(40),
    result: "succeeded",
    jobs: [],
    artifacts: Object.entries(packages).map(([name, p]) => ({
      name,
      type: "PipelineArtifact",
      zip: stagedRecipesZip(name, p),
    })),
    ...rest,
  };
}

async function world(builds: readonly Build[]): Promise<{ azure: AzureServer; env: NodeJS.ProcessEnv }> {
  const azure = await azureServer();
  azure.projects.set(PROJECT, [...builds]);
  return { azure, env: envOf({ azure }) };
}

const both = {
  conda_pkgs_linux: [buildConda({ name: "a", subdir: "linux-64" })],
  conda_pkgs_osx: [buildConda({ name: "a", subdir: "osx-64" })],
};

test("every form of an Azure source takes what it names", async () => {
  const { azure, env } = await world([
    build(1, { packages: both }),
    build(2, { branch: "refs/heads/dev", definition: { id: 7, name: "nightly builds" } }),
    build(3, { result: "failed" }),
    build(4, { branch: "refs/pull/9/merge", headCommit: OLD }),
    build(5),
  ]);
  const web = `${azure.url}/${PROJECT}`;
  const forms: [string, string[], Record<string, unknown>?][] = [
    // Without a filter the newest good build; with one, all of the newest fifty.
    [PROJECT, ["p5"], { sourceType: "azure" }],
    [web, ["p5"]],
    [`${PROJECT}#1`, ["a", "a"], { sourceType: "azure" }],
    [`${web}/_build/results?buildId=1&view=results`, ["a", "a"]],
    [`${web}/_build/results?view=artifacts&pathAsName=false&type=publishedArtifacts&buildId=1`, ["a", "a"]],
    [`${azure.url}/conda-forge/84710dde-1620-425b-80d0-4cf5baca359d/_build/results?buildId=1`, ["a", "a"]],
    [`${web}/_apis/build/builds/1/artifacts?api-version=6.0`, ["a", "a"]],
    [`${web}/_build?definitionId=7`, ["p2"]],
    [PROJECT, ["p2"], { sourceType: "azure", ci: { definition: "nightly builds" } }],
    [PROJECT, ["p2"], { sourceType: "azure", ci: { definition: "7" } }],
    [PROJECT, ["p2"], { sourceType: "azure", ci: { branch: "dev" } }],
    [PROJECT, ["p4"], { sourceType: "azure", ci: { branch: "pull/9" } }],
    [PROJECT, ["p4"], { sourceType: "azure", ci: { commit: OLD.slice(0, 9) } }],
    [PROJECT, ["a"], { sourceType: "azure", ci: { nameFilter: "osx" } }],
    [PROJECT, ["p5", "p4"], { sourceType: "azure", ci: { maxBuilds: 2 } }],
    [PROJECT, ["p5", "p4", "p3"], { sourceType: "azure", ci: { maxBuilds: 3, allowFailed: true } }],
    [`${PROJECT}#1`, ["a"], { sourceType: "azure", sourcePath: "^conda_pkgs_linux/" }],
  ];
  for (const [source, expected, options] of forms) {
    const { report, error } = await mirrored(source, { env, ...options });
    assert.equal(error, undefined, `${source}: ${error?.message}`);
    assert.deepEqual(report.packages.map((p) => p.fileName.split("-")[0]).sort(), [...expected].sort(), source);
  }
});

test("builds are followed over all pages, and fields of builds are read", async () => {
  const builds = Array.from({ length: 230 }, (_, i) =>
    build(i + 1, i % 10 ? { packages: {}, result: "succeeded" } : {}),
  );
  const { azure, env } = await world(builds);
  const { report } = await mirrored(PROJECT, { env, sourceType: "azure", ci: { maxBuilds: 1000 } });
  assert.equal(report.added, 23);
  const pages = azure.requests.filter((r) => /builds\?/.test(r.path));
  assert.equal(pages.length, 3);
  assert.ok(pages.slice(1).every((r) => r.path.includes("continuationToken=")));
});

test("artifacts of every type are fetched, at the concurrency asked for; a file share is named and left out", async () => {
  const made = (i: number, type: Build["artifacts"][number]["type"]) => ({
    name: `drop ${i}`,
    type,
    zip: stagedRecipesZip("x", [buildConda({ name: `p${i}` })]),
  });
  const { azure, env } = await world([
    build(1, {
      artifacts: [
        made(0, "Container"),
        made(1, "FilePath"),
        ...Array.from({ length: 8 }, (_, i) => made(i + 2, "PipelineArtifact")),
      ],
    }),
  ]);
  azure.delay = 40;
  const { report, warnings, error } = await mirrored(`${PROJECT}#1`, {
    env,
    sourceType: "azure",
    settings: { max_concurrent_downloads: 4 },
  });
  assert.equal(error, undefined, error?.message);
  assert.equal(report.added, 9);
  assert.match(warnings.join("\n"), /drop 1 lies on a file share \(FilePath\) and is left out/);
  assert.equal(azure.most, 4);
  const downloads = azure.requests.filter((r) => r.host === "files");
  assert.equal(downloads.length, 8, "a server without ranges is asked once for each artifact");
});

test("a public project is read without the token, and the files' host never gets it", async () => {
  const { azure, env } = await world([build(1)]);
  azure.tokens.set("pat-secret", true);
  const { report } = await mirrored(`${PROJECT}#1`, {
    env: { ...env, AZURE_DEVOPS_TOKEN: "pat-secret" },
    sourceType: "azure",
  });
  assert.equal(report.added, 1);
  assert.ok(
    azure.requests.filter((r) => r.path.includes("_apis/build")).every((r) => r.headers.authorization === undefined),
  );
  assert.ok(azure.requests.filter((r) => r.host === "files").every((r) => r.headers.authorization === undefined));
});

test("a private project is read with the token, from the service's own address", async () => {
  for (const turnAway of ["page", "page-203", "redirect", "status"] as const) {
    const { azure, env } = await world([build(1)]);
    azure.turnAway = turnAway;
    azure.hidden.add(PROJECT);
    azure.tokens.set("pat-good", true);
    const { report, error } = await mirrored(`${PROJECT}#1`, {
      env: { ...env, AZURE_DEVOPS_TOKEN: "pat-good" },
      sourceType: "azure",
    });
    assert.equal(error, undefined, error?.message);
    assert.equal(report.added, 1, turnAway);
    assert.ok(azure.requests.filter((r) => r.host === "files").every((r) => r.headers.authorization === undefined));
  }
});

test("sign-in pages are known by what they hold, never taken for a zip, and say which scope helps", async () => {
  const scope =
    /personal access token with the scope Build \(Read\), made at http:.*\/conda-forge\/_usersSettings\/tokens/;
  for (const turnAway of ["page", "page-203", "redirect", "status"] as const) {
    const { azure, env } = await world([build(1)]);
    azure.turnAway = turnAway;
    azure.hidden.add(PROJECT);
    azure.tokens.set("pat-narrow", false);
    const said = async (token?: string) => {
      const { report, error } = await mirrored(`${PROJECT}#1`, {
        env: { ...env, ...(token === undefined ? {} : { AZURE_DEVOPS_TOKEN: token }) },
        sourceType: "azure",
      });
      assert.equal(report.exitCode, 3);
      assert.match(error?.message ?? "", scope);
      return error?.message ?? "";
    };
    assert.match(await said(), /the project is not public, and no token was given/, turnAway);
    assert.match(await said("pat-expired"), /the token is not accepted: it has expired, was revoked or is for another/);
    assert.match(await said("pat-narrow"), /the token may not read builds .*TF400813/);
  }
});

test("an artifact whose host shows a sign-in page is refused, though the list was open", async () => {
  const { azure, env } = await world([build(1)]);
  // Shown as a list, but not as files.
  const has = azure.hidden.has.bind(azure.hidden);
  let files = false;
  azure.hidden.has = (key) => files || has(key);
  const push = azure.requests.push.bind(azure.requests);
  azure.requests.push = (...r) => {
    files = r.some((one) => /artifacts/.test(one.path));
    return push(...r);
  };
  const { report, error } = await mirrored(`${PROJECT}#1`, { env, sourceType: "azure" });
  assert.equal(report.exitCode, 3);
  assert.match(error?.message ?? "", /a sign-in page came in place of the file/);
});

test("what is throttled is waited for; what is not there is told in the service's words", async () => {
  const { azure, env } = await world([build(1, { result: "failed" })]);
  const clock = patientClock();
  azure.throttle.push(9, 4);
  const waited = await mirrored(`${PROJECT}#1`, { env, sourceType: "azure", clock });
  assert.equal(waited.report.added, 1);
  assert.deepEqual(clock.waits, [9000, 4000]);
  assert.match(waited.warnings.join("\n"), /#1: the build failed; its packages may be incomplete/);
  const missing = await mirrored(`${PROJECT}#77`, { env, sourceType: "azure" });
  assert.match(
    missing.error?.message ?? "",
    /may not be seen without a token \(the server answered 404: The requested build 77 could not be found/,
  );
  const none = await mirrored(PROJECT, { env, sourceType: "azure", ci: { definition: "nothing" } });
  assert.match(none.error?.message ?? "", /has no successful build of the pipeline nothing/);
  const filtered = await mirrored(`${PROJECT}#1`, { env, sourceType: "azure", ci: { nameFilter: "zzz" } });
  assert.match(
    filtered.error?.message ?? "",
    /none of 1 artifacts has a name that passes --name-filter: conda_pkgs_linux/,
  );
});
