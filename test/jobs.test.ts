import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { stringify as toml } from "smol-toml";
import { stringify as yaml } from "yaml";
import { reportSchema } from "../src/config/report-schema.ts";
import type { TargetError, UsageError } from "../src/errors.ts";
import { type JobsOptions, runJobs } from "../src/main.ts";
import type { Clock } from "../src/transfer/retry.ts";
import { buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listening } from "./servers/listening.ts";
import { channelOf } from "./support/channels.ts";
import { listed, temporary, written } from "./support/folders.ts";

const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;
const [a, b, c] = ["a", "b", "c"].map((name) => buildConda({ name })) as [
  ReturnType<typeof buildConda>,
  ReturnType<typeof buildConda>,
  ReturnType<typeof buildConda>,
];

/** A configuration file with jobs, in a folder of its own. */
function configured(jobs: readonly object[], more: object = {}, ext = "json"): string {
  const file = join(temporary(), `jobs.${ext}`);
  const value = { retry_attempts: 0, jobs, ...more };
  writeFileSync(file, ext === "json" ? JSON.stringify(value) : ext === "yaml" ? yaml(value) : toml(value));
  return file;
}

/** Options whose lock lies in a folder that goes with the test. */
const state = temporary();
const run = (config: string, more: Partial<JobsOptions> = {}) =>
  runJobs({ config, env: { XDG_STATE_HOME: state }, ...more });

function start(args: readonly string[], cwd = temporary()) {
  const child = spawn(process.execPath, [cli, "mirror", ...args], {
    cwd,
    env: { PATH: process.env["PATH"] ?? "", NODE_NO_WARNINGS: "1", XDG_STATE_HOME: state },
  });
  const ended = new Promise<{ code: number | null; out: string; err: string }>((done) => {
    const [out, err]: string[][] = [[], []];
    child.stdout.on("data", (d) => out?.push(String(d)));
    child.stderr.on("data", (d) => err?.push(String(d)));
    child.on("close", (code) => done({ code, out: (out ?? []).join(""), err: (err ?? []).join("") }));
  });
  return { child, ended };
}

test("all jobs of a file run, in each of its forms, with every key that a job has", async () => {
  const source = temporary();
  written(source, [a, b]);
  for (const ext of ["json", "yaml", "toml"]) {
    const folder = temporary();
    const config = configured(
      [
        { name: "first", source, target: join(folder, "one"), _comment: "mine" },
        {
          source: [join(source, a.fileName)],
          src_type: "local",
          target: [join(folder, "two"), join(folder, "three")],
          target_type: "local",
          on_conflict: "skip",
          mirror_of: "https://a.example/=https://b.example/",
          subdirs: ["noarch"],
          platforms: "linux-64",
          environments: ["x"],
        },
        { name: "off", enabled: false, source: "./nowhere", target: folder },
      ],
      {},
      ext,
    );
    const { jobs, exitCode, report } = await run(config);
    assert.deepEqual(
      jobs.map((j) => [j.name, j.status, j.report?.added]),
      [
        ["first", "done", 2],
        ["job 2", "done", 2],
      ],
    );
    assert.equal(exitCode, 0);
    assert.deepEqual(reportSchema.parse(report), report);
    assert.deepEqual(
      [listed(join(folder, "one"), "noarch").length, listed(join(folder, "three"), "noarch").length],
      [2, 1],
    );
  }
});

test("a job that fails stops no other, and the exit code tells monitoring how it went", async () => {
  const source = temporary();
  written(source, [a]);
  const bad = buildConda({ name: "bad" });
  writeFileSync(join(source, bad.fileName), "no package");
  const good = (n: number) => ({ name: `good ${n}`, source: join(source, a.fileName), target: join(temporary(), "t") });
  const half = { name: "half", source, target: join(temporary(), "t") };
  const gone = (n: number) => ({ name: `gone ${n}`, source: join(source, "nowhere"), target: join(temporary(), "t") });
  const wrong = { name: "wrong", source, target: temporary(), src_type: "no such type" };
  const codes: [object[], number, number[]][] = [
    [[good(1), half, good(2)], 1, [0, 1, 0]],
    [[gone(1), gone(2)], 3, [3, 3]],
    [[gone(1), good(1)], 1, [3, 0]],
    [[wrong], 2, [2]],
    [[half], 1, [1]],
  ];
  for (const [jobs, exitCode, each] of codes) {
    const ended = await run(configured(jobs));
    assert.deepEqual([ended.exitCode, ended.jobs.map((j) => j.exitCode)], [exitCode, each]);
    assert.deepEqual(reportSchema.parse(ended.report), ended.report);
    assert.ok(ended.report.jobs.every((j) => j.exitCode === 0 || j.error !== undefined || j.failures.length > 0));
  }
});

test("a job's needed key that is spelled wrong or missing is told as that", async () => {
  await assert.rejects(run(configured([{ sorce: "x", target: "y" }])), /unknown key jobs\.0\.sorce\n.*source\?/);
  await assert.rejects(run(configured([{ source: "x" }])), /jobs\.0\.target can't be used\n.*it is missing/);
});

test("mistakes in jobs are told with their place and the nearest key", async () => {
  const good = { source: "x", target: "y" };
  const wrong: [object[] | string, RegExp][] = [
    [[{ ...good, sorce: "x" }], /unknown key jobs\.0\.sorce\n.*did you mean source/],
    [[good, { target: "y" }], /jobs\.1\.source can't be used/],
    [[{ ...good, quiet_hours: "late" }], /jobs\.0\.quiet_hours can't be used[\s\S]*HH:MM-HH:MM/],
    [[{ ...good, on_conflict: "maybe" }], /jobs\.0\.on_conflict/],
    [[{ ...good, source: [] }], /jobs\.0\.source/],
    [
      [
        { ...good, name: "n" },
        { ...good, name: "n" },
      ],
      /two jobs are called n/,
    ],
    ["none", /jobs can't be used/],
    [[], /has no jobs that are enabled/],
  ];
  for (const [jobs, text] of wrong)
    await assert.rejects(
      run(configured(jobs as object[])),
      (e: UsageError) => e.exitCode === 2 && text.test(e.message),
      String(text),
    );
  await assert.rejects(
    run(configured([{ ...good, name: "n" }]), { names: ["m"] }),
    /there is no job m[\s\S]*choose one of: n/,
  );
});

/** Flags of mirror that are none of a job's: settings, output, and other names of the same. */
const NOT_IN_JOBS =
  "sources src tgt tgt-type target-path dry-run max-concurrent-downloads retry-attempts timeout-seconds limit-rate bandwidth report job config log-level log-format progress no-progress json quiet verbose no-color api-key explain delete-grace-days s3-endpoint s3-region s3-addressing-style s3-anonymous";

test("whatever mirror can be told, a job can be told, and a flag that is a job's own is refused without a source", async () => {
  const { program } = await import("../src/cli/program.ts");
  const { jobSchema } = await import("../src/config/jobs.ts");
  const flags = program(() => undefined)
    .commands.find((command) => command.name() === "mirror")
    ?.options.map((option) => option.long?.slice(2) ?? "");
  const keys = new Set(
    Object.keys(jobSchema.shape).map((key) =>
      key.replaceAll("_", "-").replace(/^(subdir|platform|environment)s$/, "$1"),
    ),
  );
  const lacking = flags?.filter((flag) => !keys.has(flag) && !NOT_IN_JOBS.split(" ").includes(flag));
  assert.deepEqual(lacking, []);
  const source = temporary();
  written(source, [a]);
  const config = configured([{ source, target: join(temporary(), "t") }]);
  const { code, err } = await start(["-c", config, "--with-deps", "conda-forge"]).ended;
  assert.equal(code, 2);
  assert.match(err, /--with-deps\n.*the jobs of the configuration file are run\n.*with_deps into the jobs/);
  for (const [flags, text] of [
    [["--on-conflict", "error"], /--on-conflict\n.*\n.*on_conflict into the jobs/],
    [["--api-key", "k"], /--api-key\n.*\n.*in the environment/],
  ] as const) {
    const ended = await start(["-c", config, ...flags]).ended;
    assert.equal(ended.code, 2);
    assert.match(ended.err, text);
  }
});

test("a job takes what its packages need from its own channel, as --with-deps without a value does", async () => {
  const [needs, needed, other] = [
    buildConda({ name: "needs", depends: ["needed"] }),
    buildConda({ name: "needed" }),
    buildConda({ name: "other" }),
  ];
  const upstream = await channelOf([needs, needed, other]);
  const target = temporary();
  const job = { source: upstream, src_type: "channel", include: "needs", platforms: "linux-64", target };
  const { exitCode } = await run(configured([{ ...job, with_deps: true }]));
  assert.equal(exitCode, 0);
  assert.deepEqual(listed(target, "noarch"), [needed.fileName, needs.fileName]);
  const alone = temporary();
  await run(configured([{ ...job, target: alone, with_deps: false }]));
  assert.deepEqual(listed(alone, "noarch"), [needs.fileName]);
  await assert.rejects(run(configured([{ ...job, with_deps: 3 }])), /neither true, false nor a channel/);
});

test("two runs of one file never meet: the later one ends at once in 4, and leaves the report to the other", async () => {
  // A server that answers when the test lets it.
  const { promise: asked, resolve: onAsked } = Promise.withResolvers<void>();
  const { promise: free, resolve: release } = Promise.withResolvers<void>();
  const server = createServer(async (request, response) => {
    if (request.url !== `/${a.fileName}`) return response.writeHead(404).end();
    onAsked();
    await free;
    return response.writeHead(200, { "content-length": a.bytes.length }).end(a.bytes);
  });
  const url = `${await listening(server)}/${a.fileName}`;
  const config = configured([{ source: url, target: join(temporary(), "t") }]);
  const report = join(temporary(), "report.json");
  const first = run(config);
  await asked;
  const second = await start(["--config", config, "--report", report, "--json"]).ended;
  assert.equal(second.code, 4, second.err);
  assert.equal((JSON.parse(second.out) as { error: { code: string } }).error.code, "BUSY");
  assert.match(second.err, /another run of this file is still at work/);
  assert.ok(!existsSync(report));
  await assert.rejects(run(config), (e: TargetError) => e.code === "BUSY" && e.exitCode === 4);
  // Another file's jobs are no hindrance.
  const source = temporary();
  written(source, [a]);
  assert.equal((await run(configured([{ source, target: join(temporary(), "t") }]))).exitCode, 0);
  release();
  assert.equal((await first).exitCode, 0);
  assert.equal((await run(config)).exitCode, 0);
});

/** A clock that stands still until it is moved on. */
function handClock(start: string) {
  let now = Date.parse(start);
  const sleeping = new Set<{ until: number; wake: () => void }>();
  const clock: Clock = {
    now: () => now,
    random: () => 0.5,
    sleep: (ms, signal) =>
      new Promise<void>((resolve, reject) => {
        const one = { until: now + ms, wake: resolve };
        sleeping.add(one);
        signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
        if (signal.aborted) reject(new Error("aborted"));
      }),
  };
  return {
    clock,
    to(time: string) {
      now = Date.parse(time);
      for (const one of sleeping) if (one.until <= now && sleeping.delete(one)) one.wake();
    },
  };
}

test("in its quiet hours a job does not begin, and one that runs into them stops with what it has", async () => {
  const packages = [a, b, c];
  const server = await fileServer(Object.fromEntries(packages.map((p) => [p.fileName, p.bytes])));
  const target = join(temporary(), "t");
  const job = { source: packages.map((p) => `${server.url}/${p.fileName}`), target, quiet_hours: "08:00-18:00 UTC" };
  const config = configured([job], { max_concurrent_downloads: 1 });
  const early = await run(config, { clock: handClock("2026-03-04T12:00:00Z").clock });
  assert.deepEqual([early.exitCode, early.jobs.map((j) => j.status), server.requests.length], [0, ["quiet"], 0]);
  assert.deepEqual(reportSchema.parse(early.report), early.report);

  const hand = handClock("2026-03-04T07:58:00Z");
  const stopped = await run(config, {
    clock: hand.clock,
    onEvent: (e) => {
      if (e.type === "finished" && e.result.outcome === "added") hand.to("2026-03-04T08:00:01Z");
    },
  });
  assert.deepEqual([stopped.exitCode, stopped.jobs.map((j) => j.status)], [0, ["stopped"]]);
  const got = listed(target, "noarch").length;
  assert.ok(got >= 1 && got < 3, String(got));
  const next = await run(config, { clock: handClock("2026-03-04T18:00:00Z").clock });
  assert.deepEqual([next.jobs[0]?.status, next.jobs[0]?.report?.added], ["done", 3 - got]);
});

test("an interruption ends the job that runs, begins no other, and is told as such", async () => {
  const source = temporary();
  written(source, [a]);
  const jobs = [1, 2].map((n) => ({ name: String(n), source, target: join(temporary(), "t") }));
  const stop = new AbortController();
  const ended = await run(configured(jobs), {
    signal: stop.signal,
    onEvent: (e) => e.type === "finished" && stop.abort(),
  });
  assert.deepEqual(
    [ended.exitCode, ended.jobs.map((j) => [j.status, j.exitCode])],
    [
      130,
      [
        ["interrupted", 130],
        ["not begun", 130],
      ],
    ],
  );
});

test("the command runs the jobs, tells of each, and leaves one report", async () => {
  const source = temporary();
  written(source, [a]);
  const cwd = temporary();
  const config = configured([
    { name: "good", source, target: "channel" },
    { name: "bad", source: "./nowhere", target: "channel" },
  ]);
  const { code, out, err } = await start(["-c", config, "--report", "report.json"], cwd).ended;
  assert.equal(code, 1, err);
  assert.match(out, /^good: 1 added; .*\nbad: 0 added, 1 failed .*\(failed\)\n$/);
  assert.match(err, /nowhere/);
  const report = reportSchema.parse(JSON.parse(readFileSync(join(cwd, "report.json"), "utf8")));
  assert.deepEqual(
    report.jobs.map((j) => [j.name, j.status, j.exitCode, j.added]),
    [
      ["good", "done", 0, 1],
      ["bad", "failed", 3, 0],
    ],
  );
  assert.equal(report.jobs[1]?.failures[0]?.code, "NOT_FOUND");
  assert.deepEqual(readdirSync(cwd).sort(), ["channel", "report.json"]);
  const one = await start(["-c", config, "--job", "good", "--json"], cwd).ended;
  assert.equal(one.code, 0);
  assert.deepEqual(
    reportSchema.parse(JSON.parse(one.out)).jobs.map((j) => j.kept),
    [1],
  );
  const unwritable = await start(["-c", config, "--job", "good", "--json", "--report", "no/report.json"], cwd).ended;
  assert.deepEqual([unwritable.code, JSON.parse(unwritable.out).error.code], [3, "UNWRITABLE"]);
  const dry = await start(["-c", config, "--job", "good", "--dry-run"], cwd).ended;
  assert.match(dry.out, /^good: keep .*\nplan: 1 keep/);
  const planned = await start(["-c", config, "--dry-run", "--json"], cwd).ended;
  assert.deepEqual(
    reportSchema.parse(JSON.parse(planned.out)).jobs.map((j) => j.plan?.map((s) => [s.do, s.fileName, s.subdir])),
    [[["keep", a.fileName, "noarch"]], []],
  );
});

test("--job where no jobs are run is wrong usage", async () => {
  const cwd = temporary();
  const source = temporary();
  written(source, [a]);
  const config = configured([{ name: "good", source, target: "channel" }]);
  const cases: [string[], RegExp][] = [
    [[source, "--tgt", "channel", "--job", "good"], /a source is given beside it/],
    [[source, "--tgt", "channel", "--job", "good", "-c", config], /a source is given beside it/],
    [["--tgt", "channel", "--job", "good", "-c", config], /a target is given beside it/],
    [["--job", "good"], /configuration file, and none is given/],
  ];
  for (const [args, why] of cases) {
    const { code, err } = await start(args, cwd).ended;
    assert.equal(code, 2, err);
    assert.match(err, /--job good/);
    assert.match(err, why);
  }
  assert.deepEqual(readdirSync(cwd), []);
});

test("--report tells of a run without jobs too, also of one that could not begin, and no secret", async () => {
  const source = temporary();
  written(source, [a]);
  const cwd = temporary();
  const read = () => reportSchema.parse(JSON.parse(readFileSync(join(cwd, "r.json"), "utf8")));
  assert.equal((await start([source, "--tgt", "t", "--report", "r.json"], cwd).ended).code, 0);
  assert.deepEqual(
    read().jobs.map((j) => [j.name, j.status, j.added, j.targets.length]),
    [["mirror", "done", 1, 1]],
  );
  assert.equal((await start([source, "--tgt", "t", "--src-type", "x", "--report", "r.json"], cwd).ended).code, 2);
  assert.deepEqual([read().exitCode, read().jobs[0]?.error?.code], [2, "BAD_SOURCE"]);
  const server = await fileServer();
  const url = `${server.url.replace("//", "//me:s3cret@")}/t/s3cret/noarch/gone-1-0.conda?sig=s3cret`;
  assert.equal((await start([url, "--tgt", "t", "--report", "r.json", "--retry-attempts", "0"], cwd).ended).code, 1);
  assert.equal(read().jobs[0]?.failures.length, 1);
  assert.ok(!readFileSync(join(cwd, "r.json"), "utf8").includes("s3cret"));
  const nowhere = await start([source, "--tgt", "t", "--report", "no/such/folder/r.json"], cwd).ended;
  assert.deepEqual([nowhere.code, /the report could not be written/.test(nowhere.err)], [3, true]);
});

test("the published schema of reports is the one they are made by", async () => {
  const { reportJsonSchema } = await import("../src/main.ts");
  const published = JSON.parse(readFileSync(new URL("../schema/report.schema.json", import.meta.url), "utf8"));
  assert.deepEqual(published, JSON.parse(JSON.stringify(reportJsonSchema())));
});
