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
  /** Ends the stream unread. Needed only when `chunks` is not iterated. */
  cancel(): void;
}

/** Opens a file; throws TransferError. */
export type Open = (request: OpenRequest, signal: AbortSignal) => Promise<ByteStream | "unchanged">;

/** One place where a package's bytes are. */
export interface Place {
  /** For people: URL or path, secrets removed. */
  readonly origin: string;
  readonly open: Open;
}
