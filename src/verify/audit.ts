import type { Store } from "../target/store.ts";
import type { Clock, RetryOptions } from "../transfer/retry.ts";
import type { Checkers } from "./checkers.ts";
import type { Finding } from "./finding.ts";

/** What was looked at, and what could not be. */
export interface Counts {
  /** Packages whose file was looked at. */
  packages: number;
  /** Bytes of packages that were read. */
  bytes: number;
  /** Packages whose record says no hash to check by. */
  unhashed: number;
  /** Packages that an index says lie elsewhere (CEP 15) and that are not beside it. */
  elsewhere: number;
  /** Packages that no record names yet, and that another run may be about to list. */
  arriving: number;
}

/** What is told on the way. */
export interface AuditNews {
  /** So many packages of a subdir are to be looked at, so many bytes of them read. */
  reading(subdir: string, packages: number, bytes: number): void;
  read(packages: number, bytes: number): void;
}

/** What one audit works with. It changes nothing. */
export interface Audit {
  readonly store: Store;
  /** Presence and size of packages alone. */
  readonly quick: boolean;
  readonly signal: AbortSignal;
  /** Transfers at the same time, where the store lies elsewhere. */
  readonly concurrency: number;
  readonly clock: Clock;
  readonly retry: Omit<RetryOptions, "signal">;
  readonly checkers: Checkers;
  /** A folder of this machine for packages of a store that lies elsewhere, while they are looked at. */
  readonly scratch: () => Promise<string>;
  readonly counts: Counts;
  readonly news: AuditNews;
}

/** A finding that is about a file of a subdir. */
export function finding(code: Finding["code"], subdir: string, fileName: string, detail: string): Finding {
  return { code, subdir, fileName, detail };
}

/** What an error says, in one line. */
export function words(e: unknown): string {
  const { why, message } = e as { readonly why?: string; readonly message?: string };
  return (why ?? message ?? String(e)).replace(/\s*\n\s*/g, "; ");
}
