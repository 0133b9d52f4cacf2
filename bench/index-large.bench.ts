import { spawnSync } from "node:child_process";
import { cpSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { largeIndex } from "./large-index.ts";
import { cache, span } from "./support.ts";

/**
 * A small change to a large index, by the library call that mirrors use, zst and shards written: against JSON.parse of that
 * index in the same run. Goals: 100 added and 10 removed 1.5 of its time, nothing changed 0.4, peak RSS 1.5 × the raw index
 * + 150 MB. `RECORDS=1300000` for an index that no JavaScript string can hold (then there is no JSON.parse to compare with).
 */
const RECORDS = Number(process.env["RECORDS"] ?? 500_000);
const RUNS = Number(process.env["RUNS"] ?? 3);
const made = join(cache, `large-${RECORDS}`);
const subdir = "linux-64";
const raw = largeIndex(made, subdir, RECORDS);
const channel = join(cache, `large-${process.pid}`);
cpSync(join(made, subdir), join(channel, subdir), { recursive: true });

interface Ran {
  readonly seconds: number;
  readonly peakMB: number;
  readonly written: readonly string[];
}

type Sample = [fileName: string, record: { version: string; sha256: string }][];

function child(script: string, ...args: string[]): { stdout: unknown; peakMB: number } {
  const here = import.meta.dirname;
  const flags = ["--no-warnings", "--require", join(here, "usage.cjs"), join(here, "clients", script)];
  const ended = spawnSync(process.execPath, [...flags, ...args], { encoding: "utf8", maxBuffer: 1 << 26 });
  if (ended.status !== 0) throw new Error(ended.stderr);
  const peak = Number(/peak-rss-kib (\d+)/.exec(ended.stderr)?.[1]);
  return { stdout: JSON.parse(ended.stdout), peakMB: (peak * 1024) / 1e6 };
}

function run(script: string, ...args: string[]): Ran {
  const { stdout, peakMB } = child(script, ...args);
  const { milliseconds, written } = stdout as { milliseconds: number; written: string[] };
  return { seconds: milliseconds / 1000, peakMB, written };
}

const change = join(channel, "change.json");
const write = (add: unknown[], remove: string[]) => writeFileSync(change, JSON.stringify({ add, remove }));
write([], []);
const begun = run("publish.ts", channel, subdir, change);
const parsed = child("sample.ts", raw, String(100 + 10 * (RUNS + 1))).stdout as Sample;
const figures = { changed: [] as Ran[], same: [] as Ran[], parse: [] as Ran[] };
for (let i = 0; i <= RUNS; i++) {
  const add = parsed.slice(0, 100).map(([fileName, record]) => {
    const version = `${record.version}.${i + 1}`;
    const sha256 = `${String(i).padStart(4, "0")}${record.sha256.slice(4)}`;
    return [fileName.replace(`-${record.version}-`, `-${version}-`), { ...record, version, sha256 }];
  });
  write(
    add,
    parsed.slice(100 + i * 10, 110 + i * 10).map(([fileName]) => fileName),
  );
  const changed = run("publish.ts", channel, subdir, change);
  if (changed.written.filter((p) => p.startsWith(subdir)).length !== 3) throw new Error(changed.written.join());
  write(add, []);
  const same = run("publish.ts", channel, subdir, change);
  if (same.written.length > 0) throw new Error(same.written.join());
  const parse = RECORDS <= 1_000_000 ? run("parse.ts", join(channel, subdir, "repodata.json")) : undefined;
  if (i === 0) continue; // a warm-up
  figures.changed.push(changed);
  figures.same.push(same);
  if (parse) figures.parse.push(parse);
}
const bytes = statSync(raw).size;
rmSync(channel, { recursive: true, force: true });
const seconds = (ran: readonly Ran[]) => span(ran.map((r) => r.seconds));
/** Goals are for the ratio: where there is nothing to divide by, there is none. */
const ratio = (ran: readonly Ran[], goal: number) =>
  figures.parse.length > 0
    ? `, ratio ${span(ran.map((r, i) => r.seconds / (figures.parse[i] as Ran).seconds))} (goal ${goal})`
    : "";
const peak = (ran: readonly Ran[]) =>
  `peak ${span(
    ran.map((r) => r.peakMB),
    0,
  )} MB`;
const room = ((bytes * 1.5) / 1e6 + 150).toFixed(0);
process.stdout.write(`index-large: ${RECORDS} records, ${(bytes / 1e6).toFixed(0)} MB, ${RUNS} runs, median (least to most)
  every shard and zst from repodata.json alone: ${begun.seconds.toFixed(1)} s, peak ${begun.peakMB.toFixed(0)} MB
  100 added, 10 removed  ${seconds(figures.changed)} s${ratio(figures.changed, 1.5)}, ${peak(figures.changed)} (goal ${room})
  nothing changed        ${seconds(figures.same)} s${ratio(figures.same, 0.4)}, ${peak(figures.same)}
${figures.parse.length > 0 ? `  JSON.parse alone       ${seconds(figures.parse)} s, ${peak(figures.parse)}\n` : ""}`);
