import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildConda } from "../test/packages/builder.ts";
import { cache, median, ours, python, span, timed } from "./support.ts";

/**
 * Filling a package cache: 600 packages with 34,200 files, copied, hashed, unpacked and recorded by us, beside py-rattler, which
 * only unpacks them, with as many threads as processors. Then the memory that a package of 300 MB takes. In memory where the
 * system has a folder for that: what disks make of so many files differs from run to run by more than the programs do.
 */
const RUNS = 5;
const folder = join(cache, "unpack");
if (!existsSync(folder)) {
  mkdirSync(folder);
  for (let i = 0; i < 600; i++) {
    const count = i % 10 === 0 ? 300 : 30;
    const files = Array.from({ length: count }, (_, k): [string, string] => [
      `lib/python3.12/site-packages/p${i}/m${k % 7}/f${k}.py`,
      randomBytes(600).toString("hex").repeat(3),
    ]);
    const { fileName, bytes } = buildConda({ name: `p${i}`, files: Object.fromEntries(files) });
    writeFileSync(join(folder, fileName), bytes);
  }
}
const large = join(cache, "unpack-large");
if (!existsSync(large)) {
  mkdirSync(large);
  const big = buildConda({ name: "big", files: { "lib/big": randomBytes(300_000_000) } });
  const small = buildConda({ name: "small", files: { "lib/small": "x" } });
  for (const { fileName, bytes } of [big, small]) writeFileSync(join(large, fileName), bytes);
}
const out = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "mfm-bench-"));
const clean = () => {
  for (const name of readdirSync(out)) rmSync(join(out, name), { recursive: true });
};
const into = (source: string) => ours(["mirror", source, "--tgt-type", "cache", "--tgt", join(out, "pkgs"), "-q"]);
try {
  const seconds: { ours: number[]; theirs: number[]; cpu: number[] } = { ours: [], theirs: [], cpu: [] };
  for (let run = 0; run < RUNS; run++) {
    clean();
    const theirs = await timed(python, [join(import.meta.dirname, "clients/extract_all.py"), folder, join(out, "r")]);
    clean();
    const mine = await into(folder);
    if (theirs.code !== 0 || mine.code !== 0) throw new Error("a run failed");
    seconds.theirs.push(theirs.seconds);
    seconds.ours.push(mine.seconds);
    seconds.cpu.push(mine.cpu ?? Number.NaN);
  }
  process.stdout.write(
    `  ours ${span(seconds.ours)} s, ${span(seconds.cpu)} s of processors; rattler's unpacking ${span(seconds.theirs)} s\n`,
  );
  const peaks: number[] = [];
  for (const name of ["small-1.0-0.conda", "big-1.0-0.conda"]) {
    clean();
    peaks.push((await into(join(large, name))).peakMB ?? Number.NaN);
  }
  const [small, big] = peaks as [number, number];
  process.stdout.write(
    `cache: ${(median(seconds.ours) / median(seconds.theirs)).toFixed(2)} of rattler's unpacking; ${(big - small).toFixed(0)} MB more for a package of 300 MB   goal 150\n`,
  );
} finally {
  rmSync(out, { recursive: true, force: true });
}
