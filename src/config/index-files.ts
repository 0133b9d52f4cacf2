import type { Settings } from "./settings.ts";

/** The settings that say which files an index is made of. */
export function indexFilesOf(settings: Settings) {
  return {
    zst: settings.write_zst,
    bz2: settings.write_bz2,
    shards: settings.write_shards,
    currentRepodata: settings.write_current_repodata,
    runExports: settings.write_run_exports,
    zstdLevel: settings.zstd_level,
    baseUrl: settings.base_url,
    shardGraceMs: settings.shard_grace_days * 24 * 60 * 60 * 1000,
  };
}
