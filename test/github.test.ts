import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { runJobs } from "../src/main.ts";
import { answerMemory } from "../src/transfer/answers.ts";
import { type BuiltPackage, buildConda, zip } from "./packages/builder.ts";
import { type GitHubServer, githubServer } from "./servers/github/github-server.ts";
import { envOf, mirrored, patientClock, smithyZip, stagedRecipesZip } from "./support/ci.ts";
import { listed, repodata, temporary } from "./support/folders.ts";

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
    [`${github.web.replace("http://", "")}/${REPO}/actions/runs/1000`, recipe],
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

test("250 artifacts over three pages are all found, and the 40 wanted ones fetched as many at once as asked for", async () => {
  const { github, env } = await world();
  const packages = Array.from({ length: 250 }, (_, i) => buildConda({ name: `p${i}`, subdir: "linux-64" }));
  github.artifacts.length = 0;
  for (const [i, p] of packages.entries()) {
    const name = i % 6 === 0 && i < 240 ? `wanted-${i}` : `other-${i}`;
    const content = [{ name: p.fileName, content: p.bytes }];
    github.artifacts.push({ repo: REPO, id: 10_000 + i, name, run: 1000, zip: zip(content) });
  }
  github.blobs.delay = 40;
  const few = await mirrored(REPO, { env, ci: { nameFilter: "^wanted" }, settings: { max_concurrent_downloads: 8 } });
  assert.deepEqual([few.report.added, few.report.failed], [40, 0]);
  assert.equal(github.blobs.most, 8);
  const lists = () => github.requests.filter((r) => r.path.includes("/actions/artifacts?")).length;
  assert.equal(lists(), 3);
  github.blobs.delay = 0;
  const all = await mirrored(REPO, { env, settings: { max_concurrent_downloads: 16 } });
  assert.deepEqual([all.report.added, all.report.failed], [250, 0]);
  assert.ok(github.blobs.most <= 16);
  assert.deepEqual(github.violations, []);
});

test("the file's host never gets our token, and its address is asked for again when it is no longer good", async () => {
  const { github, env } = await world();
  const clock = patientClock();
  github.now = () => clock.now();
  const zips = () => github.requests.filter((r) => r.path.endsWith("/zip")).length;
  await mirrored(`${REPO}#11`, { env, clock });
  assert.ok(github.blobs.requests.length > 1);
  assert.ok(github.blobs.requests.every((r) => r.headers.authorization === undefined && r.status < 300));
  assert.equal(zips(), 1, "ranges within the minute share an address");

  // The store's clock is ahead: what was good a moment ago is refused.
  let behind = 0;
  github.now = () => clock.now() + behind;
  const sign = github.blobs.sign.bind(github.blobs);
  let signed = 0;
  Object.assign(github.blobs, {
    sign: (bytes: Uint8Array) => {
      if (++signed === 1) setImmediate(() => (behind = 120_000));
      return sign(bytes);
    },
  });
  const again = await mirrored(`${REPO}#12`, { env, clock });
  assert.equal(again.report.added, 1, again.error?.message);
  assert.ok(signed >= 2);
});

test("expired artifacts are named; one that is asked for alone is refused with its date", async () => {
  const { env } = await world();
  const all = await mirrored(REPO, { env });
  assert.match(all.warnings.join("\n"), /1 of 5 artifacts have expired, their content is gone: gone \(#1\)/);
  const one = await mirrored(`${REPO}#1`, { env });
  assert.equal(one.report.exitCode, 3);
  assert.match(
    one.error?.message ?? "",
    /zlib-feedstock#1: gone\n.*has expired on 2027-02-18.*\n.*run the workflow again/,
  );
  const none = await mirrored(REPO, { env, ci: { nameFilter: "^gone$" } });
  assert.match(none.error?.why ?? "", /all 1 artifacts have expired: gone/);
});

test("an artifact that expires between list and download is told as such", async () => {
  const { github, env } = await world();
  const [first] = github.artifacts;
  const { expired: _, ...gone } = { ...first, id: 50, name: "late" } as (typeof github.artifacts)[number];
  const artifact = { ...gone, expired: false };
  github.artifacts.push(artifact);
  const requests = github.requests;
  const push = requests.push.bind(requests);
  requests.push = (...r) => {
    artifact.expired = true;
    return push(...r);
  };
  const { report, failures } = await mirrored(REPO, { env, ci: { nameFilter: "late|conda_pkgs_osx" } });
  assert.equal(report.added, 1);
  assert.match(failures[0]?.message ?? "", /the artifact has expired.*410: Artifact has expired/);
});

test("a rate limit is waited out, the time shown; answers that did not change count for nothing", async () => {
  const { github, env } = await world();
  const clock = patientClock();
  github.now = () => clock.now();
  github.refusals.push({ limit: "primary", until: clock.now() + 754_000 });
  const primary = await mirrored(`${REPO}#11`, { env, clock });
  assert.equal(primary.report.added, 1, primary.error?.message);
  assert.deepEqual(clock.waits, [755_000]);
  assert.match(
    primary.warnings.join("\n"),
    /its limit of 5000 requests an hour is used up; going on in 12 min 35 s, at \d\d:\d\d:\d\d/,
  );

  clock.waits.length = 0;
  github.refusals.push({ limit: "secondary", after: 7 }, { limit: "secondary" }, { limit: "secondary" });
  const secondary = await mirrored(`${REPO}#11`, { env, clock });
  assert.equal(secondary.report.added, 1, secondary.error?.message);
  assert.deepEqual(clock.waits, [7000, 120_000, 240_000]);
  assert.match(secondary.warnings.join("\n"), /secondary rate limit\); going on in 7 s/);

  github.refusals.push({ limit: "primary", until: clock.now() + 5 * 3_600_000 });
  const tooLong = await mirrored(`${REPO}#11`, { env, clock });
  assert.match(tooLong.error?.message ?? "", /asks to wait 300 min 1 s/);
  assert.deepEqual(github.violations, []);
});

test("an answer that is known is asked for by its ETag, and costs no request of the limit", async () => {
  const { github, env } = await world();
  const answers = answerMemory();
  await mirrored(REPO, { env, answers });
  const [before, asked] = [github.remaining, github.requests.length];
  const { report } = await mirrored(REPO, { env, answers });
  assert.equal(report.added, 3);
  const lists = github.requests.slice(asked).filter((r) => !r.path.endsWith("/zip"));
  assert.deepEqual(
    lists.map((r) => r.status),
    [304],
  );
  assert.equal(before - github.remaining, github.requests.slice(asked).length - 1);
});

test("errors of the server are tried again; others are told in its words", async () => {
  const { github, env } = await world();
  github.refusals.push({ status: 502, message: "Bad Gateway" });
  assert.equal((await mirrored(`${REPO}#11`, { env })).report.added, 1);
  for (let i = 0; i < 10; i++) github.refusals.push({ status: 502, message: "Bad Gateway" });
  const down = await mirrored(`${REPO}#11`, { env });
  assert.match(down.error?.message ?? "", /the server answered 502: Bad Gateway/);
  github.refusals.length = 0;
  // Where the artifact lies is asked for as often as is said, whoever it is that tries again.
  const { push } = github.requests;
  github.requests.push = (...r) => {
    if (r[0]?.path.endsWith("/artifacts/11"))
      for (let i = 0; i < 30; i++) github.refusals.push({ status: 502, message: "Bad Gateway" });
    return push.apply(github.requests, r);
  };
  const before = github.requests.length;
  assert.equal((await mirrored(`${REPO}#11`, { env, settings: { retry_attempts: 2 } })).report.failed, 1);
  assert.equal(github.requests.slice(before).filter((r) => r.path.endsWith("/zip")).length, 3);
  github.requests.push = push;
  github.refusals.length = 0;
  const unknown = await mirrored("nobody/nothing", { env });
  assert.equal(unknown.report.exitCode, 3);
  assert.match(unknown.error?.message ?? "", /does not exist, or the token from GITHUB_TOKEN.* may not see it/);
});

test("refusals name the token, the scope that is missing, and where to get one", async () => {
  const { github, env } = await world();
  const { hidden, tokens } = github;
  tokens.set("ghp_expired", { kind: "classic", may: ["repo"], expired: true });
  tokens.set("ghp_narrow", { kind: "classic", may: ["gist"] });
  tokens.set("github_pat_narrow", { kind: "fine-grained", may: ["metadata=read"] });
  const { GITHUB_TOKEN: _, ...bare } = env;
  const said = async (token: string | undefined) => {
    const { report, error } = await mirrored(`${REPO}#11`, {
      env: token === undefined ? bare : { ...env, GITHUB_TOKEN: token },
    });
    assert.equal(report.exitCode, 3);
    if (token !== undefined) assert.ok(!error?.message.includes(token));
    return error?.message ?? "";
  };
  const where =
    /classic token needs the scope repo, a fine-grained one the permission Actions: read \(http:.*\/settings\/tokens\)/;
  const none = await said(undefined);
  assert.match(
    none,
    /given to those who sign in alone, those of public repositories too \(GitHub answered 401: Requires authentication\)/,
  );
  assert.match(none, /set GITHUB_TOKEN, or sign in with gh auth login; a classic/);
  assert.match(none, where);
  const expired = await said("ghp_expired");
  assert.match(
    expired,
    /the token from GITHUB_TOKEN or the configuration is not accepted: it has expired, was revoked or is mistyped/,
  );
  assert.match(expired, where);
  const narrow = await said("ghp_narrow");
  assert.match(
    narrow,
    /may not read this \(GitHub answered 403: You must have the actions scope.*; its scopes: gist; needed: repo\)/,
  );
  assert.match(narrow, where);
  assert.match(
    await said("github_pat_narrow"),
    /Resource not accessible by personal access token; needed: actions=read/,
  );
  hidden.add(REPO);
  assert.match(await said(undefined), /does not exist, or it is private: no token was given/);
  assert.deepEqual(github.violations, []);
});

test("a list can be had without a token; many downloads that are refused end at the first", async () => {
  const { github, env } = await world();
  const { GITHUB_TOKEN: _, ...bare } = env;
  for (let i = 0; i < 50; i++)
    github.artifacts.push({ ...(github.artifacts[0] as (typeof github.artifacts)[number]), id: 500 + i });
  const { failures } = await mirrored(REPO, { env: bare });
  assert.equal(failures.length, 1);
  assert.ok(github.requests.length <= 1 + 5, String(github.requests.length));
});

test("tokens come from the environment, the configuration, and the gh command's store", async () => {
  const { github, env } = await world();
  const host = new URL(github.web).host;
  const folder = temporary();
  const { GITHUB_TOKEN: _, ...bare } = env;
  const works = async (more: NodeJS.ProcessEnv, config?: string) => {
    const { report } = await mirrored(`${REPO}#11`, {
      env: { ...bare, ...more },
      ...(config === undefined ? {} : { config }),
    });
    return report.added === 1;
  };
  writeFileSync(join(folder, "c.json"), JSON.stringify({ github_token: "ghp_good" }));
  assert.ok(await works({}, join(folder, "c.json")));
  // The Rust tool took no notice of the environment when there was a file.
  writeFileSync(join(folder, "d.json"), JSON.stringify({ github_token: "ghp_wrong" }));
  assert.ok(await works({ GITHUB_TOKEN: "ghp_good" }, join(folder, "d.json")));
  const hosts = (text: string) => writeFileSync(join(folder, "hosts.yml"), text);
  hosts(`${JSON.stringify(host)}:\n    user: ada\n    oauth_token: ghp_good\n`);
  assert.ok(await works({ GH_CONFIG_DIR: folder }));
  hosts(`${JSON.stringify(host)}:\n    user: ada\n    users:\n        ada:\n            oauth_token: ghp_good\n`);
  assert.ok(await works({ GH_CONFIG_DIR: folder }));
  // A token of another host is not sent to this one.
  hosts("github.com:\n    user: ada\n    oauth_token: ghp_good\n");
  assert.ok(!(await works({ GH_CONFIG_DIR: folder })));
  assert.ok(github.requests.slice(-2).every((r) => r.headers.authorization === undefined));
  hosts("not: [yaml");
  assert.ok(!(await works({ GH_CONFIG_DIR: folder })));
  assert.ok(await works({ GH_ENTERPRISE_TOKEN: "ghp_good" }));
  const bin = join(folder, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "gh"), `#!/bin/sh\n[ "$*" = "auth token --hostname ${host}" ] && echo ghp_good\n`, {
    mode: 0o755,
  });
  assert.ok(await works({ PATH: `${bin}:/bin:/usr/bin` }));
});

test("packages and archives among a release's files, their digests binding", async () => {
  const { github, env, packages } = await world();
  const { linux, osx, other } = packages as Record<"linux" | "osx" | "other", BuiltPackage>;
  const digest = (p: BuiltPackage) => `sha256:${p.sha256}`;
  const many = Array.from({ length: 120 }, (_, i) => ({
    id: 1000 + i,
    name: `notes-${i}.txt`,
    bytes: Buffer.from("x"),
    digest: null,
  }));
  github.releases.push(
    {
      repo: REPO,
      id: 1,
      tag: "v1/rc",
      assets: [
        ...many,
        { id: 1, name: linux.fileName, bytes: linux.bytes, digest: digest(linux) },
        { id: 2, name: "all.zip", bytes: stagedRecipesZip("x", [osx]), digest: null },
      ],
    },
    {
      repo: REPO,
      id: 2,
      tag: "v2",
      assets: [{ id: 3, name: other.fileName, bytes: other.bytes, digest: digest(linux) }],
    },
  );
  const found = async (source: string, ci = {}) => {
    const { report, error } = await mirrored(source, { env, ci });
    return error ? error.message : report.added;
  };
  assert.equal(await found(`${github.web}/${REPO}/releases/tag/v1/rc`), 2);
  assert.equal(await found(`${REPO}/releases/tag/v1/rc`, { nameFilter: "zip$" }), 1);
  assert.equal(await found(`${github.web}/${REPO}/releases/tag/v1%2Frc`), 2);
  const wrong = String(await found(`${github.web}/${REPO}/releases/latest`));
  assert.match(wrong, /sha256/);
  assert.match(
    String(await found(`${REPO}/releases/tag/v1/rc`, { nameFilter: "notes" })),
    /no package or archive is among its files: notes-0\.txt, .* and 112 more/,
  );
  assert.ok(github.blobs.requests.every((r) => r.headers.authorization === undefined));
  assert.deepEqual(github.violations, []);
});

test("of packages that were built again, the newest build's is taken", async () => {
  const { github, env } = await world();
  github.artifacts.length = 0;
  const build = (summary: string) => buildConda({ name: "again", subdir: "linux-64", files: { f: summary } });
  const push = (id: number, run: number, p: BuiltPackage) => {
    const name = `conda_pkgs_${run}_linux_64_`;
    github.artifacts.push({ repo: REPO, id, run, name, zip: smithyZip(`zlib-feedstock_${name}`, "linux-64", [p]) });
  };
  push(1, 700, build("first"));
  push(2, 701, build("second"));
  const { report, target, warnings } = await mirrored(REPO, { env });
  assert.deepEqual([report.added, report.failed], [1, 0]);
  const record = repodata(target, "linux-64")["packages.conda"]["again-1.0-0.conda"];
  assert.equal(record?.["sha256"], build("second").sha256);
  assert.match(warnings.join("\n"), /1 packages of older builds are left out/);
});

test("a job of a configuration file chooses builds as the flags do", async () => {
  const { env } = await world();
  const folder = temporary();
  const config = join(folder, "jobs.json");
  const job = { source: REPO, src_type: "github", name_filter: "osx$", target: join(folder, "c") };
  writeFileSync(config, JSON.stringify({ jobs: [job] }));
  const report = await runJobs({ config, env: { ...env, XDG_STATE_HOME: folder } });
  assert.equal(report.exitCode, 0);
  assert.equal(listed(join(folder, "c"), "osx-64").length, 1);
});

test("a limit that is reached at a release's file is waited out too", async () => {
  const { github, env, packages } = await world();
  const p = packages["other"] as BuiltPackage;
  github.releases.push({
    repo: REPO,
    id: 1,
    tag: "v1",
    assets: [{ id: 1, name: p.fileName, bytes: p.bytes, digest: null }],
  });
  const clock = patientClock();
  github.now = () => clock.now();
  const push = github.requests.push.bind(github.requests);
  github.requests.push = (...r) => {
    // The lists have been given; the file is next.
    const until = clock.now() + 60_000;
    if (r[0]?.path.includes("/assets?")) github.refusals.push({ limit: "primary", until }, { limit: "primary", until });
    return push(...r);
  };
  const { report, error } = await mirrored(`${REPO}/releases/tag/v1`, { env, clock });
  assert.equal(report.added, 1, error?.message);
  assert.ok(clock.waits.some((ms) => ms >= 60_000));
});

test("a wait for the limit ends at once when the run is interrupted", async () => {
  const { github, env } = await world();
  github.refusals.push({ limit: "primary", until: github.now() + 3_000_000 });
  const stopping = new AbortController();
  const { systemClock } = await import("../src/transfer/retry.ts");
  const sleep = (ms: number, signal: AbortSignal) => {
    setImmediate(() => stopping.abort());
    return systemClock.sleep(ms, signal);
  };
  const { report } = await mirrored(REPO, { env, clock: { ...systemClock, sleep }, signal: stopping.signal });
  assert.deepEqual([report.exitCode, report.interrupted, report.failed], [130, true, 0]);
});

test("an address at GitHub that names nothing says what can be named", async () => {
  const { github, env } = await world();
  await assert.rejects(
    mirrored(`${github.web}/${REPO}/blob/main/README.md`, { env }),
    /nothing at GitHub is named so[\s\S]*owner\/repo@RUN_ID/,
  );
});
