import { readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { corpus } from "./corpus.ts";
import { cache, median, ours, serve, span, timed } from "./support.ts";

/**
 * 3,000 `.conda` packages from a local HTTP server to a folder: ours, which hashes, reads and indexes them, against
 * `aria2c -j 32`, which does none of that. Goal: at most 0.35 of its time. Between them stands a bare loop of undici and
 * hashes, to tell how much of our time is Node's.
 */
const RUNS = Number(process.env["RUNS"] ?? 5);
const COUNT = 3000;
const folder = join(cache, "corpus");
const names = corpus(folder, COUNT);
const megabytes = names.reduce((sum, n) => sum + statSync(join(folder, "linux-64", n)).size, 0) / 1e6;
const server = await serve(folder);
// Every run has a folder of its own and all go at the end: for minutes after files were deleted, ext4 looks at each of
// their inodes whenever it creates one, and that, a millisecond a file, would be what is measured.
const outs = join(process.env["BENCH_OUT"] ?? cache, `out-${process.pid}`);
const urls = names.map((n) => `${server.url}/linux-64/${n}`);
const list = join(cache, "list.txt");
writeFileSync(list, `${urls.join("\n")}\n`);

const [a, b, bare, memory, cpu]: [number[], number[], number[], number[], number[]] = [[], [], [], [], []];
const runPeer = async (i: number) => {
  const out = join(outs, `peer-${i}`);
  const peer = await timed("aria2c", ["-q", "-j", "32", "-i", list, "-d", out]).catch(() => undefined);
  if (peer && (peer.code !== 0 || readdirSync(out).length !== COUNT)) throw new Error("aria2c's run failed");
  return peer;
};
const runUs = async (i: number) => {
  const out = join(outs, `ours-${i}`);
  const us = await ours(["mirror", ...urls, "--target-path", out, "--max-concurrent-downloads", "32", "-q"]);
  const packages = readdirSync(join(out, "linux-64")).filter((n) => n.endsWith(".conda"));
  if (us.code !== 0 || packages.length !== COUNT) throw new Error("our run failed");
  return us;
};
for (let i = 0; i <= RUNS; i++) {
  // In turns, since whoever is second finds the disk busy with what the first one wrote.
  const first = i % 2 === 0 ? await runPeer(i) : undefined;
  const us = await runUs(i);
  const peer = i % 2 === 0 ? first : await runPeer(i);
  const loop = [join(import.meta.dirname, "clients/bare-loop.mjs"), list, join(outs, `bare-${i}`)];
  const least = await timed(process.execPath, loop);
  if (least.code !== 0) throw new Error("the bare loop failed");
  if (i === 0) continue; // a warm-up
  a.push(us.seconds);
  memory.push(us.peakMB as number);
  cpu.push(us.cpu as number);
  bare.push(least.seconds);
  if (peer) b.push(peer.seconds);
}
rmSync(outs, { recursive: true, force: true });
server.stop();
const rates = (seconds: readonly number[]) =>
  `${(COUNT / median(seconds)).toFixed(0)} packages/s, ${(megabytes / median(seconds)).toFixed(0)} MB/s`;
process.stdout.write(
  `http-to-folder: ${COUNT} packages, ${megabytes.toFixed(0)} MB, ${RUNS} pairs, median (least to most)\n`,
);
process.stdout.write(`  ours    ${span(a)} s, ${rates(a)}, processor ${span(cpu)} s, peak ${span(memory, 0)} MB\n`);
process.stdout.write(`  bare    ${span(bare)} s: undici, hashes and a write, and nothing else\n`);
if (b.length === 0) process.stdout.write("  aria2c is not here: no ratio (Debian's package aria2)\n");
else {
  process.stdout.write(
    `  aria2c  ${span(b)} s, ${rates(b)}
  ratio   ${span(a.map((s, i) => s / (b[i] as number)))}   goal 0.35; of the bare loop ${span(bare.map((s, i) => s / (b[i] as number)))}\n`,
  );
}
