import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { type MirrorOptions, mirror } from "../src/main.ts";
import { takeFlock } from "../src/target/flock.ts";
import { buildConda, buildTarBz2, type TarEntry } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { asked } from "./support/client.ts";
import { temporary, written } from "./support/folders.ts";
import { fixtures, needs, python } from "./support/needs.ts";

const run = promisify(execFile);
const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;
const env = { PATH: process.env["PATH"] };

const intoCache = (cache: string, sources: string[], more: Partial<MirrorOptions> = {}) =>
  mirror({ sources, target: cache, targetType: "cache", env, ...more });

/** What a client could take for entries: all names that are not hidden. */
const entries = (cache: string) => readdirSync(cache).filter((n) => !n.startsWith(".") && n !== "CACHEDIR.TAG");
const lockOf = (cache: string, name: string) => readFileSync(join(cache, `${name}.lock`)).toString("hex");
const revision = (n: number) => n.toString(16).padStart(16, "0");

/** The same package with other content. */
const variants = ["one", "two"].map((content) => buildConda({ name: "a", files: { f: content } }));
const [one, two] = variants as [(typeof variants)[0], (typeof variants)[0]];

interface Installed {
  readonly channel: string;
  readonly cache: string;
  readonly same: boolean;
  readonly listed: boolean;
}

/** Installs each package of a channel with rattler, from the channel, which fills a cache, and from the other cache alone. */
async function installed(channel: string, cache: string, filled: string): Promise<[string, Installed][]> {
  const stdout = await asked("rattler_cache.py", () => [channel, cache, filled]);
  return Object.entries(JSON.parse(stdout) as Record<string, Installed>);
}

test("an entry is the unpacked package, with a lock file of 40 bytes, in a folder marked as a cache", async () => {
  const [source, cache] = [temporary(), join(temporary(), "new/pkgs")];
  const p = buildConda({ name: "Upper_Case", version: "1.0+local", files: { "bin/x": "x" } });
  const report = await intoCache(cache, written(source, [p]));
  assert.deepEqual([report.exitCode, report.added], [0, 1]);
  assert.deepEqual(entries(cache).sort(), ["upper_case-1.0+local-0", "upper_case-1.0+local-0.lock"]);
  assert.equal(readFileSync(join(cache, "upper_case-1.0+local-0/bin/x"), "utf8"), "x");
  assert.equal(lockOf(cache, "upper_case-1.0+local-0"), revision(1) + p.sha256);
  assert.match(readFileSync(join(cache, "CACHEDIR.TAG"), "latin1"), /^Signature: 8a477f597d28d172789f06886806bc55\n/);
  assert.ok(!existsSync(join(cache, ".meso-forge-mirror/incoming")), "nothing is left behind");
});

test("a folder with other things in it is not marked as a cache", async () => {
  const [source, cache] = [temporary(), temporary()];
  writeFileSync(join(cache, "thesis.txt"), "precious");
  await intoCache(cache, written(source, [one]));
  assert.ok(existsSync(join(cache, "a-1.0-0")));
  assert.ok(!existsSync(join(cache, "CACHEDIR.TAG")));
});

test("a repeated run fetches nothing, whatever hashes the source gives", async () => {
  const server = await fileServer({ [one.fileName]: one.bytes });
  const url = `${server.url}/${one.fileName}`;
  for (const source of [url, `${url}#${one.md5}`, `${url}#sha256:${one.sha256}`]) {
    const cache = temporary();
    assert.equal((await intoCache(cache, [source])).added, 1);
    const sent = server.sent.get(one.fileName);
    const again = await intoCache(cache, [source]);
    assert.deepEqual([again.added, again.kept], [0, 1]);
    assert.equal(server.sent.get(one.fileName), sent, source);
    const dry = await intoCache(cache, [source], { dryRun: true });
    assert.deepEqual(
      dry.plan?.map((s) => s.do),
      ["keep"],
    );
  }
});

test("another package of the same name, version and build is refused, skipped or put in its place, as asked", async () => {
  const [first, second, cache] = [temporary(), temporary(), temporary()];
  await intoCache(cache, written(first, [one]));
  const sources = written(second, [two]);
  const refused = await intoCache(cache, sources);
  assert.equal(refused.exitCode, 1);
  const [outcome] = refused.packages;
  assert.ok(outcome?.outcome === "failed" && outcome.error.code === "CONFLICT");
  assert.match(outcome.error.next, /--on-conflict/);
  assert.equal((await intoCache(cache, sources, { onConflict: "skip" })).skipped, 1);
  assert.equal(lockOf(cache, "a-1.0-0"), revision(1) + one.sha256);
  assert.equal((await intoCache(cache, sources, { onConflict: "replace" })).replaced, 1);
  assert.equal(readFileSync(join(cache, "a-1.0-0/f"), "utf8"), "two");
  assert.equal(lockOf(cache, "a-1.0-0"), revision(3) + two.sha256, "clients see that it changed");
  const server = await fileServer({ [one.fileName]: one.bytes });
  const promised = await intoCache(cache, [`${server.url}/${one.fileName}#sha256:${one.sha256}`]);
  assert.equal(promised.exitCode, 1);
});

test("entries that clients would fetch again are made anew: no hash, no lock file, no index.json, a lock file alone", async () => {
  const source = temporary();
  const sources = written(source, [one]);
  const name = "a-1.0-0";
  const broken: [string, (cache: string) => void, number][] = [
    ["hash unknown", (c) => writeFileSync(join(c, `${name}.lock`), Buffer.from(revision(7), "hex")), 9],
    ["empty lock", (c) => writeFileSync(join(c, `${name}.lock`), ""), 2],
    ["no lock", (c) => rmSync(join(c, `${name}.lock`)), 1],
    ["no index.json", (c) => rmSync(join(c, name, "info/index.json")), 3],
    ["folder gone", (c) => rmSync(join(c, name), { recursive: true }), 3],
  ];
  for (const [what, spoil, next] of broken) {
    const cache = temporary();
    await intoCache(cache, sources);
    writeFileSync(join(cache, name, "f"), "spoilt");
    spoil(cache);
    const again = await intoCache(cache, sources);
    assert.equal(again.added, 1, what);
    assert.equal(readFileSync(join(cache, name, "f"), "utf8"), "one", what);
    assert.equal(lockOf(cache, name), revision(next) + one.sha256, what);
  }
});

test("of a build in both formats the .conda is taken, as clients take it, in any order and again", async () => {
  const [source, cache] = [temporary(), temporary()];
  const spec = { name: "both", files: { f: "x" } };
  const twins = [buildTarBz2(spec), buildConda(spec)];
  const sources = written(source, twins);
  for (const order of [sources, [...sources].reverse()]) {
    const report = await intoCache(cache, order);
    assert.deepEqual([report.exitCode, report.skipped], [0, 1]);
    assert.equal(lockOf(cache, "both-1.0-0"), revision(1) + twins[1]?.sha256);
  }
  // Named with hashes and subdirs, as an index does, nothing is fetched at all.
  const channel = temporary();
  await mirror({ sources: [source], target: channel, env });
  const files = Object.fromEntries(
    ["repodata.json", ...twins.map((p) => p.fileName)].map((f) => [
      `noarch/${f}`,
      readFileSync(join(channel, "noarch", f)),
    ]),
  );
  const server = await fileServer(files);
  const report = await intoCache(
    cache,
    twins.map((p) => `${server.url}/noarch/${p.fileName}`),
  );
  assert.deepEqual([report.exitCode, report.kept], [0, 2]);
  assert.equal(server.sent.get(`noarch/${twins[0]?.fileName}`), undefined);
});

test("hostile packages are refused one by one, and leave nothing", async () => {
  const [source, cache] = [temporary(), temporary()];
  const hostile: TarEntry[][] = [
    [{ name: "../../evil", content: "x" }],
    [
      { name: "out", type: "2", link: "/tmp" },
      { name: "out/evil", content: "x" },
    ],
    [{ name: "h", type: "1", link: "../../../etc/passwd" }],
    [{ name: "zeros", content: Buffer.alloc(70 * 1024 * 1024) }],
    [{ name: "pipe", type: "6" }],
  ];
  written(source, [one, ...hostile.map((payload, i) => buildConda({ name: `bad${i}`, payload }))]);
  const report = await intoCache(cache, [source]);
  assert.deepEqual([report.exitCode, report.added, report.failed], [1, 1, hostile.length]);
  assert.deepEqual(entries(cache), ["a-1.0-0", "a-1.0-0.lock"]);
  assert.ok(!existsSync(join(cache, ".meso-forge-mirror/incoming")));
});

test("an installer that holds the cache's lock is waited for", async () => {
  const [source, cache] = [temporary(), temporary()];
  const never = new AbortController().signal;
  const held = await takeFlock(join(cache, ".cache.lock"), never, process.env);
  if (!held) throw new Error("flock, python3 or perl must be here");
  const messages: string[] = [];
  const report = await intoCache(cache, written(source, [one]), {
    onEvent(e) {
      if (e.type !== "warning") return;
      messages.push(e.message);
      assert.deepEqual(
        entries(cache).filter((n) => n.startsWith("a-")),
        [],
      );
      held.release();
    },
  });
  assert.equal(report.added, 1);
  assert.match(messages.join("\n"), /waiting for an installer/);
});

test("interrupted while it waits for the lock, a run leaves nothing", async () => {
  const [source, cache] = [temporary(), temporary()];
  const stop = new AbortController();
  const held = await takeFlock(join(cache, ".cache.lock"), new AbortController().signal, process.env);
  const onEvent: MirrorOptions["onEvent"] = (e) => {
    if (e.type === "warning") stop.abort();
  };
  const report = await intoCache(cache, written(source, [one]), { signal: stop.signal, onEvent });
  assert.equal(report.exitCode, 130);
  assert.deepEqual(
    entries(cache).filter((n) => n.startsWith("a-")),
    [],
  );
  assert.ok(!existsSync(join(cache, ".meso-forge-mirror/incoming")));
  held?.release();
});

test("cache: names the cache of this machine, alone and among other targets; no path is needed", async () => {
  const [source, home, channel] = [temporary(), temporary(), temporary()];
  const sources = written(source, [one]);
  const mine = { ...env, HOME: home, RATTLER_CACHE_DIR: join(home, "rattler") };
  const report = await mirror({ sources, target: [channel, "cache:"], env: mine });
  assert.deepEqual([report.exitCode, report.added], [0, 2]);
  assert.ok(existsSync(join(home, "rattler/pkgs/a-1.0-0/f")));
  assert.ok(existsSync(join(home, "rattler/CACHEDIR.TAG")));
  assert.ok(existsSync(join(channel, "noarch", one.fileName)));
  mkdirSync(join(home, ".cache/pixi"), { recursive: true });
  await run(process.execPath, [cli, "mirror", ...sources, "--tgt-type", "cache"], {
    env: { PATH: process.env["PATH"], HOME: home, NODE_NO_WARNINGS: "1" },
  });
  assert.ok(existsSync(join(home, ".cache/pixi/pkgs/a-1.0-0/f")));
});

test(
  "rattler installs from a cache we filled, with neither network nor files",
  needs(python, "py-rattler"),
  async () => {
    const [source, channel, cache, theirs] = [temporary(), temporary(), temporary(), temporary()];
    written(source, [
      buildConda({ name: "app", files: { "bin/app": "#!/bin/sh\n", "share/app.txt": "text" } }),
      buildTarBz2({ name: "lib", subdir: "linux-64", build: "h_1", files: { "lib/l": randomBytes(100_000) } }),
    ]);
    await mirror({ sources: [source], target: channel, env });
    await intoCache(cache, [source]);
    assert.deepEqual(
      (await installed(channel, cache, theirs))
        .map(([fileName, r]) => [fileName, r.channel, r.cache, r.same, r.listed])
        .sort(),
      [
        ["app-1.0-0.conda", "ok", "ok", true, true],
        ["lib-1.0-h_1.tar.bz2", "ok", "ok", true, true],
      ],
    );
  },
);

test(
  "every fixture that rattler installs from a channel, it installs from a cache we filled, alike",
  needs(join(fixtures, "packages"), "shared fixtures"),
  async (t) => {
    if (needs(python, "py-rattler").skip) return t.skip("py-rattler is not here");
    const [channel, cache] = [temporary(), temporary()];
    const python3 = buildConda({ name: "python", version: "3.11.0", subdir: "linux-64", files: { "bin/python": "" } });
    const sources = [join(fixtures, "packages"), ...written(temporary(), [python3])];
    await mirror({ sources, target: channel, env });
    await intoCache(cache, sources);
    const results = await installed(channel, cache, temporary());
    const can = results.filter(([, r]) => r.channel === "ok");
    assert.ok(can.length >= 37, JSON.stringify(results.filter(([, r]) => r.channel !== "ok")));
    for (const [fileName, r] of can) assert.deepEqual([r.cache, r.same, r.listed], ["ok", true, true], fileName);
  },
);

test("two runs that fill one cache at once both succeed, and every entry is whole", async () => {
  const [source, cache] = [temporary(), temporary()];
  const packages = Array.from({ length: 40 }, (_, i) =>
    buildConda({ name: `p${i}`, files: { f: randomBytes(50_000) } }),
  );
  const sources = written(source, packages);
  const args = [cli, "mirror", source, "--tgt-type", "cache", "--tgt", cache, "--json"];
  const both = await Promise.all([run(process.execPath, args), run(process.execPath, args)]);
  for (const { stdout } of both) {
    const report = JSON.parse(stdout) as { added: number; kept: number; failed: number };
    assert.deepEqual([report.added + report.kept, report.failed], [40, 0]);
  }
  for (const [i, p] of packages.entries()) {
    assert.match(lockOf(cache, `p${i}-1.0-0`), new RegExp(`^[0-9a-f]{15}[1-9]${p.sha256}$`));
    assert.equal(statSync(join(cache, `p${i}-1.0-0/f`)).size, 50_000);
  }
  assert.equal(sources.length, 40);
  assert.ok(!existsSync(join(cache, ".meso-forge-mirror/incoming")));
});

test("where nothing can lock the cache, runs that meet say so and still leave every entry whole", async () => {
  const [source, cache] = [temporary(), temporary()];
  const packages = Array.from({ length: 30 }, (_, i) => buildConda({ name: `p${i}`, files: { f: randomBytes(2000) } }));
  written(source, packages);
  const messages: string[] = [];
  const onEvent: MirrorOptions["onEvent"] = (e) => void (e.type === "warning" && messages.push(e.message));
  const bare = { env: { PATH: "/nowhere" }, onEvent };
  const both = await Promise.all([intoCache(cache, [source], bare), intoCache(cache, [source], bare)]);
  for (const report of both) assert.deepEqual([report.added + report.kept, report.failed], [30, 0]);
  assert.match(messages.join("\n"), /neither flock, python3 nor perl/);
  for (const [i, p] of packages.entries()) {
    assert.match(lockOf(cache, `p${i}-1.0-0`), new RegExp(`${p.sha256}$`));
    assert.equal(statSync(join(cache, `p${i}-1.0-0/f`)).size, 2000);
  }
});

test("killed while it unpacks, a run leaves nothing that a client takes for an entry; the next one clears up", async () => {
  const [source, cache] = [temporary(), temporary()];
  const files = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`d${i % 50}/f${i}`, `content ${i}`]));
  const big = buildConda({ name: "big", files });
  written(source, [one, big]);
  const incoming = join(cache, ".meso-forge-mirror/incoming");
  const partly = () => {
    const [mine] = existsSync(incoming) ? readdirSync(incoming) : [];
    const begun = mine === undefined ? [] : readdirSync(join(incoming, mine)).filter((n) => n.startsWith("entry-"));
    return begun.some((n) => existsSync(join(incoming, mine as string, n, "d10")));
  };
  const child = spawn(process.execPath, [cli, "mirror", source, "--tgt-type", "cache", "--tgt", cache, "-q"], {
    stdio: "ignore",
  });
  await new Promise<void>((resolve) => {
    child.on("exit", () => resolve());
    const watch = setInterval(() => {
      if (!partly()) return;
      clearInterval(watch);
      child.kill("SIGKILL");
    }, 1);
    child.on("exit", () => clearInterval(watch));
  });
  assert.equal(child.signalCode, "SIGKILL");
  assert.equal(readdirSync(incoming).length, 1, "it was killed on its way");
  for (const name of entries(cache).filter((n) => !n.endsWith(".lock"))) {
    assert.equal(name, "a-1.0-0");
    assert.equal(readFileSync(join(cache, name, "f"), "utf8"), "one");
  }
  const report = await intoCache(cache, [source]);
  assert.equal(report.exitCode, 0);
  assert.deepEqual(readdirSync(join(cache, "big-1.0-0")).length, 51);
  assert.ok(!existsSync(incoming));
});
