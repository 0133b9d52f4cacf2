import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { corpus } from "./corpus.ts";
import { cache, median, ours, serve, span, timed } from "./support.ts";

/**
 * 3,000 `.conda` packages from a local HTTP server to a folder: ours, which hashes, reads and indexes them, against
 * `aria2c -j 32`, which does none of that. Goal: at most 0.35 of its time.
 */
const RUNS = Number(process.env["RUNS"] ?? 5);
const COUNT = 3000;
const folder = join(cache, "corpus");
const names = corpus(folder, COUNT);
const server = await serve(folder);
// Every run has a folder of its own and all go at the end: for minutes after files were deleted, ext4 looks at each of
// their inodes whenever it creates one, and that, a millisecond a file, would be what is measured.
const outs = join(process.env["BENCH_OUT"] ?? cache, `out-${process.pid}`);
const urls = names.map((n) => `${server.url}/linux-64/${n}`);
const list = join(cache, "list.txt");
writeFileSync(list, `${urls.join("\n")}\n`);

const [a, b, memory]: [number[], number[], number[]] = [[], [], []];
for (let i = 0; i <= RUNS; i++) {
  const peer = await timed("aria2c", ["-q", "-j", "32", "-i", list, "-d", join(outs, `peer-${i}`)]).catch(
    () => undefined,
  );
  const out = join(outs, `ours-${i}`);
  const us = await ours(["mirror", ...urls, "--target-path", out, "--max-concurrent-downloads", "32", "-q"]);
  if (us.code !== 0 || readdirSync(join(out, "linux-64")).length !== COUNT + 2) throw new Error("our run failed");
  if (i === 0) continue; // a warm-up
  a.push(us.seconds);
  memory.push(us.peakMB as number);
  if (peer) b.push(peer.seconds);
}
rmSync(outs, { recursive: true, force: true });
server.stop();
process.stdout.write(`http-to-folder: ${COUNT} packages, 340 MB, ${RUNS} pairs, median (least to most)\n`);
process.stdout.write(
  `  ours    ${span(a)} s, ${(COUNT / median(a)).toFixed(0)} packages/s, peak ${span(memory, 0)} MB\n`,
);
if (b.length === 0) process.stdout.write("  aria2c is not here: no ratio (Debian's package aria2)\n");
else {
  process.stdout.write(
    `  aria2c  ${span(b)} s\n  ratio   ${span(a.map((s, i) => s / (b[i] as number)))}   goal 0.35\n`,
  );
}
