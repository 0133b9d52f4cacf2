import { TransferError } from "../errors.ts";
import type { ReadAt } from "../package/read-at.ts";
import type { Place } from "./place.ts";

/**
 * Reads parts of a file where it lies, by range requests, without fetching the rest.
 * @param atAnyCost what is compressed inside an archive is fetched whole for it, however large it is.
 * @throws TransferError when the other side does not answer with ranges.
 */
export async function readAtPlace(place: Place, signal: AbortSignal, atAnyCost = false): Promise<ReadAt> {
  if (place.lookInto) return place.lookInto(signal, atAnyCost);
  const first = await place.open({ start: 0, end: 4 }, signal);
  const unable = (why: string) =>
    new TransferError(
      "SERVER_ERROR",
      { what: place.origin, why, next: "its content can't be looked at without fetching it; run without --dry-run" },
      { mayPass: false },
    );
  if (first === "unchanged") throw unable("the server claims that nothing changed");
  first.cancel();
  const { size } = first;
  if (size === undefined) throw unable("the server does not tell the file's size");
  return {
    size,
    async read(offset, length) {
      if (length === 0) return new Uint8Array(0);
      const stream = await place.open({ start: offset, end: offset + length }, signal);
      if (stream === "unchanged" || (stream.start !== offset && offset > 0)) {
        if (stream !== "unchanged") stream.cancel();
        throw unable("the server does not answer range requests");
      }
      const bytes = Buffer.allocUnsafe(length);
      let got = 0;
      for await (const chunk of stream.chunks) {
        const n = Math.min(chunk.length, length - got);
        bytes.set(chunk.subarray(0, n), got);
        got += n;
        if (got === length) break;
      }
      if (got < length) throw unable(`only ${got} of ${length} bytes came`);
      return bytes;
    },
  };
}
