import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listed, temporary, written } from "./support/folders.ts";

const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

function start(args: readonly string[], options: { env?: Record<string, string>; cwd?: string } = {}) {
  const child = spawn(process.execPath, [cli, ...args], {
    cwd: options.cwd ?? temporary(),
    env: { PATH: process.env["PATH"] ?? "", NODE_NO_WARNINGS: "1", ...options.env },
  });
  const ended = new Promise<Ended>((resolve) => {
    const [out, err]: [string[], string[]] = [[], []];
    child.stdout.on("data", (d) => out.push(String(d)));
    child.stderr.on("data", (d) => err.push(String(d)));
    child.on("close", (code) => resolve({ code, out: out.join(""), err: err.join("") }));
  });
  return { child, ended };
}
const cliRun = (args: readonly string[], options?: Parameters<typeof start>[1]) => start(args, options).ended;
const a = buildConda({ name: "a" });

test("every spelling of sources and targets works, the Rust tool's too", async () => {
  const source = temporary();
  const [path] = written(source, [a]) as [string];
  const server = await fileServer({ [a.fileName]: a.bytes });
  const url = `${server.url}/${a.fileName}`;
  const spellings: string[][] = [
    [path, "--target-path", "T"],
    ["--sources", `${path},${source}`, "--target-type", "local", "--target-path", "T"],
    ["-s", path, "-s", source, "--tgt", "T"],
    ["--src-type", "local", "--src", path, "--tgt-type", "local", "--tgt", "T"],
    ["--src-type", "url", "--src", url, "--tgt-type", "file", "--tgt", "T"],
    [url, "--tgt", "file://CWD/T"],
    [join(source, "*.conda"), "--tgt", "T"],
  ];
  for (const args of spellings) {
    const cwd = temporary();
    const ended = await cliRun(["mirror", ...args.map((x) => x.replace("CWD", cwd))], { cwd });
    assert.equal(ended.code, 0, `${args}: ${ended.err}`);
    assert.deepEqual(listed(join(cwd, "T"), "noarch"), [a.fileName]);
    assert.match(ended.out, /^1 added(, 1 kept)?; .* in .* → /, String(args));
  }
});

test("a source with a comma in its address is one source where --src or its place names it, --sources splits it", async () => {
  const folder = join(temporary(), "a,b");
  mkdirSync(folder);
  const [path] = written(folder, [a]) as [string];
  const server = await fileServer({ [`x,y/${a.fileName}`]: a.bytes });
  const url = `${server.url}/x,y/${a.fileName}`;
  for (const args of [["--src", path], ["--src", url], ["--src", path, "--src", url], [url]]) {
    const cwd = temporary();
    const ended = await cliRun(["mirror", ...args, "--tgt", "T"], { cwd });
    assert.equal(ended.code, 0, `${args}: ${ended.err}`);
    assert.deepEqual(listed(join(cwd, "T"), "noarch"), [a.fileName]);
  }
  for (const flag of ["--sources", "-s"]) {
    const ended = await cliRun(["mirror", flag, path, "--tgt", "T"]);
    assert.notEqual(ended.code, 0);
    assert.match(ended.err, /\/a: /);
  }
});

test("wrong usage is exit 2, in three parts, with the choices", async () => {
  const wrong: [string[], RegExp][] = [
    [["mirror", "x.conda"], /no target[\s\S]*--target-path/],
    [["mirror", "--tgt", "t"], /no source/],
    [["mirror", "x", "--tgt", "t", "--tgt-type", "s4"], /no such target type[\s\S]*local/],
    [["mirror", "x", "--tgt", "ftp://b/p"], /not a target this version can write/],
    [
      ["mirror", "x", "--tgt", "t", "--src-type", "github"],
      /nothing at GitHub is named so[\s\S]*owner\/repo#ARTIFACT_ID/,
    ],
    [["mirror", "x", "--tgt", "t", "--on-conflict", "maybe"], /error, skip, replace/],
    [["mirror", "--tgt", "t", "--no-such-flag"], /unknown option/],
    [["mirror", "https://e.com/a-1-0.conda#12", "--tgt", "t"], /neither an MD5/],
    [["mirror", "https://e.com/readme", "--src-type", "url", "--tgt", "t"], /ends in neither/],
    [["mirror", "x", "--tgt", "t", "--mirror-of", "nonsense"], /URL=URL/],
    [["mirror", "x", "--tgt", "t", "-c", "nowhere.json"], /nowhere\.json/],
    [["completion", "tcsh"], /bash, zsh, fish or powershell/],
    [["mirror", "x", "--tgt", "file://host/x"], /file:\/\/host\/x: names no file of this machine/],
    [["mirror", "x", "--tgt", "file://host/x.tar"], /names no file of this machine/],
    [["index", "file://host/x"], /names no file of this machine/],
  ];
  for (const [args, text] of wrong) {
    const { code, err, out } = await cliRun(args);
    assert.equal(code, 2, `${args}: ${err}`);
    assert.match(err, text);
    assert.match(err, /^error: .+\n {2}.+\n {2}.+\n$/, String(args));
    assert.equal(out, "");
  }
});

test("--json prints exactly one document on stdout, whatever happens", async () => {
  const [path] = written(temporary(), [a]) as [string];
  const good = await cliRun(["mirror", path, "--tgt", "t", "--json"]);
  assert.equal((JSON.parse(good.out) as { added: number }).added, 1);
  const dry = await cliRun(["mirror", path, "--tgt", "t", "--json", "--dry-run"]);
  assert.equal((JSON.parse(dry.out) as { plan: { do: string }[] }).plan[0]?.do, "add");
  const bad = await cliRun(["mirror", "./nowhere", "--tgt", "t", "--json"]);
  assert.deepEqual(
    [bad.code, (JSON.parse(bad.out) as { packages: { error: { code: string } }[] }).packages[0]?.error.code],
    [3, "NOT_FOUND"],
  );
  const usage = await cliRun(["mirror", path, "--json"]);
  assert.deepEqual([usage.code, (JSON.parse(usage.out) as { error: { code: string } }).error.code], [2, "NO_TARGET"]);
  for (const [args, what] of [
    [["mirror", path, "--json", "--bogus"], /unknown option '--bogus'/],
    [["index", "--json"], /missing required argument/],
    [["mirror", path, "--json", "--retry-attempts", "few"], /few/],
  ] as const) {
    const { code, out } = await cliRun(args);
    const { error, exitCode } = JSON.parse(out) as { error: Record<string, string>; exitCode: number };
    assert.deepEqual([code, exitCode, error["code"]], [2, 2, "BAD_FLAG"]);
    assert.match(error["what"] as string, what);
  }
});

test("a file that is not there is missed as a file, whatever else its name could mean", async () => {
  for (const name of ["gone-1-0.conda", "out/gone-1-0.conda", "out/noarch/gone-1-0.tar.bz2"]) {
    const { code, err } = await cliRun(["mirror", name, "--tgt", "t"]);
    assert.equal(code, 3);
    assert.match(err, /no such file or folder/);
  }
});

test("a package that could not be written is named, and what came before is in the index", async () => {
  const large = buildConda({ name: "large", files: { data: randomBytes(40_000) } });
  const [folder, cwd] = [temporary(), temporary()];
  written(folder, [a, large]);
  // Files of more than 16 KiB can't be written.
  const limited = spawn(
    "sh",
    ["-c", 'ulimit -f 32; exec "$@"', "sh", process.execPath, cli, "mirror", folder, "--tgt", "t"],
    {
      cwd,
      env: { PATH: process.env["PATH"] ?? "", NODE_NO_WARNINGS: "1" },
    },
  );
  const err: string[] = [];
  limited.stderr.on("data", (d) => err.push(String(d)));
  const code = await new Promise((done) => limited.on("close", done));
  assert.equal(code, 1);
  assert.match(err.join(""), /^error: large-1\.0-0\.conda\n.*EFBIG/);
  assert.deepEqual(listed(join(cwd, "t"), "noarch"), [a.fileName]);
});

test("what ended a run is told also where its report can't be written", async () => {
  const report = join(temporary(), "nowhere/report.json");
  const { code, err } = await cliRun(["mirror", "x", "--report", report]);
  assert.equal(code, 2);
  assert.match(err, /^error: no target\n/);
});

test("settings come from flag, environment, file and default, in this order of strength", async () => {
  const cwd = temporary();
  const [path] = written(cwd, [a]) as [string];
  const server = await fileServer();
  const url = `${server.url}/gone-1-0.conda`;
  const tries = async (config: string | undefined, env: Record<string, string>, flags: string[]) => {
    server.requests.length = 0;
    server.misdeeds.set("gone-1-0.conda", Array(20).fill({ status: 500, headers: { "retry-after": "0" } }));
    await cliRun(["mirror", url, "--tgt", "t", ...(config ? ["-c", config] : []), ...flags], { cwd, env });
    return server.requests.length - 1;
  };
  writeFileSync(join(cwd, "c.json"), '{"$schema":"x","_comment":"y","retry_attempts":0}');
  writeFileSync(join(cwd, "c.yaml"), "retry_attempts: 1\n");
  writeFileSync(join(cwd, "c.toml"), "retry_attempts = 2\n");
  assert.deepEqual(await Promise.resolve(tries("c.json", {}, [])), 0);
  assert.equal(await tries("c.yaml", {}, []), 1);
  assert.equal(await tries("c.toml", {}, []), 2);
  assert.equal(await tries("c.toml", { MESO_FORGE_RETRY_ATTEMPTS: "1" }, []), 1);
  assert.equal(await tries("c.toml", { MESO_FORGE_RETRY_ATTEMPTS: "1" }, ["--retry-attempts", "0"]), 0);
  writeFileSync(join(cwd, "bad.yaml"), "max_concurent_downloads: 3\n");
  const unknown = await cliRun(["mirror", path, "--tgt", "t", "-c", "bad.yaml"], { cwd });
  assert.equal(unknown.code, 2);
  assert.match(unknown.err, /unknown key max_concurent_downloads\n {2}did you mean max_concurrent_downloads/);
  writeFileSync(join(cwd, "type.json"), '{"retry_attempts":"3"}');
  assert.match(
    (await cliRun(["mirror", path, "--tgt", "t", "-c", "type.json"], { cwd })).err,
    /type\.json: retry_attempts can't be used/,
  );
});

test("init-config writes the defaults in each format, never a secret, and overwrites only with --force", async () => {
  const cwd = temporary();
  const env = { GITHUB_TOKEN: "ghp_secret" };
  for (const file of ["c.json", "c.yaml", "c.toml"]) {
    assert.equal((await cliRun(["init", "-o", file], { cwd, env })).code, 0);
    const text = readFileSync(join(cwd, file), "utf8");
    assert.ok(
      text.includes("max_concurrent_downloads") && text.includes("$schema") && !text.includes("ghp_secret"),
      text,
    );
    assert.equal((await cliRun(["init-config", "-o", file], { cwd })).code, 2);
    assert.equal((await cliRun(["init-config", "-o", file, "--force"], { cwd })).code, 0);
    const [path] = written(temporary(), [a]) as [string];
    assert.equal((await cliRun(["mirror", path, "--tgt", "t", "-c", file], { cwd })).code, 0, file);
  }
  assert.equal((await cliRun(["init"], { cwd })).code, 0);
  const { $schema, ...settings } = JSON.parse(readFileSync(join(cwd, "meso-forge-mirror.json"), "utf8")) as Record<
    string,
    unknown
  >;
  assert.ok($schema);
  assert.deepEqual(settings, {
    max_concurrent_downloads: 5,
    retry_attempts: 3,
    timeout_seconds: 300,
    limit_rate: null,
    s3_region: null,
    s3_addressing_style: "auto",
    s3_anonymous: false,
    s3_endpoint: null,
    github_token: null,
    azure_devops_token: null,
    github_api_url: "https://api.github.com",
    azure_devops_url: "https://dev.azure.com",
    zstd_level: null,
    write_zst: true,
    write_bz2: false,
    write_shards: true,
    write_current_repodata: true,
    write_run_exports: true,
    write_channeldata: true,
    write_html: true,
    packages_per_round: 20_000,
    delete_grace_days: 7,
    channel_alias: "https://conda.anaconda.org",
    base_url: null,
    shard_grace_days: 7,
    lock_file: null,
    jobs: [],
  });
});

test("the published JSON Schema is that of the settings", async () => {
  const { configJsonSchema } = await import("../src/main.ts");
  const published = JSON.parse(readFileSync(new URL("../schema/config.schema.json", import.meta.url), "utf8"));
  assert.deepEqual(published, JSON.parse(JSON.stringify(configJsonSchema())));
});

test("log level and format follow flags, MESO_FORGE_LOG and RUST_LOG; JSON lines are JSON", async () => {
  const [path] = written(temporary(), [a]) as [string];
  const debug = async (args: string[], env: Record<string, string>) =>
    /added noarch/.test((await cliRun(["mirror", path, "--tgt", "t", ...args], { env })).err);
  assert.deepEqual(
    [
      await debug([], {}),
      await debug(["-v"], {}),
      await debug([], { MESO_FORGE_LOG: "debug" }),
      await debug([], { RUST_LOG: "meso_forge_mirror=debug,info" }),
      await debug(["--log-level", "info"], { RUST_LOG: "debug" }),
    ],
    [false, true, true, true, false],
  );
  const { err } = await cliRun(["mirror", path, "nowhere", "--tgt", "t", "--log-format", "json", "-v"]);
  const lines = err
    .trim()
    .split("\n")
    .map((l) => JSON.parse(l) as { level: string; msg: string; time: string; next?: string });
  assert.ok(
    lines.some((l) => l.level === "error" && l.next) && lines.every((l) => !Number.isNaN(Date.parse(l.time))),
    err,
  );
  // Also where the run could not begin.
  for (const format of [["--log-format", "json"], ["--log-format=json"]]) {
    const line = JSON.parse((await cliRun(["mirror", path, ...format])).err) as { level: string; msg: string };
    assert.deepEqual([line.level, line.msg], ["error", "no target"]);
  }
});

test("Ctrl-C indexes what is finished and ends in 130", async () => {
  const packages = Array.from({ length: 40 }, (_, i) => buildConda({ name: `i${i}` }));
  const server = await fileServer(Object.fromEntries(packages.map((p) => [p.fileName, p.bytes])));
  server.delay = 60;
  const cwd = temporary();
  const { child, ended } = start(
    ["mirror", ...packages.map((p) => `${server.url}/${p.fileName}`), "--tgt", "t", "--max-concurrent-downloads", "2"],
    { cwd },
  );
  const wait = setInterval(() => {
    if (server.requests.length <= 8) return;
    clearInterval(wait);
    child.kill("SIGINT");
  }, 10);
  const { code, out } = await ended;
  assert.equal(code, 130);
  const count = listed(join(cwd, "t"), "noarch").length;
  assert.ok(count > 2 && count < 40, String(count));
  assert.match(out, new RegExp(`^interrupted: ${count} added`));
  assert.equal(existsSync(join(cwd, "t/.meso-forge-mirror/incoming")), false);
});

test("a run goes on to its end when nobody reads its output any more", async () => {
  const source = temporary();
  const many = Array.from({ length: 60 }, (_, i) => buildConda({ name: `p${i}` }));
  written(source, many);
  for (const stream of ["stdout", "stderr"] as const) {
    const cwd = temporary();
    const { child, ended } = start(["mirror", source, "--tgt", "t", "-v", "--json"], { cwd });
    child[stream].destroy();
    const { code, err } = await ended;
    assert.equal(code, 0, err);
    assert.doesNotMatch(err, /EPIPE/);
    assert.equal(listed(join(cwd, "t"), "noarch").length, many.length);
    assert.equal(existsSync(join(cwd, "t/.meso-forge-mirror/incoming")), false);
  }
});

test("on a terminal bars are drawn, elsewhere they are not; --progress never is silent", async () => {
  const [path] = written(temporary(), [a]) as [string];
  assert.ok(!(await cliRun(["mirror", path, "--tgt", "t"])).err.includes("\x1b["));
  const { makeProgress } = await import("../src/cli/progress.ts");
  const { mock } = await import("node:test");
  mock.timers.enable({ apis: ["setInterval"] });
  const texts: Record<string, string> = {};
  for (const mode of ["bars", "lines", "off"] as const) {
    let text = "";
    let time = 0;
    const progress = makeProgress(mode, { columns: 100, write: (t) => (text += t) }, () => time);
    progress.event({ type: "planned", packages: 2, bytes: 4096, unknownSizes: 0 });
    progress.event({ type: "started", fileName: "a-1-0.conda" });
    progress.event({ type: "bytes", fileName: "a-1-0.conda", bytes: 1024, size: 2048 });
    time = 10_000;
    mock.timers.tick(10_000);
    progress.stop();
    texts[mode] = text;
  }
  mock.timers.reset();
  assert.match(texts["bars"] as string, /━{8}─{8} .*1\.0 KiB\/2\.0 KiB {2}a-1-0\.conda/);
  assert.equal(texts["lines"], "0/2 packages, 1.0 KiB/4.0 KiB, 102 B/s, 30 s left\n");
  assert.equal(texts["off"], "");
});

test("completion scripts name every command and flag", async () => {
  for (const shell of ["bash", "zsh", "fish", "powershell"]) {
    const { code, out } = await cliRun(["completion", shell]);
    assert.equal(code, 0);
    for (const word of ["mirror", "init-config", "on-conflict", "dry-run"])
      assert.ok(out.includes(word), `${shell}: ${word}`);
  }
});

test("index: exit codes, the one JSON document, failures in three parts, and switches for each file", async () => {
  const cwd = temporary();
  mkdirSync(join(cwd, "c/noarch"), { recursive: true });
  written(join(cwd, "c/noarch"), [a]);
  const fine = await cliRun(["index", "c", "--no-html", "--no-channeldata", "--bz2"], { cwd });
  assert.equal(fine.code, 0, fine.err);
  assert.match(fine.out, /^1 read; 1 packages in 1 subdirs, \d+ index files written in /);
  assert.deepEqual(
    readdirSync(join(cwd, "c/noarch")).filter((f) => /html|bz2/.test(f)),
    ["repodata.json.bz2"],
  );
  assert.deepEqual(
    readdirSync(join(cwd, "c")).filter((f) => /html|channeldata/.test(f)),
    [],
  );
  writeFileSync(join(cwd, "c/noarch/broken-1-0.conda"), "no package");
  const failed = await cliRun(["index", "c", "--json"], { cwd });
  assert.equal(failed.code, 1);
  assert.match(failed.err, /error: noarch\/broken-1-0.conda: not a conda package\n {2}its name says .conda/);
  const report = JSON.parse(failed.out) as Record<string, unknown>;
  assert.deepEqual([report["read"], report["kept"], report["exitCode"]], [1, 0, 1]);
  assert.equal((await cliRun(["index", "nowhere"], { cwd })).code, 3);
  assert.equal((await cliRun(["index"], { cwd })).code, 2);
  assert.equal((await cliRun(["index", "c", "--zstd-level", "77"], { cwd })).code, 2);
  const noPatch = await cliRun(["index", "c", "--patch", "nowhere"], { cwd });
  assert.equal(noPatch.code, 2);
  assert.match(noPatch.err, /--patch nowhere/);
});
