import { TransferError } from "../errors.ts";
import type { ByteStream } from "./place.ts";
import { inPortions, type Portions } from "./portions.ts";
import type { Expected, Received } from "./worker-messages.ts";

/** Where the bytes of one package go, in order. Buffers are handed over. */
export interface Sink {
  /** Resolves when there is room for more. */
  chunk(bytes: Uint8Array<ArrayBuffer>): Promise<void> | void;
  /** Forgets what came: the next bytes are the file's first. */
  restart(): Promise<void> | void;
  /** All bytes are there. @throws MirrorError when they are not what was expected, or no package. */
  finish(): Promise<Received>;
  /** All bytes at once, instead of `chunk` and `finish`. */
  whole(bytes: Uint8Array<ArrayBuffer>): Promise<Received>;
}

/** How far the fetching of a package has come, over all its tries. */
export interface Progress {
  /** Bytes that the sink has. */
  got: number;
  /** Of what state of the file they are. */
  version: string | undefined;
}

/**
 * Takes a package from a stream to its sink: in one piece where it is small, else in portions.
 * @param progress what earlier tries brought; kept up to date also when this one fails.
 * @param onBytes told of bytes that came, negative when some are fetched again; and the size where it is known.
 * @throws TransferError SIZE_MISMATCH or CUT, and what stream and sink throw.
 */
export async function take(
  stream: ByteStream,
  sink: Sink,
  expected: Omit<Expected, "record">,
  progress: Progress,
  portions: Portions,
  onBytes: (bytes: number, size: number | undefined) => void,
): Promise<Received> {
  if (stream.start !== progress.got) {
    // The server begins again, or the file changed between two tries.
    await sink.restart();
    onBytes(-progress.got, stream.size);
    progress.got = 0;
  }
  progress.version = stream.version;
  const wrongSize = (bytes: string) =>
    new TransferError(
      "SIZE_MISMATCH",
      {
        what: `${expected.fileName}: size differs from the one its source promises`,
        why: `expected ${expected.size} bytes, ${expected.origin} has ${bytes}`,
        next: "nothing was added; tell the channel's owner if it stays",
      },
      { mayPass: false },
    );
  if (expected.size !== undefined && stream.size !== undefined && stream.size !== expected.size) {
    stream.cancel();
    throw wrongSize(String(stream.size));
  }
  const size = stream.size ?? expected.size;
  // The newest portion waits here until it is known whether it is the only one.
  let held: Uint8Array<ArrayBuffer> | undefined;
  const handOver = async () => {
    if (!held) return;
    const bytes = held;
    held = undefined;
    // What is handed over is gone, so the count must be right before anything can fail.
    progress.got += bytes.length;
    await sink.chunk(bytes);
  };
  const left = stream.size === undefined ? undefined : stream.size - progress.got;
  const chunks = stream.owned
    ? (stream.chunks as AsyncIterable<Uint8Array<ArrayBuffer>>)
    : inPortions(stream.chunks, progress.got === 0 ? size : left, portions);
  try {
    for await (const chunk of chunks) {
      await handOver();
      held = chunk;
      onBytes(chunk.length, size);
      if (expected.size !== undefined && progress.got + chunk.length > expected.size)
        throw wrongSize(`more than ${progress.got + chunk.length}`);
    }
  } catch (e) {
    await handOver();
    throw e;
  }
  const total = progress.got + (held?.length ?? 0);
  if (stream.size !== undefined && total !== stream.size) {
    await handOver();
    throw new TransferError(
      "CUT",
      {
        what: expected.origin,
        why: `the connection ended after ${total} of ${stream.size} bytes`,
        next: "run again; what arrived whole is kept",
      },
      { mayPass: true },
    );
  }
  if (progress.got === 0) return sink.whole(held ?? new Uint8Array(0));
  await handOver();
  return sink.finish();
}
