import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { readShard, readShardIndex } from "../../src/index/shards.ts";
import { type PruneOptions, type PruneReport, prune } from "../../src/main.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "../packages/builder.ts";
import { listed } from "./folders.ts";

export const DAY = 24 * 60 * 60 * 1000;
export const NOW = Date.parse("2026-01-31T00:00:00Z");
export const linux = { subdir: "linux-64" };

export function pruneAt(now: number, options: Partial<PruneOptions> & { channel: string }): Promise<PruneReport> {
  return prune({ env: {}, now: () => now, ...options });
}

export const ago = (days: number) => ({ timestamp: NOW - days * DAY });
export const a1 = buildConda({ name: "a", version: "1.0", index: ago(300) });
export const a2 = buildConda({ name: "a", version: "2.0", depends: ["lib"], index: ago(20) });
export const lib1 = buildTarBz2({
  name: "lib",
  version: "1.0",
  ...linux,
  index: { ...ago(300), license: "GPL-3.0-only" },
});
export const lib2 = buildConda({ name: "lib", version: "2.0", ...linux, index: { ...ago(10), license: "MIT" } });
export const big = buildConda({
  name: "big",
  ...linux,
  depends: ["gtk >=3"],
  files: { big: "x".repeat(3) },
  index: ago(1),
});
export const all = [a1, a2, lib1, lib2, big];
export const names = (...packages: BuiltPackage[]) => packages.map((p) => p.fileName).sort();

export const bytesOf = (packages: readonly BuiltPackage[]) => packages.reduce((sum, p) => sum + p.bytes.length, 0);

/** What every form of a subdir's index lists; they must agree. */
export async function everywhere(channel: string, subdir: string): Promise<string[]> {
  const read = (path: string) => readFileSync(join(channel, subdir, path));
  const json = read("repodata.json");
  assert.deepEqual(zstdDecompressSync(read("repodata.json.zst")), json, "zst");
  const found = listed(channel, subdir);
  const sharded: string[] = [];
  for (const [name, sha256] of await readShardIndex(read("repodata_shards.msgpack.zst"))) {
    const shard = await readShard(read(`shards/${sha256}.msgpack.zst`), sha256);
    for (const [fileName] of shard) sharded.push(fileName);
    assert.ok(
      found.some((f) => f.startsWith(`${name}-`)),
      `${name} has a shard`,
    );
  }
  assert.deepEqual(sharded.sort(), found, "shards");
  const exported = JSON.parse(read("run_exports.json").toString()) as Record<string, object>;
  const files = (of: Record<string, unknown>) =>
    ["packages", "packages.conda"].flatMap((m) => Object.keys(of[m] ?? {})).sort();
  assert.deepEqual(files(exported), found, "run exports");
  for (const fileName of files(JSON.parse(read("current_repodata.json").toString())))
    assert.ok(found.includes(fileName));
  return found;
}
