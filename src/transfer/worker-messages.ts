import type { SentError } from "../errors.ts";

/** What a package must turn out to be. */
export interface Expected {
  readonly fileName: string;
  /** For errors: where the bytes come from. */
  readonly origin: string;
  readonly sha256?: string;
  readonly md5?: string;
  readonly size?: number;
  /** Where the source says it belongs. */
  readonly subdir?: string;
  /**
   * A channel's folder on this machine in which nothing has this file name yet: a small package is then moved to its
   * place by the worker that wrote it, which spares two trips through the thread pool a package.
   */
  readonly placeIn?: string;
  /** The source's own record; published as it is when it agrees with the package. */
  readonly record?: Uint8Array;
}

/** A package that arrived whole, agrees with what was promised, and waits in the staging folder. */
export interface Received {
  readonly fileName: string;
  readonly sha256: string;
  readonly md5: string;
  readonly size: number;
  readonly subdir: string;
  readonly record: Uint8Array;
  readonly stagedPath: string;
  /** It is in its place already, as `Expected.placeIn` allowed. */
  readonly placed: boolean;
  readonly warnings: readonly string[];
}

/** To a worker. `id` names one reception. Buffers are handed over, not copied. */
export type ToWorker =
  | { readonly id: number; readonly do: "begin"; readonly expected: Expected; readonly stagedPath: string }
  | { readonly id: number; readonly do: "chunk"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly id: number; readonly do: "restart" }
  | { readonly id: number; readonly do: "finish" }
  | {
      readonly id: number;
      readonly do: "whole";
      readonly expected: Expected;
      readonly stagedPath: string;
      readonly bytes: Uint8Array<ArrayBuffer>;
    }
  | { readonly id: number; readonly do: "drop" };

/** From a worker: one answer for each "chunk", "finish" and "whole". `used` is the buffer that came, handed back. */
export type FromWorker =
  | { readonly id: number; readonly ok: true; readonly received?: Received; readonly used?: ArrayBuffer }
  | { readonly id: number; readonly ok: false; readonly error: SentError; readonly used?: ArrayBuffer };
