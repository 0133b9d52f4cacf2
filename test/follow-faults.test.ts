import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { indexChannel, type MirrorOptions } from "../src/main.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { type FileServer, fileServer, type Misdeed } from "./servers/file-server.ts";
import { folderServer } from "./servers/folder-server.ts";
import { answering } from "./support/client.ts";
import type { FaultPlan } from "./support/faults.ts";
import { temporary, visible } from "./support/folders.ts";
import { gistOf } from "./support/index-gist.ts";
import { needs, python } from "./support/needs.ts";
import { copyChannel, stateOf } from "./support/twin.ts";

const faults = new URL("support/faults.ts", import.meta.url).pathname;
const mirrorOnce = new URL("support/mirror-once.ts", import.meta.url).pathname;

/** Which of the points are tried: one in eight, or all (FAULTS=all), or the k-th of n shares (FAULTS=k/n) that together are all. */
const { share, of: SHARES } = shareOf(process.env["FAULTS"] ?? "1/8");

function shareOf(text: string): { share: number; of: number } {
  const [, k, n] = /^([1-9]\d*)\/([1-9]\d*)$/.exec(text === "all" ? "1/1" : text) ?? [];
  assert.ok(Number(k) <= Number(n), `FAULTS=${text} is neither "all" nor a share such as 3/8`);
  return { share: Number(k), of: Number(n) };
}

/** The points of a kind that are tried, counted from 1. Kinds begin at different ones, so that a share has some of each. */
function tried(count: number, kind: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1).filter((at) => (at + 3 * kind) % SHARES === share % SHARES);
}

/** Hundreds of processes start here: compiled code that they share halves the time. */
const compiled = temporary();

const lib = (version: string) => buildTarBz2({ name: "lib", version, subdir: "linux-64", files: { "lib/l": version } });
const app = (version: string) =>
  buildConda({
    name: "app",
    version,
    subdir: "linux-64",
    depends: [`lib ==${version}`, "data"],
    files: { "bin/a": version },
  });
const data = buildConda({ name: "data", files: { "share/d": "d" } });
const old = buildConda({ name: "old", files: { "share/o": "o" } });

/** The upstream channel before and after it changed: packages came, and others went. */
const before = [app("1.0"), lib("1.0"), data, old];
const later = [app("2.0"), lib("2.0"), data];
const INSTALLED = ["1.0", "2.0"].map((v) =>
  JSON.stringify([
    ["app", v],
    ["data", "1.0"],
    ["lib", v],
  ]),
);

function pathOf({ fileName }: BuiltPackage): string {
  return `${/^(data|old)-/.test(fileName) ? "noarch" : "linux-64"}/${fileName}`;
}

async function upstream(packages: readonly BuiltPackage[]): Promise<Map<string, Uint8Array>> {
  const channel = join(temporary(), "upstream");
  for (const p of packages) {
    mkdirSync(dirname(join(channel, pathOf(p))), { recursive: true });
    writeFileSync(join(channel, pathOf(p)), p.bytes);
  }
  await indexChannel({ channel, env: {}, threads: 1 });
  return new Map(Object.keys(visible(channel)).map((f) => [`up/${f}`, readFileSync(join(channel, f))]));
}

function serveUpstream(server: FileServer, files: ReadonlyMap<string, Uint8Array>): void {
  server.files.clear();
  for (const [path, bytes] of files) server.files.set(path, bytes);
}

/** Follows the upstream channel once, with a fault. Gives the exit code, null when it was killed. */
function follow(
  server: FileServer,
  target: string,
  plan: Partial<FaultPlan> = {},
): Promise<{ code: number | null; log: string[]; said: string; kill(): void }> {
  const options: MirrorOptions = {
    sources: [`${server.url}/up`],
    sourceType: "channel",
    target,
    // What fails once fails for good: repetitions would hide it.
    settings: { retry_attempts: 0, max_concurrent_downloads: 1, delete_grace_days: 0 },
    delete: true,
    maxDelete: "100%",
  };
  const log = join(temporary(), "log");
  writeFileSync(log, "");
  const fault: FaultPlan = { folder: target, at: 0, how: "error", log, ...plan };
  const args = ["--no-warnings", "--import", faults, mirrorOnce, JSON.stringify(options)];
  const env = { ...process.env, NODE_COMPILE_CACHE: compiled, FAULT: JSON.stringify(fault) };
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"], env });
  running = child.pid;
  let said = "";
  child.stderr.on("data", (d) => (said += d));
  return new Promise((resolve) =>
    child.on("close", (code) => {
      resolve({
        code,
        said,
        log: readFileSync(log, "utf8").split("\n").slice(0, -1),
        kill: () => child.kill("SIGKILL"),
      });
    }),
  );
}

/** The process that follows now. */
let running: number | undefined;

/** A client that solves and installs, asked again and again. */
function client(root: string): (target: string) => Promise<Record<string, unknown>> {
  const ask = answering("rattler_loop.py");
  const url = folderServer(root);
  return async (target) => {
    const found: Record<string, unknown> = {};
    for (const format of ["json", "zst", "shards"]) {
      const channel = `${await url}/${target.slice(root.length + 1)}`;
      found[format] = JSON.parse(await ask(JSON.stringify({ channel, subdir: "linux-64", format, specs: ["app"] })));
    }
    return found;
  };
}

/** States that clients have used and from which the next run came to the end: many faults leave the same. */
const held = new Set<string>();

/** Has the channel used as it is, then followed by a run that nothing hinders. */
async function usableThenDone(
  server: FileServer,
  target: string,
  use: (target: string) => Promise<Record<string, unknown>>,
  done: string,
): Promise<void> {
  const state = stateOf(target);
  if (held.has(state)) return;
  for (const [format, found] of Object.entries(await use(target)))
    assert.ok(INSTALLED.includes(JSON.stringify(found)), `at that moment, ${format}: ${JSON.stringify(found)}`);
  const { code, said } = await follow(server, target);
  assert.equal(code, 0, said);
  assert.equal(JSON.stringify([...gistOf(target)]), done);
  held.add(state);
}

test("a fault at any file operation or request of a run that follows a channel never breaks it for a client, and the next run finishes", {
  ...needs(python, "py-rattler"),
  ...(SHARES < 8 ? { timeout: 60 * 60_000 } : {}),
}, async (t) => {
  const root = temporary();
  const server = await fileServer();
  const [first, second] = [await upstream(before), await upstream(later)];
  const use = client(root);
  const base = join(root, "base");
  serveUpstream(server, first);
  assert.equal((await follow(server, base)).code, 0);
  serveUpstream(server, second);
  server.requests.length = 0;
  const clean = copyChannel(base, join(root, "clean"));
  const { code, said } = await follow(server, clean);
  assert.equal(code, 0, said);
  const requests = server.requests.length;
  const done = JSON.stringify([...gistOf(clean)]);
  const files = Object.keys(visible(clean)).filter((f) => /\.(conda|tar\.bz2)$/.test(f));
  assert.deepEqual(files.sort(), later.map(pathOf).sort());
  for (const found of Object.values(await use(clean))) assert.equal(JSON.stringify(found), INSTALLED[1]);
  let [n, points] = [0, 0];
  const failures: string[] = [];
  const attempt = async (what: string, work: (target: string) => Promise<unknown>): Promise<void> => {
    const target = copyChannel(base, join(root, `c${n++}`));
    try {
      await work(target);
      await usableThenDone(server, target, use, done);
    } catch (e) {
      failures.push(`${what}: ${(e as Error).message}`);
    }
    rmSync(target, { recursive: true });
  };
  const told = (what: string, tries: number, count: number) => {
    points += count;
    t.diagnostic(`${what}: ${tries} of ${count} points tried`);
  };
  for (const [kind, how] of (["kill", "error", "cut"] as const).entries()) {
    const { log } = await follow(server, copyChannel(base, join(root, `count-${how}`)), { how });
    assert.ok(log.length > 40, `${log.length} operations`);
    const tries = tried(log.length, kind);
    for (const at of tries) {
      await attempt(`${how} at ${at}, ${log[at - 1]}`, async (target) => {
        const ran = await follow(server, target, { at, how });
        // Some operations go side by side: of one run there may be one fewer than of another.
        if (how === "kill") assert.ok(ran.code === null || ran.log.length < at, "it was killed");
      });
    }
    told(`${how} at a file operation`, tries.length, log.length);
  }
  for (const [kind, how] of (["500", "cut", "kill"] as const).entries()) {
    const tries = tried(requests, kind);
    for (const at of tries) {
      await attempt(`${how} at request ${at}`, async (target) => {
        const from = server.requests.length;
        server.onRequest = (_, number): Misdeed | undefined => {
          if (number - from !== at) return undefined;
          if (how === "500") return { status: 500 };
          if (how === "kill") process.kill(running as number, "SIGKILL");
          return { cutAfter: 40 };
        };
        await follow(server, target);
        delete server.onRequest;
      });
    }
    told(`${how} at a request`, tries.length, requests);
  }
  t.diagnostic(`${n} of ${points} points tried, ${held.size} states of the channel`);
  assert.deepEqual(failures, []);
  assert.ok(n >= Math.floor(points / SHARES) - 6 && n > 0, `${n} of ${points} points`);
});
