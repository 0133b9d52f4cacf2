import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { type Round, watch } from "../src/watch.ts";
import { buildConda } from "./packages/builder.ts";
import { githubServer } from "./servers/github/github-server.ts";
import { envOf, patientClock, smithyZip } from "./support/ci.ts";
import { listed, temporary, written } from "./support/folders.ts";

const REPO = "conda-forge/tool-feedstock";
const SHA = "5eed".padEnd(40, "1");

test("a pull request that is watched: built later, pushed to again, its service down for a while", async () => {
  const github = await githubServer();
  github.repos.add(REPO);
  github.tokens.set("ghp_good", { kind: "classic", may: ["repo"] });
  const pull = { repo: REPO, number: 5, sha: SHA, author: "ada" };
  github.pulls.push(pull);
  const builtAs = (run: number, sha: string, text: string) => {
    const p = buildConda({ name: "tool", subdir: "linux-64", files: { text } });
    const name = `conda_pkgs_${run}_linux_64_`;
    github.runs.push({ repo: REPO, id: run, sha });
    github.artifacts.push({
      repo: REPO,
      id: run,
      name,
      run,
      zip: smithyZip(`tool-feedstock_${name}`, "linux-64", [p]),
    });
    const details = `${github.web}/${REPO}/actions/runs/${run}/job/1`;
    github.checks.push({
      repo: REPO,
      id: run,
      sha,
      name: "build",
      app: "github-actions",
      details,
      conclusion: "success",
    });
  };
  const clock = patientClock();
  const stopping = new AbortController();
  const told: string[] = [];
  const asked: { requests: number; downloads: number }[] = [];
  let round = 0;
  const sleep = async () => {
    round++;
    asked.push({
      requests: github.requests.filter((r) => r.status === 200).length,
      downloads: github.blobs.requests.length,
    });
    if (round === 1) builtAs(1, SHA, "first");
    if (round === 3) for (let i = 0; i < 4; i++) github.refusals.push({ status: 502, message: "down" });
    if (round === 4) {
      github.pulls[0] = { ...pull, sha: "a".repeat(40) };
      builtAs(2, "a".repeat(40), "second");
    }
    if (round === 5) stopping.abort();
  };
  await watch({
    sources: [`${REPO}/pull/5`],
    target: temporary(),
    env: envOf({ github }, "ghp_good"),
    onConflict: "replace",
    clock: { ...clock, now: clock.now, sleep: async (ms) => (ms === 600_000 ? sleep() : undefined) },
    intervalMs: 600_000,
    signal: stopping.signal,
    onRound: (r: Round) => {
      if ("error" in r) return told.push(r.error.code);
      const { added, replaced, kept, failed } = r.report;
      return told.push(`${added} added, ${replaced} replaced, ${kept} kept, ${failed} failed`);
    },
  });
  assert.deepEqual(told, [
    "0 added, 0 replaced, 0 kept, 1 failed",
    "1 added, 0 replaced, 0 kept, 0 failed",
    "0 added, 0 replaced, 1 kept, 0 failed",
    "0 added, 0 replaced, 0 kept, 1 failed",
    "0 added, 1 replaced, 0 kept, 0 failed",
  ]);
  const [, second, third] = asked as [unknown, (typeof asked)[number], (typeof asked)[number]];
  assert.equal(third.downloads, second.downloads, "what is there is not fetched again");
  assert.equal(third.requests, second.requests, "nothing of the hourly limit is used when nothing has changed");
  assert.deepEqual(github.violations, []);
});

test("the command takes mirror's flags, prints a line a round, and ends by a signal with 130", async () => {
  const [source, cwd] = [temporary(), temporary()];
  written(source, [buildConda({ name: "a" })]);
  const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;
  const args = ["watch", source, "--interval", "0.05s", "--tgt", "c", "--json", "--on-conflict", "skip"];
  const child = spawn(process.execPath, [cli, ...args], {
    cwd,
    env: { PATH: process.env["PATH"] ?? "", NODE_NO_WARNINGS: "1" },
  });
  let out = "";
  let second = false;
  child.stdout.on("data", (d) => {
    out += String(d);
    const added = out.match(/"added":1\b/g)?.length ?? 0;
    if (added >= 1 && !second) {
      second = true;
      written(source, [buildConda({ name: "b" })]);
    }
    // A round's counts and those of its target: two for each package.
    if (added >= 4) child.kill("SIGINT");
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.equal(code, 130);
  const rounds = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { added: number });
  assert.equal(
    rounds.reduce((sum, r) => sum + r.added, 0),
    2,
  );
  assert.equal(listed(join(cwd, "c"), "noarch").length, 2);
});

test("an interval that is none is wrong usage", async () => {
  const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;
  for (const interval of ["0", "soon", "40d", "-1s"]) {
    const child = spawn(process.execPath, [cli, "watch", "x", `--interval=${interval}`, "--tgt", "c"], {
      cwd: temporary(),
    });
    assert.equal(await new Promise((resolve) => child.on("close", resolve)), 2, interval);
  }
});
