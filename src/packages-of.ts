import { asMirrorError, type MirrorError, TransferError } from "./errors.ts";
import { eachRecord } from "./index/repodata.ts";
import type { Run } from "./run.ts";
import type { ChannelSource } from "./source/channel.ts";
import type { Upstream } from "./source/channel-index.ts";
import type { PackageRef, Source } from "./source/source.ts";

/** A package on offer, or why one that a source names can't be taken. */
type Found = PackageRef | { readonly fileName: string; readonly origin: string; readonly error: MirrorError };

/** What a source offers; a channel's records one by one, so that a bad one costs no other. */
export async function* packagesOf(source: Source, run: Pick<Run, "signal">): AsyncGenerator<Found> {
  if (!source.channel) {
    yield* source.packages(run.signal);
    return;
  }
  for (const subdir of await source.channel.subdirs(run.signal)) {
    const upstream = await readSubdir(source.channel, subdir, run.signal);
    if (upstream) yield* offersOf(source.channel, upstream);
  }
}

/** A subdir's index in the best form there is: in shards where it has them, else whole. */
async function readSubdir(channel: ChannelSource, subdir: string, signal: AbortSignal): Promise<Upstream | undefined> {
  try {
    const shards = await channel.shards(subdir, signal);
    if (shards && shards !== "unchanged") return await shards.whole(shards.shards.keys(), signal);
  } catch (e) {
    // S3 answers 403 for a missing key where listing is not allowed.
    if (!(e instanceof TransferError && e.code === "REFUSED")) throw e;
  }
  const whole = await channel.whole(subdir, signal);
  return whole === "unchanged" ? undefined : whole;
}

function* offersOf(channel: ChannelSource, upstream: Upstream): Generator<Found> {
  const refused = new Map(upstream.refused);
  const failed = (fileName: string, e: unknown): Found => {
    refused.delete(fileName);
    const error = asMirrorError(e, fileName);
    return { fileName, origin: `${channel.address.name}/${upstream.subdir}`, error };
  };
  const told = new Set<string>();
  for (const { map, fileName, record } of eachRecord(upstream.index)) {
    if (told.has(fileName)) continue;
    try {
      yield channel.offer(upstream, map, fileName, record);
    } catch (e) {
      told.add(fileName);
      yield failed(fileName, e);
    }
  }
  // Those that are no records at all.
  for (const fileName of [...refused.keys()]) yield failed(fileName, channel.refusal(upstream, fileName));
}
