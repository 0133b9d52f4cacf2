import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buildConda } from "../test/packages/builder.ts";
import { largeIndex } from "./large-index.ts";
import { cache, ours, serve, span, type Timed, timed } from "./support.ts";

/**
 * Following a channel of 500,000 records over local HTTP, against JSON.parse of its index in the same run. Goals: nothing changed
 * 0.15 of its time and 120 MB; 100 packages added and 10 removed 2.5, all index files written, peak 1.5 × the raw index + 150 MB;
 * 50 rules over all records 1.0; of a sharded index 1.2 × the changed shards and their index. The 100 are real packages. The
 * others are records alone, which a run that finds them unchanged doesn't look behind; it would not for packages either.
 */
const RECORDS = Number(process.env["RECORDS"] ?? 500_000);
const RUNS = Number(process.env["RUNS"] ?? 3);
const subdir = "linux-64";
const made = join(cache, `large-${RECORDS}`);
const raw = largeIndex(made, subdir, RECORDS);
const here = join(cache, `channel-${process.pid}`);
const [upstream, target] = [join(here, "upstream"), join(here, "target")];

function node(script: string, ...args: string[]): unknown {
  const run = spawnSync(process.execPath, ["--no-warnings", join(import.meta.dirname, "clients", script), ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  if (run.status !== 0) throw new Error(run.stderr);
  return JSON.parse(run.stdout);
}

/** Changes a channel's index as its own tools would: additions and removals, zst and shards written. */
function change(channel: string, add: unknown[], remove: string[]): void {
  const file = join(here, "change.json");
  writeFileSync(file, JSON.stringify({ add, remove }));
  node("publish.ts", channel, subdir, file);
}

mkdirSync(here, { recursive: true });
for (const channel of [upstream, target]) {
  cpSync(join(made, subdir), join(channel, subdir), { recursive: true });
  change(channel, [], []);
}

/** Packages that nobody has yet, in the upstream channel's folder. */
function fresh(round: number): [fileName: string, record: object][] {
  return Array.from({ length: 100 }, (_, i) => {
    const p = buildConda({ name: `fresh-${round}-${i}`, subdir, build: "h0_0", files: { f: `${round} ${i}` } });
    writeFileSync(join(upstream, subdir, p.fileName), p.bytes);
    const facts = { md5: p.md5, sha256: p.sha256, size: p.bytes.length };
    const index = { build: "h0_0", build_number: 0, depends: [], license: "MIT", name: `fresh-${round}-${i}`, subdir };
    return [p.fileName, { ...index, timestamp: 1_700_000_000_000, version: "1.0", ...facts }];
  });
}

const sample = node("sample.ts", raw, String(10 * (2 * RUNS + 2))) as [string, unknown][];
const oldNames = sample.map(([fileName]) => fileName);
let round = 0;
function upstreamChanges(): void {
  change(upstream, fresh(round), oldNames.slice(round * 10, round * 10 + 10));
  round++;
}

/** The upstream channel without its shards, or with them: which form a client finds decides what it reads. */
function offer(shards: boolean): void {
  const [index, hidden] = ["repodata_shards.msgpack.zst", "hidden"].map((f) => join(upstream, subdir, f)) as [
    string,
    string,
  ];
  const [from, to] = shards ? [hidden, index] : [index, hidden];
  if (existsSync(from)) cpSync(from, to, { preserveTimestamps: true });
  if (!shards) rmSync(index, { force: true });
}

async function mirrored(url: string, ...flags: string[]): Promise<Timed> {
  const run = await ours([
    "mirror",
    url,
    "--src-type",
    "channel",
    "--tgt",
    target,
    "--subdir",
    subdir,
    "--delete",
    "-q",
    ...flags,
  ]);
  if (run.code !== 0) throw new Error(`mirror ended with ${run.code}`);
  return run;
}

const figures = { same: [] as Timed[], changed: [] as Timed[], parse: [] as number[] };
const server = await serve(upstream);
offer(false);
await mirrored(server.url);
for (let i = 0; i < RUNS; i++) {
  figures.same.push(await mirrored(server.url));
  offer(true);
  upstreamChanges();
  offer(false);
  figures.changed.push(await mirrored(server.url));
  const parse = node("parse.ts", join(target, subdir, "repodata.json")) as { milliseconds: number };
  figures.parse.push(parse.milliseconds / 1000);
}
server.stop();

// Fifty rules of the kinds that people write, over every record: what reading the index and choosing takes, in pairs with JSON.parse.
const choices = ["mixed", "names", "globs", "expressions"].map((kind) => {
  const ratios: number[] = [];
  let [chosen, peakMB] = [0, 0];
  for (let i = 0; i < RUNS; i++) {
    const parsed = node("parse.ts", raw) as { milliseconds: number };
    const run = node("choose.ts", raw, kind) as { milliseconds: number; chosen: number; peakMB: number };
    ratios.push(run.milliseconds / parsed.milliseconds);
    [chosen, peakMB] = [run.chosen, Math.max(peakMB, run.peakMB)];
  }
  return `50 rules, ${kind.padEnd(12)}  ratio ${span(ratios)} (goal 1.0), ${chosen} chosen, peak ${peakMB.toFixed(0)} MB`;
});

/** A server that counts, since bytes are what is asked about. */
let sent = 0;
const counting = createServer((request, response) => {
  const path = join(upstream, decodeURIComponent(request.url ?? ""));
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat?.isFile()) return void response.writeHead(404).end();
  const etag = `"${stat.size}-${stat.mtimeMs}"`;
  if (request.headers["if-none-match"] === etag) return void response.writeHead(304, { etag }).end();
  const bytes = readFileSync(path);
  if (!path.endsWith(".conda")) sent += bytes.length;
  response.writeHead(200, { etag, "content-length": bytes.length }).end(bytes);
});
await new Promise<void>((resolve) => counting.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(counting.address() as AddressInfo).port}`;
offer(true);
const whole = await mirrored(url);
const wholeBytes = sent;
upstreamChanges();
sent = 0;
const sharded = await mirrored(url);
const changedBytes = sent;
const shardIndex = statSync(join(upstream, subdir, "repodata_shards.msgpack.zst")).size;
counting.close();
counting.closeAllConnections();
const bare = await timed(process.execPath, ["-e", "0"]);
rmSync(here, { recursive: true, force: true });

const bytes = statSync(raw).size;
const seconds = (runs: readonly Timed[]) => span(runs.map((r) => r.seconds));
const ratio = (runs: readonly Timed[]) => span(runs.map((r, i) => r.seconds / (figures.parse[i] as number)));
const peak = (runs: readonly Timed[]) =>
  `peak ${span(
    runs.map((r) => r.peakMB ?? 0),
    0,
  )} MB`;
process.stdout.write(`channel: ${RECORDS} records, ${(bytes / 1e6).toFixed(0)} MB, ${RUNS} runs, median (least to most); JSON.parse of it ${span(figures.parse)} s, a bare node ${bare.seconds.toFixed(2)} s
  nothing changed        ${seconds(figures.same)} s, ratio ${ratio(figures.same)} (goal 0.15), ${peak(figures.same)} (goal 120)
  100 added, 10 removed  ${seconds(figures.changed)} s, ratio ${ratio(figures.changed)} (goal 2.5), ${peak(figures.changed)} (goal ${((bytes * 1.5) / 1e6 + 150).toFixed(0)})
  ${choices.join("\n  ")}
  shards, first reading  ${whole.seconds.toFixed(1)} s, ${(wholeBytes / 1e6).toFixed(1)} MB, peak ${whole.peakMB?.toFixed(0)} MB
  shards, 110 changed    ${sharded.seconds.toFixed(1)} s, ${(changedBytes / 1e3).toFixed(0)} kB, of which the shard index ${(shardIndex / 1e3).toFixed(0)}, peak ${sharded.peakMB?.toFixed(0)} MB
`);
