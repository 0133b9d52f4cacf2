import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { corpus } from "./corpus.ts";
import { cache, median, ours, span, timed } from "./support.ts";

/**
 * 3,000 packages from a folder into a bundle and out of it into another folder, against `tar` in both directions, which
 * neither hashes, reads nor indexes them..
 */
const RUNS = Number(process.env["RUNS"] ?? 3);
const COUNT = 3000;
const folder = join(cache, "corpus");
const names = corpus(folder, COUNT);
const megabytes = names.reduce((sum, n) => sum + statSync(join(folder, "linux-64", n)).size, 0) / 1e6;
const outs = join(process.env["BENCH_OUT"] ?? cache, `bundle-${process.pid}`);

const series = () => ({ seconds: [] as number[], memory: [] as number[] });
const [pack, apply, again, tarIn, tarOut] = [series(), series(), series(), series(), series()];
const step = async (into: ReturnType<typeof series> | undefined, run: ReturnType<typeof ours>) => {
  const { seconds, peakMB, code } = await run;
  if (code !== 0) throw new Error("a run failed");
  into?.seconds.push(seconds);
  if (peakMB !== undefined) into?.memory.push(peakMB);
};
for (let i = 0; i <= RUNS; i++) {
  const at = (name: string) => join(outs, String(i), name);
  const warm = i === 0;
  rmSync(outs, { recursive: true, force: true });
  await step(warm ? undefined : pack, ours(["mirror", join(folder, "linux-64"), "--tgt", at("b.tar"), "-q"]));
  await step(warm ? undefined : apply, ours(["mirror", at("b.tar"), "--tgt", at("inside"), "-q"]));
  await step(warm ? undefined : again, ours(["mirror", at("b.tar"), "--tgt", at("inside"), "-q"]));
  await step(warm ? undefined : tarIn, timed("tar", ["cf", at("plain.tar"), "-C", folder, "linux-64"]));
  await step(warm ? undefined : tarOut, timed("tar", ["xf", at("plain.tar"), "-C", at("")]));
}
rmSync(outs, { recursive: true, force: true });

process.stdout.write(`bundle: ${COUNT} packages, ${megabytes.toFixed(0)} MB, ${RUNS} runs, median (least to most)\n`);
const line = (name: string, of: ReturnType<typeof series>, against?: ReturnType<typeof series>) => {
  const peak = of.memory.length > 0 ? `, peak ${span(of.memory, 0)} MB` : "";
  const ratio = against ? `, ${(median(of.seconds) / median(against.seconds)).toFixed(2)} of tar's` : "";
  process.stdout.write(`  ${name.padEnd(22)} ${span(of.seconds)} s${peak}${ratio}\n`);
};
line("packed", pack, tarIn);
line("verified and applied", apply, tarOut);
line("verified, nothing new", again);
line("tar cf", tarIn);
line("tar xf", tarOut);
