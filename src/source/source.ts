import type { Place } from "../transfer/place.ts";
import type { Offered } from "./offered.ts";

/** A package on offer: what is known before a byte of it has been read. */
export interface PackageRef extends Place {
  /** "zlib-1.3.1-hb9d3cd8_2.conda" */
  readonly fileName: string;
  /** What the origin is remembered by; differs for differing secrets. */
  readonly key: string;
  /** Bytes. */
  readonly size?: number;
  /** 64 lower hex digits; binding when present. */
  readonly sha256?: string;
  /** 32 lower hex digits; binding when present. */
  readonly md5?: string;
  /** What the zip that it lies in says of its bytes; checked, and no promise of the source's. */
  readonly crc32?: number;
  /** Only if the source knows it; never guessed from a name. */
  readonly subdir?: string;
  /** The source's own record, as JSON bytes, kept as they are. */
  readonly record?: Uint8Array;
  /** The same file elsewhere, tried in this order when the first place fails. */
  readonly fallbacks?: readonly Place[];
}

/** Where packages come from. Enumerates; downloads nothing it needn't. */
export interface Source {
  /** For people. */
  readonly what: string;
  /**
   * Yields each package on offer once. Ends early when `signal` aborts.
   * @throws MirrorError when it can't be enumerated
   */
  packages(signal: AbortSignal): AsyncIterable<PackageRef>;
  /**
   * What `info` tells of a source that offers more than packages: builds, artifacts, checks. It reads what its service
   * lists, and nothing of the artifacts. Absent: `info` looks into the packages.
   * @throws MirrorError
   */
  describe?(signal: AbortSignal): AsyncIterable<Offered>;
}
