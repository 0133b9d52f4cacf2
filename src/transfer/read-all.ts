import { TransferError } from "../errors.ts";
import type { Place } from "./place.ts";

/** A whole file in memory, at most `limit` bytes of it. @throws TransferError SIZE_MISMATCH when it is larger, CUT when it is cut. */
export async function readAll(place: Place, limit: number, signal: AbortSignal): Promise<Uint8Array> {
  const stream = await place.open({}, signal);
  if (stream === "unchanged") return new Uint8Array(0);
  const tooLarge = () =>
    new TransferError(
      "SIZE_MISMATCH",
      {
        what: place.origin,
        why: `it is larger than ${limit} bytes`,
        next: "it is not what it should be; tell its owner",
      },
      { mayPass: false },
    );
  if (stream.size !== undefined && stream.size > limit) {
    stream.cancel();
    throw tooLarge();
  }
  // Where the size is told there is never a second copy of a large file. Memory that is not written to is not taken.
  const whole = stream.size === undefined ? undefined : Buffer.allocUnsafeSlow(stream.size);
  const chunks: Uint8Array[] = [];
  let got = 0;
  for await (const chunk of stream.chunks) {
    if (got + chunk.length > Math.min(limit, whole?.length ?? limit)) throw tooLarge();
    if (whole) whole.set(chunk, got);
    else chunks.push(Uint8Array.from(chunk));
    got += chunk.length;
  }
  if (stream.size !== undefined && got !== stream.size) {
    throw new TransferError(
      "CUT",
      { what: place.origin, why: `the connection ended after ${got} of ${stream.size} bytes`, next: "run again" },
      { mayPass: true },
    );
  }
  return whole ?? Buffer.concat(chunks);
}
