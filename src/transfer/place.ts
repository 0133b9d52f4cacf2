import type { Proven } from "../auth/prove.ts";
import type { ReadAt } from "../package/read-at.ts";
import type { Part } from "./part.ts";

/** Where a reading begins and what it depends on. */
export interface OpenRequest {
  /** First byte wanted; 0 when absent. */
  readonly start?: number;
  /** Byte behind the last one wanted. */
  readonly end?: number;
  /** Continue at `start` only if the file is still this version; else the stream begins at 0. */
  readonly ifVersion?: string;
  /** Give "unchanged" instead of a stream if the file is still this version. */
  readonly unlessVersion?: string;
  /** Further headers, by lower-case name: sent to the origin that is asked first, and to none that it redirects to. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Bytes as they come. */
export interface ByteStream {
  /** Offset of the first byte that comes: `start`, or 0 where the other side does not do ranges. */
  readonly start: number;
  /** Bytes of the whole file, where the other side says it. */
  readonly size: number | undefined;
  /** Names this state of the file: an ETag, a date, or size and time. */
  readonly version: string | undefined;
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Each chunk is a portion of its own, and the taker's (see `Response.owned`). Default: they are only to be looked at. */
  readonly owned?: boolean;
  /** Ends the stream unread. Needed only when `chunks` is not iterated. */
  cancel(): void;
}

/** Opens a file; throws TransferError. */
export type Open = (request: OpenRequest, signal: AbortSignal) => Promise<ByteStream | "unchanged">;

/** A place in words that cross threads: a URL, which may carry secrets, or a file's path on this machine. */
export type Address = (Proven | { readonly path: string }) & {
  /** Only these bytes of it are meant. */
  readonly part?: Part;
};

/** One place where a package's bytes are. */
export interface Place {
  /** For people: URL or path, secrets removed. */
  readonly origin: string;
  /** Set where the run's HTTP client or the file system can open it: a worker thread then fetches it by itself. */
  readonly address?: Address;
  readonly open: Open;
  /**
   * Set where opening it elsewhere than at its start is dear, such as in the middle of compressed bytes.
   * @param atAnyCost even if all of it has to be fetched for that; else what would be too much is refused.
   */
  readonly lookInto?: (signal: AbortSignal, atAnyCost: boolean) => Promise<ReadAt>;
}
