import {
  asMirrorError,
  InterruptedError,
  type MirrorError,
  PackageError,
  TargetError,
  TransferError,
} from "../errors.ts";
import type { HttpSettings } from "./http.ts";
import type { Address, OpenRequest } from "./place.ts";

/** What a worker thread starts with. */
export interface WorkerData {
  readonly http: HttpSettings;
  /** Where compiled code is kept, when this process keeps any. */
  readonly compileCache: string | undefined;
}

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
   * A channel's folder on this machine in which nothing has this file name yet: the package is then moved to its
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

/** To a worker. `id` names one reception; what is sent for one is done in order. Buffers are handed over, not copied. */
export type ToWorker =
  /** Ends every fetch under way; packages that have come whole are finished. */
  { readonly do: "stop" } | ForReception;

export type ForReception =
  /** Opens the place, takes from it what is still missing, and finishes. After a failure it can be asked again. */
  | {
      readonly id: number;
      readonly do: "fetch";
      readonly expected: Expected;
      readonly stagedPath: string;
      readonly address: Address;
      readonly request: OpenRequest;
    }
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

/** From a worker: one answer for each "fetch", "chunk", "finish" and "whole", and news of fetches. */
export type FromWorker =
  | {
      readonly id: number;
      readonly ok: true;
      readonly received?: Received;
      /** Of a fetch. */
      readonly fetched?: FetchNews;
      /** The buffer that came, handed back. */
      readonly used?: ArrayBuffer;
    }
  | {
      readonly id: number;
      readonly ok: false;
      readonly error: SentError;
      readonly fetched?: FetchNews;
      readonly used?: ArrayBuffer;
    }
  | { readonly id: number; readonly ok: undefined; readonly fetched: FetchNews };

/** Where a fetch is. */
export interface FetchNews {
  /** Bytes since the last news, negative when some are fetched again. */
  readonly bytes: number;
  readonly size: number | undefined;
  /** Bytes that the worker has. */
  readonly got: number;
  readonly version: string | undefined;
  readonly unchanged?: true;
}

interface SentError {
  readonly family: string;
  readonly code: string;
  readonly what: string;
  readonly why: string;
  readonly next: string;
  readonly stack: string | undefined;
  readonly mayPass: boolean;
  readonly retryAfterMs: number | undefined;
}

/** An error in a form that crosses threads. */
export function sendError(thrown: unknown, what: string): SentError {
  const e = asMirrorError(thrown, what);
  const retry =
    e instanceof TransferError
      ? { mayPass: e.mayPass, retryAfterMs: e.retryAfterMs }
      : { mayPass: false, retryAfterMs: undefined };
  return { family: e.family, code: e.code, what: e.what, why: e.why, next: e.next, stack: e.stack, ...retry };
}

/** The error that was sent, of its own class again. */
export function reviveError(sent: SentError): MirrorError {
  const told = { what: sent.what, why: sent.why, next: sent.next };
  const error =
    sent.family === "interrupted"
      ? new InterruptedError()
      : sent.family === "transfer"
        ? new TransferError(sent.code as TransferError["code"], told, sent)
        : sent.family === "target"
          ? new TargetError(sent.code as TargetError["code"], told)
          : new PackageError(sent.code as PackageError["code"], told);
  if (sent.stack) error.stack = sent.stack;
  return error;
}
