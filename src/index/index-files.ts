/** Which files an index is made of, besides `repodata.json`. */
export interface IndexFiles {
  /** `repodata.json.zst` */
  readonly zst: boolean;
  /** `repodata.json.bz2`, which only old clients ask for. */
  readonly bz2: boolean;
  /** `repodata_shards.msgpack.zst` and the shards (CEP 16). */
  readonly shards: boolean;
  /** `current_repodata.json`, for conda's classic solver; "keep" writes it where it is there. */
  readonly currentRepodata: boolean | "keep";
  /** `run_exports.json` (CEP 12) */
  readonly runExports: boolean;
  /** 1 to 19; null chooses by the index's size. */
  readonly zstdLevel: number | null;
  /** The channel that packages lie in, when not beside the index (CEP 15): `<baseUrl>/<subdir>/`; null keeps what the index says. */
  readonly baseUrl: string | null;
  /** Milliseconds that a shard stays after the last index that named it, for readers that hold an old index. */
  readonly shardGraceMs: number;
}
