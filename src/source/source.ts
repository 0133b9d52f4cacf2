import type { Place } from "../transfer/place.ts";
import type { ChannelSource } from "./channel.ts";
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
  /** Its path inside the archive or artifact that it lies in, as `--src-path` is searched for in it. */
  readonly member?: string;
  /** Only if the source knows it; never guessed from a name. */
  readonly subdir?: string;
  /** The source's own record, as JSON bytes, kept as they are. */
  readonly record?: Uint8Array;
  /** Whether the record is the channel's own of now: it takes the place of an older one of the same bytes (hot-fixes). */
  readonly current?: true;
  /** Whether the record's channel has it among those of repodata v3 (CEP 48); the package itself tells when absent. */
  readonly v3?: boolean;
  /** The package's run exports as compact JSON, where the source tells them; the package itself tells when absent. */
  readonly runExports?: Uint8Array;
  /** The same file elsewhere, tried in this order when the first place fails. */
  readonly fallbacks?: readonly Place[];
  /**
   * Where its attestations may lie: a JSON array of Sigstore bundles (CEP 50), which the first place that has one gives. Opened
   * only for targets that take attestations.
   */
  readonly sidecars?: () => readonly Place[];
  /** The attestations that its record promises (CEP 50): the SHA-256 of their sidecar, and where the one of that hash lies. */
  readonly attestations?: { readonly sha256: string; readonly place: () => Place };
}

/** What sidecars of attestations are named, behind the package's own name: as CEP 50 has it, and as prefix.dev had it before. */
export const SIDECARS = [".sigs", ".v0.sigs"] as const;

/** Where packages come from. Enumerates; downloads nothing it needn't. */
export interface Source {
  /** For people. */
  readonly what: string;
  /** Set where it is a whole channel, whose records tell everything before a package is looked at. */
  readonly channel?: ChannelSource;
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
