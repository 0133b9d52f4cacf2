/** What a lock file says, whichever kind it is. */
export interface LockFile {
  /** For people: "pixi.lock version 6". */
  readonly kind: string;
  /** One for each environment and platform; "default" where the format knows no environments. */
  readonly environments: readonly LockedEnvironment[];
}

export interface LockedEnvironment {
  readonly name: string;
  /** The platform's name as the file has it; undefined where it names none, which then fits every platform. */
  readonly platform: string | undefined;
  /** The subdir that the platform stands for. */
  readonly subdir: string | undefined;
  readonly packages: readonly LockedPackage[];
  readonly skipped: readonly Skipped[];
}

/** A conda package that a lock file names. */
export interface LockedPackage {
  /** URL or path, as the file has it, without its fragment. */
  readonly location: string;
  /** Where it may lie as well: the first place that its channel lists has it, and tells the hash. */
  readonly orElse?: string;
  /** What a relative location starts from (CEP 23 says the working directory). */
  readonly relativeTo: "lock-file" | "working-directory";
  /** Lower hex digits. */
  readonly sha256?: string;
  readonly md5?: string;
  /** Bytes. */
  readonly size?: number;
  readonly subdir?: string;
  /** The group that conda-lock puts it in: "main", "dev". */
  readonly category?: string;
}

/** An entry that is no conda package which could be fetched. */
export interface Skipped {
  readonly kind: "pypi" | "source" | "no-url";
  readonly location: string;
}
