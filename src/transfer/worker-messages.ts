import type { SentError } from "../errors.ts";
import type { HttpSettings } from "./http.ts";
import type { Address, OpenRequest } from "./place.ts";
import type { PlacerPlan } from "./placer.ts";

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
  /** What the zip that it lies in says; hashes are better promises. */
  readonly crc32?: number;
  readonly size?: number;
  /** Where the source says it belongs. */
  readonly subdir?: string;
  /**
   * A channel's folder on this machine, or a way to a place elsewhere, in which nothing has this file name yet: the package
   * is then moved to its place by the worker that has it, which spares two trips through the thread pool a package.
   */
  readonly placeIn?: string | PlacerPlan;
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
  /** Whether only the v3 maps of an index may hold it (CEP 48). */
  readonly v3: boolean;
  /** What it exports, as compact JSON; `{}` for nothing. */
  readonly runExports: Uint8Array;
  readonly stagedPath: string;
  /** It is in its place already, as `Expected.placeIn` allowed. */
  readonly placed: boolean;
  readonly warnings: readonly string[];
}

/** `Expected` on its way to a worker: the record as `sentBytes` makes it. */
export type SentExpected = Omit<Expected, "record"> & { readonly record?: string };

/** `Received` on its way from a worker: record and run exports as `sentBytes` makes them. */
export type SentReceived = Omit<Received, "record" | "runExports"> & {
  readonly record: string;
  readonly runExports: string;
};

/** To a worker. `id` names one reception; what is sent for one is done in order. Buffers are handed over, not copied. */
export type ToWorker =
  /** Ends every fetch under way; packages that have come whole are finished. */
  { readonly do: "stop" } | ForReception;

export type ForReception =
  /** Opens the place, takes from it what is still missing, and finishes. After a failure it can be asked again. */
  | {
      readonly id: number;
      readonly do: "fetch";
      readonly expected: SentExpected;
      readonly stagedPath: string;
      readonly address: Address;
      readonly request: OpenRequest;
    }
  | { readonly id: number; readonly do: "begin"; readonly expected: SentExpected; readonly stagedPath: string }
  | { readonly id: number; readonly do: "chunk"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly id: number; readonly do: "restart" }
  | { readonly id: number; readonly do: "finish" }
  | {
      readonly id: number;
      readonly do: "whole";
      readonly expected: SentExpected;
      readonly stagedPath: string;
      readonly bytes: Uint8Array<ArrayBuffer>;
    }
  | { readonly id: number; readonly do: "drop" };

/** From a worker: one answer for each "fetch", "chunk", "finish" and "whole", and news of fetches. */
export type FromWorker =
  | {
      readonly id: number;
      readonly ok: true;
      readonly received?: SentReceived;
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
