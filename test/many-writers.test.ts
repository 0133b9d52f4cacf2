// needs minio, versitygw
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { goProgram } from "../scripts/go-programs.ts";
import { readShard, readShardIndex, shardPath } from "../src/index/shards.ts";
import type { Store } from "../src/target/store.ts";
import { buildConda } from "./packages/builder.ts";
import { S3_KINDS, startS3 } from "./servers/s3-server.ts";
import { cliRun } from "./support/cli.ts";
import { asked } from "./support/client.ts";
import { temporary, written } from "./support/folders.ts";
import { needs, python } from "./support/needs.ts";
import { openStoreAt } from "./support/stores.ts";

/** Rounds of each test; ten of them, `MESO_FORGE_ROUNDS=10`, take minutes. */
const ROUNDS = Number(process.env["MESO_FORGE_ROUNDS"] ?? 1);
const WRITERS = 8;
const EACH = 25;

/** One folder of packages for each writer; of every writer's packages some are noarch, and names are shared. */
const sources = Array.from({ length: WRITERS }, (_, w) => {
  const folder = join(temporary(), String(w));
  mkdirSync(folder);
  const packages = Array.from({ length: EACH }, (_, i) =>
    buildConda({
      name: `shared-${i % 10}`,
      version: `1.${i}`,
      build: `w${w}_0`,
      subdir: i % 5 === 0 ? "noarch" : "linux-64",
      files: { [`share/${w}-${i}`]: `${w} ${i}` },
    }),
  );
  written(folder, packages);
  return { folder, packages };
});

const all = sources.flatMap((s) => s.packages);

/** Every record is there once, in every form of the index, and what it promises lies beside it. */
async function assertWhole(store: Store): Promise<void> {
  const found = new Map<string, string>();
  for (const subdir of ["noarch", "linux-64"]) {
    const get = async (path: string) => Buffer.from((await store.get(`${subdir}/${path}`))?.bytes ?? []);
    const json = await get("repodata.json");
    const index = JSON.parse(json.toString()) as { "packages.conda": Record<string, { sha256: string; size: number }> };
    assert.deepEqual(zstdDecompressSync(await get("repodata.json.zst")), json, `${subdir}: zst`);
    const sharded = new Set<string>();
    for (const sha256 of (await readShardIndex(await get("repodata_shards.msgpack.zst"))).values())
      for (const [fileName] of await readShard(await get(shardPath(sha256)), sha256)) sharded.add(fileName);
    assert.deepEqual([...sharded].sort(), Object.keys(index["packages.conda"]).sort(), `${subdir}: shards`);
    const current = JSON.parse((await get("run_exports.json")).toString()) as { "packages.conda": object };
    assert.deepEqual(Object.keys(current["packages.conda"]), Object.keys(index["packages.conda"]), "run exports");
    for (const [fileName, { sha256, size }] of Object.entries(index["packages.conda"])) {
      const bytes = await get(fileName);
      assert.equal(bytes.length, size, fileName);
      assert.equal(createHash("sha256").update(bytes).digest("hex"), sha256, fileName);
      found.set(fileName, sha256);
    }
  }
  assert.deepEqual(Object.fromEntries(found), Object.fromEntries(all.map((p) => [p.fileName, p.sha256])));
}

const FORMATS = ["json", "shards", "zst"] as const;

/** The real client installs every one of them, by one format of the index each round. */
async function assertInstallable(channel: string, round: number): Promise<void> {
  const format = FORMATS[round % FORMATS.length] as string;
  const stdout = await asked("rattler_install_all.py", () => [channel, "linux-64", format]);
  assert.deepEqual(JSON.parse(stdout), all.map((p) => p.fileName).sort(), format);
}

for (const kind of ["a folder", ...S3_KINDS] as const) {
  const needed = kind === "a folder" ? { skip: false as const } : needs(goProgram(kind), kind);
  const server = kind !== "a folder" && needed.skip === false ? await startS3(kind) : undefined;

  const client = needs(python, "py-rattler");
  const options = { ...needed, ...(ROUNDS > 1 ? { timeout: ROUNDS * 120_000 } : {}) };
  test(`eight processes that each add 25 packages to one channel in ${kind} at once lose none`, options, async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const bucket = await server?.bucket(true);
      const target = bucket ? `s3://${bucket}/ch` : temporary();
      const write = ({ folder }: (typeof sources)[number]) =>
        cliRun(["mirror", folder, "--target-path", target, "--json"], server?.env ?? {});
      for (const ended of await Promise.all(sources.map(write))) {
        assert.equal(ended.code, 0, ended.err);
        assert.equal((JSON.parse(ended.out) as { added: number }).added, EACH);
      }
      const store = await openStoreAt(target, server?.env ?? {});
      try {
        await assertWhole(store);
      } finally {
        await store.close();
      }
      if (client.skip !== false) t.diagnostic("py-rattler is not here: nothing was installed");
      else await assertInstallable(server ? `${server.url}/${bucket}/ch` : `file://${target}`, round);
    }
  });
}
