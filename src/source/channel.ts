import { isSubdir, parseFileName } from "../conda/file-name.ts";
import { compact } from "../conda/json-bytes.ts";
import { type RecordFacts, recordFacts } from "../conda/record-facts.ts";
import { MirrorError, PackageError, SourceError, UsageError } from "../errors.ts";
import { eachRecord, type RecordMap } from "../index/repodata.ts";
import { redactUrl } from "../transfer/redact.ts";
import { type ChannelAddress, channelAddress } from "./channel-address.ts";
import { readWholeIndex, type Upstream, type UpstreamState } from "./channel-index.ts";
import { type ChannelPlace, openChannelPlace, type PlaceContext } from "./channel-place.ts";
import { type FoundRunExports, findChannelRunExports } from "./channel-run-exports.ts";
import { openShards, type ShardedIndex } from "./channel-shards.ts";
import { type PackageRef, SIDECARS, type Source } from "./source.ts";
import { type MirrorOf, mirrorsOf } from "./url.ts";

/** A whole channel as a source: its records are known before a package is looked at. */
export interface ChannelSource {
  readonly address: ChannelAddress;
  readonly place: ChannelPlace;
  /** The subdirs that it has, among those asked for. @throws SourceError NOT_FOUND when it has none at all */
  subdirs(signal: AbortSignal): Promise<string[]>;
  /** A subdir's index in shards; undefined when it has none. */
  shards(subdir: string, signal: AbortSignal, unless?: UpstreamState): Promise<ShardedIndex | "unchanged" | undefined>;
  /** A subdir's whole index; undefined when it has none. */
  whole(subdir: string, signal: AbortSignal, unless?: UpstreamState): Promise<Upstream | "unchanged" | undefined>;
  /** What a subdir says of run exports beside its index (CEP 12); undefined when it says nothing. @throws SourceError, TransferError */
  runExports(subdir: string, signal: AbortSignal): Promise<FoundRunExports | undefined>;
  /**
   * A package of an index as an offer.
   * @throws PackageError when its record can't be followed: a name that is none, another subdir, a record that is ambiguous
   */
  offer(upstream: Upstream, map: RecordMap, fileName: string, record: Uint8Array): PackageRef;
  /** Why a package that an index refuses is refused. */
  refusal(upstream: Upstream, fileName: string): PackageError;
}

export interface ChannelContext extends PlaceContext {
  readonly mirrors: readonly MirrorOf[];
  /** Requests at the same time. */
  readonly concurrency: number;
  /** Subdirs to take; all when absent. */
  readonly subdirs?: readonly string[] | undefined;
  /** What stands before bare names. */
  readonly channelAlias?: string;
}

/**
 * Every package of a channel: a name (`conda-forge`, `conda-forge/label/dev`), an address or a folder with an index.
 * @throws UsageError BAD_SOURCE when it is no channel's name or address; SourceError UNREADABLE
 */
export function channelSource(text: string, context: ChannelContext): Source & { readonly channel: ChannelSource } {
  const address = channelAddress(text, context.channelAlias);
  if (!address) {
    throw new UsageError("BAD_SOURCE", {
      what: `${redactUrl(text)}: not a channel`,
      why: "it is no channel's name, address or folder",
      next: "name a channel: conda-forge, a URL, or a path that begins with ./ or /",
    });
  }
  const channel = openChannel(address, context);
  return {
    what: address.name,
    channel,
    async *packages(signal) {
      for (const subdir of await channel.subdirs(signal)) {
        const upstream = await channel.whole(subdir, signal);
        if (upstream === undefined || upstream === "unchanged") continue;
        for (const { map, fileName, record } of eachRecord(upstream.index)) {
          if (signal.aborted) return;
          yield channel.offer(upstream, map, fileName, record);
        }
      }
    },
  };
}

/** Opens a channel to read its indexes. @throws SourceError UNREADABLE */
export function openChannel(address: ChannelAddress, context: ChannelContext): ChannelSource {
  const place = openChannelPlace(address, context);
  const asked = address.subdir === undefined ? context.subdirs : [address.subdir];
  return {
    address,
    place,
    async subdirs(signal) {
      const there = await place.subdirs(asked, signal);
      if (there.length > 0) return there;
      throw new SourceError("NOT_FOUND", {
        what: `${address.name}: no channel is there`,
        why: `no index was found${asked ? ` of ${asked.join(", ")}` : ""} at ${"url" in address.base ? redactUrl(address.base.url) : address.base.folder}`,
        next: `check the ${"url" in address.base ? "channel's name or address (no file or folder here has that name)" : "folder"}; its subdirs must have a repodata.json or repodata.json.zst`,
      });
    },
    shards: (subdir, signal, unless) => openShards(place, subdir, context.concurrency, signal, unless),
    whole: (subdir, signal, unless) => readWholeIndex(place, subdir, signal, unless),
    runExports: (subdir, signal) => findChannelRunExports(place, subdir, signal),
    refusal: ({ subdir, refused }, fileName) => refusal(subdir, fileName, refused.get(fileName) ?? "it has none"),
    offer: (upstream, map, fileName, record) => offerOf(place, upstream, map, fileName, record, context.mirrors),
  };
}

function offerOf(
  place: ChannelPlace,
  upstream: Upstream,
  map: RecordMap,
  fileName: string,
  record: Uint8Array,
  mirrors: readonly MirrorOf[],
): PackageRef {
  const { subdir } = upstream;
  const refuse = (why: string, cause?: unknown) => refusal(subdir, fileName, why, cause);
  const known = upstream.refused.get(fileName);
  if (known !== undefined) throw refuse(known);
  const name = parseFileName(fileName);
  let facts: RecordFacts;
  let kept: Uint8Array;
  try {
    facts = recordFacts(record);
    // A copy: the index it lies in is large, and is let go.
    kept = Uint8Array.from(compact(record));
  } catch (e) {
    throw e instanceof MirrorError ? e : refuse((e as Error).message, e);
  }
  for (const key of ["name", "version", "build"] as const) {
    if (facts[key] !== name[key])
      throw refuse(`the file's name says ${key} ${name[key]}, the record says ${String(facts[key])}`);
  }
  if (facts.subdir !== undefined && facts.subdir !== subdir)
    throw refuse(
      `it stands in the index of ${subdir}, and says that it is for ${isSubdir(facts.subdir) ? facts.subdir : "no subdir"}`,
    );
  const promised = facts.attestations;
  if (promised !== undefined && !(typeof promised === "string" && /^[0-9a-f]{64}$/.test(promised)))
    throw refuse("its attestations_sha256 is no SHA-256");
  const address = upstream.packagesAt + encodedFor(upstream.packagesAt, fileName);
  const packagePlace = place.package(address);
  const url = packagePlace.address && "url" in packagePlace.address ? packagePlace.address.url : undefined;
  const fallbacks = url === undefined ? [] : mirrorsOf(url, mirrors).map((to) => place.package(to));
  const runExports = upstream.runExports(fileName);
  return {
    ...packagePlace,
    fileName,
    subdir,
    record: kept,
    v3: map.startsWith("v3."),
    current: true,
    ...(facts.sha256 === undefined ? {} : { sha256: facts.sha256 }),
    ...(facts.md5 === undefined ? {} : { md5: facts.md5 }),
    ...(facts.size === undefined ? {} : { size: facts.size }),
    ...(runExports ? { runExports } : {}),
    ...(fallbacks.length > 0 ? { fallbacks } : {}),
    ...(url !== undefined && /^https?:/i.test(url)
      ? { sidecars: () => SIDECARS.map((suffix) => place.package(`${address}${suffix}`)) }
      : {}),
    // In a registry only packages and indexes have a place.
    ...(typeof promised === "string" && !/^oci:/i.test(address)
      ? { attestations: { sha256: promised, place: () => place.package(`${address}.sigs.${promised}`) } }
      : {}),
  };
}

function refusal(subdir: string, fileName: string, why: string, cause?: unknown): PackageError {
  return new PackageError("BAD_METADATA", {
    what: `${subdir}/${fileName}: its channel's record can't be followed`,
    why,
    next: "the package is left out; tell the channel's owner",
    cause,
  });
}

function encodedFor(base: string, fileName: string): string {
  return /^https?:/i.test(base) ? encodeURIComponent(fileName) : fileName;
}
