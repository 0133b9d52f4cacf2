import { copyFileSync, linkSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { corpus } from "./corpus.ts";
import { cache, ours, python, span, timed } from "./support.ts";

/**
 * 3,000 packages in a channel, 340 MB, verified: every byte of them, every archive looked into, every form of the index and every
 * shard; against the bare hashing of the same files by two `sha256sum` side by side, and by one `hashlib` after another. Whole
 * processes. Goals: 1.2 of the two, 200 MB; a quick look well below a second.
 */
const RUNS = Number(process.env["RUNS"] ?? 5);
const COUNT = 3000;
const outs = join(process.env["BENCH_OUT"] ?? cache, `verify-${process.pid}`);
const HASHLIB = `import hashlib, os, sys
for name in os.listdir(sys.argv[1]):
    if name.endswith(".conda"):
        with open(os.path.join(sys.argv[1], name), "rb") as f: hashlib.file_digest(f, "sha256").hexdigest()`;

const folder = join(cache, "corpus");
const names = corpus(folder, COUNT);
const source = join(outs, "source");
mkdirSync(source, { recursive: true });
for (const name of names) {
  const [from, to] = [join(folder, "linux-64", name), join(source, name)];
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to); // another file system (BENCH_OUT)
  }
}
const channel = join(outs, "channel");
if ((await ours(["mirror", source, "--tgt", channel, "-q"])).code !== 0) throw new Error("no channel");
if (readdirSync(join(channel, "linux-64/shards")).length < COUNT) throw new Error("shards are missing");
const place = join(channel, "linux-64");

const two = () =>
  timed("sh", ["-c", `find "$0" -name '*.conda' -print0 | xargs -0 -P2 -n 200 sha256sum > /dev/null`, place]);
const one = () => timed(python, ["-c", HASHLIB, place]);
const figures: Record<"full" | "quick" | "sums" | "hashlib", number[]> = { full: [], quick: [], sums: [], hashlib: [] };
const [peaks, ratios]: [number[], number[]] = [[], []];
for (let i = 0; i <= RUNS; i++) {
  const sums = await two();
  const full = await ours(["verify", channel, "-q"]);
  const quick = await ours(["verify", channel, "-q", "--quick"]);
  const hashlib = await one();
  if ([sums, full, quick, hashlib].some((r) => r.code !== 0))
    throw new Error("a run failed, or the channel is not whole");
  if (i === 0) continue; // a warm-up
  figures.full.push(full.seconds);
  figures.quick.push(quick.seconds);
  figures.sums.push(sums.seconds);
  figures.hashlib.push(hashlib.seconds);
  ratios.push(full.seconds / sums.seconds);
  peaks.push(full.peakMB as number);
}
process.stdout.write(`verify: ${COUNT} packages, ${RUNS} runs, median (least to most)
  full   ours ${span(figures.full)} s, two sha256sum ${span(figures.sums)} s, ratio ${span(ratios)}   goal 1.2
         one hashlib ${span(figures.hashlib)} s, ratio ${span(figures.full.map((s, i) => s / (figures.hashlib[i] as number)))}
  quick  ours ${span(figures.quick)} s
  peak   ours ${span(peaks, 0)} MB   goal 200
`);
rmSync(outs, { recursive: true, force: true });
