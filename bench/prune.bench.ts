import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { largeIndex } from "./large-index.ts";
import { cache, ours, span, type Timed } from "./support.ts";

/**
 * Pruning a channel of 500,000 records to the newest version of each name, which takes 480,000 of them out and every shard anew,
 * against JSON.parse of its index in the same run; then a run that finds little to take. There are no packages behind the records.
 * Goals: 2.5 times JSON.parse, peak 1.5 × the raw index + 150 MB.
 */
const RECORDS = Number(process.env["RECORDS"] ?? 500_000);
const RUNS = Number(process.env["RUNS"] ?? 3);
const subdir = "linux-64";
const made = join(cache, `large-${RECORDS}`);
const raw = largeIndex(made, subdir, RECORDS);
const here = join(process.env["BENCH_OUT"] ?? cache, `prune-${process.pid}`);
mkdirSync(here, { recursive: true });

function node(script: string, ...args: string[]): { readonly milliseconds: number } {
  const client = join(import.meta.dirname, "clients", script);
  const run = spawnSync(process.execPath, ["--no-warnings", client, ...args], { encoding: "utf8", maxBuffer: 1 << 26 });
  if (run.status !== 0) throw new Error(run.stderr);
  return JSON.parse(run.stdout) as { milliseconds: number };
}

/** A channel with every file of its index, as we wrote them. */
function channelOf(name: string): string {
  const channel = join(here, name);
  cpSync(join(made, subdir, "repodata.json"), join(channel, subdir, "repodata.json"));
  const change = join(here, "change.json");
  writeFileSync(change, JSON.stringify({ add: [], remove: [] }));
  node("publish.ts", channel, subdir, change);
  return channel;
}

const cases = [
  ["latest 1", ["--latest", "1"]],
  ["one name in 100", ["--exclude", "*7?"]],
  ["dry run, latest 1", ["--latest", "1", "--dry-run"]],
  ["nothing left over", []],
] as const;
const parse: number[] = [];
const figures = new Map<string, Timed[]>(cases.map(([name]) => [name, []]));
for (let i = 0; i < RUNS; i++) {
  parse.push(node("parse.ts", raw).milliseconds / 1000);
  for (const [name, flags] of cases) {
    const channel = channelOf(`${i}-${name.replace(/\W+/g, "-")}`);
    const run = await ours(["prune", channel, "-q", ...flags]);
    if (run.code !== 0) throw new Error(`prune ended with ${run.code}`);
    figures.get(name)?.push(run);
  }
}
rmSync(here, { recursive: true, force: true });
const bytes = statSync(raw).size;
const lines = [...figures].map(([name, runs]) => {
  const seconds = span(runs.map((r) => r.seconds));
  const ratio = span(runs.map((r, i) => r.seconds / (parse[i] as number)));
  return `${name.padEnd(20)} ${seconds} s, ratio ${ratio} (goal 2.5), peak ${span(
    runs.map((r) => r.peakMB ?? 0),
    0,
  )} MB`;
});
process.stdout.write(`prune: ${RECORDS} records, ${(bytes / 1e6).toFixed(0)} MB, ${RUNS} runs, median (least to most); JSON.parse of it ${span(parse)} s; peak goal ${((bytes * 1.5) / 1e6 + 150).toFixed(0)} MB
  ${lines.join("\n  ")}
`);
