import { copyFileSync, linkSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { corpus } from "./corpus.ts";
import { cache, median, ours, python, span, timed } from "./support.ts";

/**
 * 3,000 packages in a folder, 340 MB, indexed from nothing and again with nothing changed: ours against py-rattler's
 * `index_fs`, whole processes, both writing repodata.json, zst and shards. Goals: all `.conda` 0.3 of its time, one in five
 * `.tar.bz2` 0.5, unchanged 0.3, at most 300 MB.
 */
const RUNS = Number(process.env["RUNS"] ?? 3);
const COUNT = 3000;
const FILES = ["--no-current-repodata", "--no-run-exports", "--no-channeldata", "--no-html"];
const peer = join(import.meta.dirname, "clients/index_fs.py");
// Every run has folders of its own and all go at the end: for minutes after files were deleted, ext4 is slow to create any.
const outs = join(process.env["BENCH_OUT"] ?? cache, `index-${process.pid}`);

function channelOf(from: string, names: readonly string[], to: string): string {
  mkdirSync(join(to, "linux-64"), { recursive: true });
  mkdirSync(join(to, "noarch"));
  for (const n of names) {
    const [source, place] = [join(from, "linux-64", n), join(to, "linux-64", n)];
    try {
      linkSync(source, place);
    } catch {
      copyFileSync(source, place); // another file system (BENCH_OUT)
    }
  }
  return to;
}

for (const [label, bz2, goal] of [
  ["all .conda", 0, 0.3],
  ["1 in 5 .tar.bz2", 5, 0.5],
] as const) {
  const folder = join(cache, bz2 ? `corpus-bz2-${bz2}` : "corpus");
  const names = corpus(folder, COUNT, bz2);
  const figures = { fresh: [[], []], same: [[], []], all: [[], []] } as Record<string, [number[], number[]]>;
  const memory: [number[], number[]] = [[], []];
  for (let i = 0; i <= RUNS; i++) {
    const us = channelOf(folder, names, join(outs, `${bz2}-ours-${i}`));
    const them = channelOf(folder, names, join(outs, `${bz2}-peer-${i}`));
    for (const state of ["fresh", "same"] as const) {
      const b = await timed(python, [peer, them]);
      const a = await ours(["index", us, "-q", ...FILES]);
      if (a.code !== 0 || b.code !== 0) throw new Error("a run failed");
      if (i === 0) continue; // a warm-up
      figures[state]?.[0].push(a.seconds);
      figures[state]?.[1].push(b.seconds);
      if (state === "same") continue;
      memory[0].push(a.peakMB as number);
      memory[1].push(b.peakMB as number);
    }
    const a = await ours(["index", us, "-q"]);
    if (i > 0) figures["all"]?.[0].push(a.seconds);
    if (readdirSync(join(us, "linux-64/shards")).length < COUNT) throw new Error("shards are missing");
  }
  process.stdout.write(`index: ${COUNT} packages, ${label}, ${RUNS} pairs, median (least to most)\n`);
  for (const [state, told, aim] of [
    ["fresh", "from nothing", goal],
    ["same", "unchanged", 0.3],
  ] as const) {
    const [a, b] = figures[state] as [number[], number[]];
    const ratio = span(a.map((s, i) => s / (b[i] as number)));
    process.stdout.write(
      `  ${told.padEnd(12)}  ours ${span(a)} s, py-rattler ${span(b)} s, ratio ${ratio}   goal ${aim}\n`,
    );
  }
  process.stdout.write(
    `  peak          ours ${span(memory[0], 0)} MB, py-rattler ${span(memory[1], 0)} MB   goal 300\n`,
  );
  process.stdout.write(
    `  all other files and pages after that: ${median((figures["all"] as [number[], number[]])[0]).toFixed(2)} s\n`,
  );
}
rmSync(outs, { recursive: true, force: true });
