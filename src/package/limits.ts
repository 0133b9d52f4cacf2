const MiB = 1024 * 1024;

/** What a package may ask of a reader before it is refused. Real packages stay far below each of these. */
export const LIMITS = {
  /** Decoded bytes of an info archive (`.conda`). */
  infoBytes: 256 * MiB,
  /** Bytes of one JSON member; real `paths.json` files above 10 MiB exist. */
  memberBytes: 64 * MiB,
  /**
   * Bytes of the members that are made objects of; real ones stay below 100 KiB. V8 takes far longer for millions of small values
   * at once than for as many one after another: 60 MB of them kept a worker thread busy for 80 s, in 3 GB.
   */
  parsedBytes: 4 * MiB,
  /** Bytes of one `patch_instructions.json`; conda-forge's are some 10 MiB. */
  patchBytes: 256 * MiB,
  /** Decoded bytes of a package of patch instructions: one of those for each subdir, and tests and recipe. */
  patchPackageBytes: 1024 * MiB,
  /** Members of one tar. */
  members: 2 ** 20,
  /** Decoded bytes per compressed byte of an info archive, once past `ratioFrom`, and of a `.tar.bz2` up to its `info/`, past the other. */
  ratio: 1000,
  ratioFrom: 16 * MiB,
  bz2RatioFrom: 64 * MiB,
  /** Bytes of a member's name. */
  nameBytes: 4096,
  /** Bytes of a zip's central directory. */
  directoryBytes: 16 * MiB,
} as const;

/** What an archive that holds packages may ask of us. CI systems make them of whole build folders. */
export const ARCHIVE_LIMITS = {
  /** Bytes of a zip's central directory: some 600,000 members. */
  directoryBytes: 64 * MiB,
  /** Decoded bytes per compressed byte, of a member that is a package or an archive and thus compressed already. */
  memberRatio: 100,
  /** Decoded bytes per compressed byte of a whole compressed tar, which may hold logs and sources too. */
  tarRatio: 300,
  /** Below this many decoded bytes no ratio counts. */
  ratioFrom: 64 * MiB,
  /** Bytes that may be unpacked to files, beside `memberRatio` times those of the outermost archive. */
  unpackedFrom: 1024 * MiB,
  /** Archives that lie in one archive, at whatever depth. */
  nested: 1000,
  /** Packages and archives that one archive may offer. */
  offers: 200_000,
} as const;
