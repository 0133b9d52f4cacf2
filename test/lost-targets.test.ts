import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { reportSchema } from "../src/config/report-schema.ts";
import { type MirrorError, type MirrorOptions, mirror, runJobs, type UsageError, watch } from "../src/main.ts";
import type { Clock } from "../src/transfer/retry.ts";
import { buildConda, zip } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { quetz } from "./servers/quetz.ts";
import { serviceServer } from "./servers/service.ts";
import { channelOf, filesOf } from "./support/channels.ts";
import { cliRun } from "./support/cli.ts";
import { listed, temporary, visible, written } from "./support/folders.ts";

const packages = ["a", "b", "c"].map((name) => buildConda({ name, subdir: "linux-64" }));
const names = packages.map((p) => p.fileName);
const serve = () => fileServer(Object.fromEntries(packages.map((p) => [p.fileName, p.bytes])));
const fetches = (server: { requests: { path: string }[] }) =>
  server.requests.filter((r) => r.path.endsWith(".conda")).length;
const keys = { S3_ACCESS_KEY_ID: "k", S3_SECRET_ACCESS_KEY: "s" };

/** A port where nobody listens, and that no server of another test is given. */
const deadPort = 1;

/** A channel with packages whose index of linux-64 can't be read. */
async function damaged(): Promise<string> {
  const channel = await channelOf(packages.slice(0, 1));
  for (const ext of ["", ".zst"]) writeFileSync(join(channel, `linux-64/repodata.json${ext}`), "no index");
  return channel;
}

function inTheWay(): string {
  const file = join(temporary(), "file");
  writeFileSync(file, "");
  return file;
}

/** Targets that can't be opened, listed or written to, and what the run of one alone ends with. */
const LOST: Record<string, () => string | Promise<string>> = {
  "a channel whose index is damaged": damaged,
  "a folder whose place a file has": inTheWay,
  "a folder that can't be made": () => "/proc/meso-forge-mirror/channel",
  "a bundle whose name a file has": () => {
    const file = join(temporary(), "channel.tar");
    writeFileSync(file, "no bundle");
    return file;
  },
  "a cache whose place a file has": () => `cache:${join(inTheWay(), "pkgs")}`,
  "a bucket whose server is down": () => "s3://bucket/channel",
  "a registry that is down": () => `oci://127.0.0.1:${deadPort}/org/channel`,
  "a service that is down": () => `quetz+http://key@127.0.0.1:${deadPort}/get/channel`,
};
const env = { ...keys, S3_ENDPOINT_URL: `http://127.0.0.1:${deadPort}`, S3_REGION: "us-east-1" };
const settings = { retry_attempts: 0 };

for (const [what, place] of Object.entries(LOST)) {
  const skip = what.includes("can't be made") && process.platform !== "linux";
  test(`${what} among several targets is told, and the others get theirs`, { skip }, async () => {
    const server = await serve();
    const [one, two, lost, HOME] = [temporary(), temporary(), await place(), temporary()];
    const sources = packages.map((p) => `${server.url}/${p.fileName}#sha256:${p.sha256}`);
    const alone = await mirror({ sources, target: lost, env: { ...env, HOME }, settings }).catch(
      (e) => e as MirrorError,
    );
    assert.ok(alone instanceof Error && alone.exitCode === 3, `alone it ends the run: ${JSON.stringify(alone)}`);
    assert.equal(fetches(server), 0);
    const told: MirrorError[] = [];
    const options: MirrorOptions = {
      sources,
      target: [one, lost, two],
      env: { ...env, HOME },
      settings,
      onEvent: (e) => void (e.type === "lost" && told.push(e.error)),
    };
    const planned = await mirror({ ...options, dryRun: true });
    // Whether a folder can be made, only making it tells.
    if (!what.includes("can't be made") && !what.includes("cache")) {
      assert.deepEqual([planned.exitCode, planned.targets.filter((t) => t.error).length], [1, 1]);
      assert.deepEqual(
        [...new Set(planned.plan?.map((s) => `${s.do} ${s.target}`))].sort(),
        [`add ${one}`, `add ${two}`].sort(),
      );
    }
    told.length = 0;
    const before = fetches(server);
    const report = await mirror(options);
    assert.deepEqual([report.exitCode, report.added, report.failed], [1, 6, 0], JSON.stringify(report));
    for (const channel of [one, two]) assert.deepEqual(listed(channel, "linux-64"), names);
    assert.equal(fetches(server) - before, 3);
    const errors = report.targets.flatMap((t) => t.error ?? []);
    assert.deepEqual(
      errors.map(({ code, what, why, next }) => ({ code, what, why, next })),
      [alone].map(({ code, what, why, next }) => ({ code, what, why, next })),
    );
    assert.deepEqual(told, errors);
    // What the others have, nobody needs.
    const again = await mirror(options);
    assert.deepEqual([again.exitCode, again.added, again.kept], [1, 0, 6]);
    assert.equal(fetches(server) - before, 3, "what only the lost one lacks is not fetched");
  });
}

test("credentials that one of several targets refuses keep no package from the others", async () => {
  const service = await serviceServer(quetz);
  const target = temporary();
  const sources = written(temporary(), packages);
  const options = { sources, env: service.expiredEnv, settings };
  const alone = await mirror({ ...options, target: service.target, targetType: service.type }).catch(
    (e) => e as MirrorError,
  );
  const report = await mirror({ ...options, target: [`${service.target.replace(/^http/, "quetz+http")}`, target] });
  assert.equal(alone.exitCode, 3);
  assert.equal(report.exitCode, 1, JSON.stringify(report));
  assert.deepEqual(listed(target, "linux-64"), names);
});

test("a target that is lost while channels are followed changes nothing, and the others follow", async () => {
  const [a, b, c] = packages as [(typeof packages)[0], (typeof packages)[0], (typeof packages)[0]];
  const noarch = ["n", "m"].map((name) => buildConda({ name }));
  const before = await channelOf([a, b, ...noarch]);
  const after = await fileServer(filesOf(await channelOf([b, c, noarch[0] as typeof a])));
  const targets = [temporary(), temporary(), temporary()];
  await mirror({ sources: [`file://${before}`], target: targets, env: {} });
  const lost = targets[1] as string;
  // The subdir that is looked at last, when what goes from the first is noted already.
  for (const ext of ["", ".zst"]) writeFileSync(join(lost, `noarch/repodata.json${ext}`), "no index");
  const was = visible(lost);
  const options = { sources: [`${after.url}/`], sourceType: "channel", delete: true, maxDelete: "100%", env: {} };
  const fetched = () => after.requests.filter((r) => r.path.endsWith(".conda")).length;
  const planned = await mirror({ ...options, target: targets, dryRun: true });
  assert.equal(planned.exitCode, 1);
  assert.ok(planned.plan?.length && planned.plan.every((s) => s.target !== lost), JSON.stringify(planned.plan));
  const report = await mirror({ ...options, target: targets });
  assert.deepEqual([report.exitCode, report.added, report.removed], [1, 2, 4], JSON.stringify(report.targets));
  assert.deepEqual(
    report.targets.map((t) => [t.removed, t.kept, t.error?.code]),
    [
      [2, 2, undefined],
      [0, 0, "BAD_INDEX"],
      [2, 2, undefined],
    ],
  );
  for (const target of [targets[0], targets[2]] as string[]) {
    assert.deepEqual(listed(target, "linux-64"), [b.fileName, c.fileName]);
    assert.deepEqual(listed(target, "noarch"), [noarch[0]?.fileName]);
  }
  assert.deepEqual(visible(lost), was);
  const came = fetched();
  await mirror({ ...options, target: targets });
  assert.equal(fetched(), came, "what only the lost one lacks is not fetched");
  // Mended, it gets all that it missed.
  for (const ext of ["", ".zst"])
    writeFileSync(join(lost, `noarch/repodata.json${ext}`), readFileSync(join(before, `noarch/repodata.json${ext}`)));
  assert.equal((await mirror({ ...options, target: targets })).exitCode, 0);
  assert.deepEqual(listed(lost, "linux-64"), [b.fileName, c.fileName]);
});

const breaks = (times: number) => Array.from({ length: times }, () => ({ status: 0 }));

test("a target whose server goes down in the middle is not tried for every package, and the others get theirs", async () => {
  const service = await serviceServer(quetz);
  const server = await fileServer({});
  const many = Array.from({ length: 20 }, (_, i) => buildConda({ name: `p${i}`, files: { f: "x".repeat(70_000) } }));
  for (const p of many) server.files.set(p.fileName, p.bytes);
  const sources = many.map((p) => `${server.url}/${p.fileName}#sha256:${p.sha256}`);
  const [other, target] = [temporary(), service.target.replace(/^http/, "quetz+http")];
  const one = { sources, env: service.env, settings: { retry_attempts: 0, max_concurrent_downloads: 1 } };
  // Failures with successes between them say nothing of the next package.
  service.faults.push(...breaks(4), undefined as never, ...breaks(4), undefined as never);
  await mirror({ ...one, sources: sources.slice(0, 10), target: [other, target] }).then((report) =>
    assert.deepEqual([report.exitCode, report.failed, report.targets[1]?.error], [1, 8, undefined]),
  );
  assert.equal(service.uploads.length, 10);
  service.faults.push(...breaks(100));
  const report = await mirror({ ...one, target: [other, target] });
  assert.equal(service.uploads.length, 15);
  assert.deepEqual(
    report.targets.map((t) => [t.added, t.kept, t.failed, t.error?.code]),
    [
      [10, 10, 0, undefined],
      [0, 2, 4, "UNREACHABLE"],
    ],
  );
  assert.match(report.targets[1]?.error?.why ?? "", /^5 packages in a row could not be sent: /);
  assert.equal(report.exitCode, 1);
  assert.deepEqual(listed(other, "noarch"), many.map((p) => p.fileName).sort());
  // What only the one that is down lacks is fetched until that shows.
  const before = fetches(server);
  assert.equal((await mirror({ ...one, target: [other, target] })).exitCode, 1);
  assert.equal(fetches(server) - before, 5);
  // Alone it is tried for each.
  service.faults.length = 0;
  service.faults.push(...breaks(6));
  const alone = await mirror({ ...one, sources: sources.slice(0, 9), target });
  assert.deepEqual([alone.failed, alone.added], [6, 2]);
  service.faults.length = 0;
  assert.equal((await mirror({ ...one, target: [other, target] })).exitCode, 0);
  assert.equal(service.stored.size, 20);
});

test("a target whose index can't be written in one round is left out of the next ones, which the others get", async () => {
  const [one, two] = [temporary(), temporary()];
  mkdirSync(join(one, "linux-64"), { recursive: true });
  writeFileSync(join(one, "linux-64/repodata.json"), '{"packages":{}}');
  // A folder in the place of a file: met when the packages are there and the index is written.
  mkdirSync(join(one, "linux-64/repodata.json.zst"));
  const server = await fileServer(filesOf(await channelOf(packages)));
  const options = { sources: [`${server.url}/`], sourceType: "channel", env: {}, settings: { packages_per_round: 1 } };
  const report = await mirror({ ...options, target: [one, two] });
  assert.equal(report.exitCode, 1);
  assert.deepEqual(listed(two, "linux-64"), names);
  const [lost, whole] = report.targets;
  assert.deepEqual([lost?.added, whole?.added, lost?.error?.family, whole?.error], [1, 3, "target", undefined]);
});

test("wrong usage of one of several targets ends the run before anything is done", async () => {
  const sources = written(temporary(), packages);
  const one = temporary();
  const bundle = join(temporary(), "channel.tar");
  const cases: [string, Partial<MirrorOptions>][] = [
    ["s3://", {}],
    ["oci://host", {}],
    ["https://prefix.dev/channel", {}],
    [`quetz+http://key@127.0.0.1:${deadPort}/get/channel`, { delete: true }],
    [`cache:${temporary()}`, { delete: true }],
    [`conda-pkgs:${temporary()}`, { delete: true }],
    [bundle, { delete: true, keepRemoved: true }],
    [inTheWay(), { sinceManifest: "manifest.json" }],
  ];
  for (const [wrong, more] of cases) {
    const ended = mirror({ sources, target: [one, wrong], env: { HOME: temporary() }, settings, ...more });
    await assert.rejects(ended, (e: UsageError) => e.exitCode === 2, wrong);
    assert.deepEqual(visible(one), {});
  }
});

test("--delete for a target that can't follow is refused, also where it is named by its type alone", async () => {
  const sources = written(temporary(), packages);
  for (const targetType of ["cache", "conda-pkgs"]) {
    const ended = mirror({ sources, target: [], targetType, env: { HOME: temporary() }, delete: true });
    await assert.rejects(ended, (e: UsageError) => e.exitCode === 2 && e.what.includes(`${targetType} can't follow`));
  }
});

test("where every target is lost each is told, and the exit code says why", async () => {
  const sources = written(temporary(), packages);
  const options = { sources, env: { HOME: temporary() }, settings };
  const [file, index] = [inTheWay(), await damaged()];
  for (const dryRun of [false, true]) {
    const report = await mirror({ ...options, target: [file, index], dryRun });
    assert.equal(report.exitCode, 3);
    assert.deepEqual(
      report.targets.map((t) => t.error?.code),
      ["BAD_INDEX", "UNWRITABLE"],
    );
  }
  // Twice the same is one target.
  await assert.rejects(mirror({ ...options, target: [file, file] }), (e: MirrorError) => e.exitCode === 3);
});

test("an archive is read where another target has room for what is unpacked on the way", {
  skip: process.platform !== "linux",
}, async () => {
  const target = temporary();
  const archive = join(temporary(), "packages.zip");
  const inner = zip(packages.map((p) => ({ name: p.fileName, content: p.bytes, method: 8 })));
  writeFileSync(archive, zip([{ name: "inner.zip", content: inner, method: 8 }]));
  const report = await mirror({
    sources: [archive],
    target: ["/proc/meso-forge-mirror/channel", target],
    env: {},
    settings,
  });
  assert.deepEqual([report.exitCode, report.added], [1, 3], JSON.stringify(report));
});

test("the log, the summary and the document of a run tell which target was lost, and the exit code is 1", async () => {
  const [source, one] = [temporary(), temporary()];
  written(source, packages);
  const lost = await damaged();
  const args = ["mirror", source, "--tgt", one, "--tgt", lost, "--retry-attempts", "0"];
  for (const dry of [["--dry-run"], []]) {
    const text = await cliRun([...args, ...dry]);
    assert.equal(text.code, 1);
    assert.equal(text.err.split(`${lost}: linux-64/repodata.json can't be read`).length, 2, text.err);
    if (dry.length === 0) assert.match(text.out, /\n {2}3 added → .*\n {2}0 added → .*, incomplete\n/);
    const json = await cliRun([...args, ...dry, "--json"]);
    assert.equal(json.code, 1);
    const { targets, exitCode } = JSON.parse(json.out) as { targets: { error?: object }[]; exitCode: number };
    assert.equal(exitCode, 1);
    assert.deepEqual(Object.keys(targets[1]?.error ?? {}), ["code", "what", "why", "next"]);
  }
});

test("jobs and watch go on with the targets that are left, and tell the lost one each time", async () => {
  const [source, one] = [temporary(), temporary()];
  written(source, packages);
  const lost = await damaged();
  const config = join(temporary(), "jobs.json");
  writeFileSync(config, JSON.stringify({ jobs: [{ name: "three places", source, target: [one, lost] }] }));
  const ended = await runJobs({ config, env: { XDG_STATE_HOME: temporary() } });
  assert.deepEqual([ended.exitCode, ended.jobs[0]?.status, ended.jobs[0]?.report?.added], [1, "failed", 3]);
  assert.equal(reportSchema.parse(ended.report).jobs[0]?.targets[1]?.error?.code, "BAD_INDEX");
  const rounds: string[] = [];
  const over = new AbortController();
  const clock: Clock = { now: () => 0, random: () => 0, sleep: async () => undefined };
  const onRound: Parameters<typeof watch>[0]["onRound"] = (round) => {
    rounds.push("report" in round ? `${round.report.kept} kept, ${round.report.targets[1]?.error?.code}` : "an error");
    if (rounds.length === 2) over.abort();
  };
  await watch({ sources: [source], target: [one, lost], env: {}, clock, intervalMs: 1, signal: over.signal, onRound });
  assert.deepEqual(rounds, ["3 kept, BAD_INDEX", "3 kept, BAD_INDEX"]);
});

test("a job that its quiet hours stop does not end well when a target was lost", async () => {
  const source = temporary();
  written(source, packages);
  const lost = await damaged();
  const config = join(temporary(), "jobs.json");
  const job = { name: "night", source, target: [temporary(), lost], quiet_hours: "06:00-22:00" };
  writeFileSync(config, JSON.stringify({ jobs: [job] }));
  // It is night until the target is lost.
  let time = new Date(2026, 10, 25, 2, 0).getTime();
  const morning = new Date(2026, 10, 25, 7, 0).getTime();
  const { promise: dawn, resolve: dawns } = Promise.withResolvers<void>();
  const clock: Clock = { now: () => time, random: () => 0, sleep: () => dawn };
  const ended = await runJobs({
    config,
    clock,
    env: { XDG_STATE_HOME: temporary() },
    onEvent: (e) => {
      if (e.type !== "lost") return;
      time = morning;
      dawns();
    },
  });
  assert.deepEqual([ended.jobs[0]?.status, ended.exitCode], ["stopped", 1]);
});
