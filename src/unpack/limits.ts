const MiB = 1024 * 1024;

/** What a package may unpack to before it is refused. Real packages stay far below each of these. */
export interface UnpackLimits {
  /** Decoded bytes of all its archives together. */
  readonly bytes: number;
  /** Files, folders and links. */
  readonly members: number;
  /** Decoded bytes per compressed byte, once past `ratioFrom`. */
  readonly ratio: number;
  readonly ratioFrom: number;
}

export const UNPACK_LIMITS: UnpackLimits = {
  bytes: 256 * 1024 * MiB,
  members: 2 ** 20,
  ratio: 1000,
  ratioFrom: 64 * MiB,
};
