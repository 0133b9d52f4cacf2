// needs minio
import { spawn } from "node:child_process";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bringGoProgram, goProgram } from "../scripts/go-programs.ts";
import { corpus } from "./corpus.ts";
import { cache, median, ours, serve, span, timed } from "./support.ts";

/**
 * 3,000 `.conda` packages from a local HTTP server to MinIO on the same machine, hashed, read and indexed. What MinIO takes
 * for the same 3,000 objects from a bare loop that only sends them stands beside it: on two cores the server is the larger
 * half, and the index has 3,000 shards, which are objects too. Goal: what the Rust conda-mirror took on a two-core machine, 3.8 s and 145 MB.
 */
const RUNS = Number(process.env["RUNS"] ?? 3);
const COUNT = 3000;
const folder = join(cache, "corpus");
const names = corpus(folder, COUNT);
const megabytes = names.reduce((sum, n) => sum + statSync(join(folder, "linux-64", n)).size, 0) / 1e6;
const server = await serve(folder);
const urls = names.map((n) => `${server.url}/linux-64/${n}`);
const data = join(process.env["BENCH_OUT"] ?? cache, `minio-${process.pid}`);

bringGoProgram("minio");
const keys = { AWS_ACCESS_KEY_ID: "bench-key", AWS_SECRET_ACCESS_KEY: "bench-secret" };
Object.assign(process.env, keys);
const port = await new Promise<number>((resolve) => {
  const free = createServer().listen(0, "127.0.0.1", () => {
    const { port } = free.address() as { port: number };
    free.close(() => resolve(port));
  });
});
const endpoint = `http://127.0.0.1:${port}`;
const minio = spawn(goProgram("minio"), ["server", "--quiet", "--address", `127.0.0.1:${port}`, data], {
  stdio: "ignore",
  env: {
    ...process.env,
    MINIO_ROOT_USER: keys.AWS_ACCESS_KEY_ID,
    MINIO_ROOT_PASSWORD: keys.AWS_SECRET_ACCESS_KEY,
    MINIO_BROWSER: "off",
    MINIO_CI_CD: "1",
  },
});
const bare = join(import.meta.dirname, "clients/bare-put.ts");
const list = join(cache, "put-list.txt");
writeFileSync(list, names.map((n) => join(folder, "linux-64", n)).join("\n"));

/** Seconds of processor time that MinIO has used so far; none where the system does not tell. */
function minioCpu(): number {
  try {
    const fields = readFileSync(`/proc/${minio.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return Number.NaN;
  }
}

const [total, memory, cpu, theirs, loop, loopTheirs]: number[][] = [[], [], [], [], [], []];
try {
  while (!(await fetch(`${endpoint}/minio/health/ready`).catch(() => undefined))?.ok) await sleep(50);
  for (let i = 0; i <= RUNS; i++) {
    const bucket = `bench-${i}`;
    const made = await timed(process.execPath, [bare, endpoint, bucket]);
    if (made.code !== 0) throw new Error("the bucket could not be made");
    const before = minioCpu();
    const target = ["--target-path", `s3://${bucket}/channel`, "--s3-endpoint", endpoint];
    const us = await ours(["mirror", ...urls, ...target, "--max-concurrent-downloads", "32", "-q"]);
    const between = minioCpu();
    if (us.code !== 0) throw new Error("our run failed");
    const least = await timed(process.execPath, [bare, endpoint, bucket, list]);
    if (least.code !== 0) throw new Error("the bare loop failed");
    if (i === 0) continue; // a warm-up
    total?.push(us.seconds);
    memory?.push(us.peakMB as number);
    cpu?.push(us.cpu as number);
    theirs?.push(between - before);
    loop?.push(least.seconds);
    loopTheirs?.push(minioCpu() - between);
  }
} finally {
  minio.kill();
  server.stop();
  await new Promise((resolve) => minio.on("close", resolve));
  rmSync(data, { recursive: true, force: true });
}
const share = (cpu ?? []).map((own, i) => (100 * own) / (own + (theirs?.[i] ?? Number.NaN)));
process.stdout.write(
  `http-to-s3: ${COUNT} packages, ${megabytes.toFixed(0)} MB, ${RUNS} runs, median (least to most)
  ours    ${span(total ?? [])} s, ${(COUNT / median(total ?? [])).toFixed(0)} packages/s, peak ${span(memory ?? [], 0)} MB
          processor: ours ${span(cpu ?? [])} s, MinIO's ${span(theirs ?? [])} s; our share ${span(share, 0)} %
  bare    ${span(loop ?? [])} s: the packages sent and nothing else, no shards; MinIO's processor ${span(loopTheirs ?? [])} s
  ratio   ${span((total ?? []).map((s) => s / 3.8))} of 3.8 s, goal 1.0; memory ${span((memory ?? []).map((m) => m / 145))} of 145 MB
`,
);
