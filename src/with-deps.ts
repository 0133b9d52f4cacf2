import { join } from "node:path";
import type { Brought } from "./bring.ts";
import { compact } from "./conda/json-bytes.ts";
import { type SourceError, UsageError } from "./errors.ts";
import { findRecord } from "./index/repodata.ts";
import { readPackage } from "./package/read.ts";
import type { Run } from "./run.ts";
import { openGate } from "./solve/channel-gate.ts";
import { closure, type Root } from "./solve/closure.ts";
import { channelAddress } from "./source/channel-address.ts";
import { readWholeIndex } from "./source/channel-index.ts";
import { type ChannelPlace, openChannelPlace } from "./source/channel-place.ts";
import { localSource } from "./source/local.ts";
import type { PackageRef } from "./source/source.ts";
import { knownFrom, promisedBy, urlSource } from "./source/url.ts";
import { thisPlatform } from "./this-platform.ts";
import { readAtPlace } from "./transfer/read-at-place.ts";
import { redactUrl } from "./transfer/redact.ts";

/** Which dependencies to take along, and from where. */
export interface WithDeps {
  /** A channel's name, URL or folder. */
  readonly channel: string;
  /** Platforms to solve for; those of the packages when empty, else this machine's. */
  readonly platforms: readonly string[];
}

/** No index of a channel comes near this. */
const MAX_FILE = 1024 * 1024 * 1024;

/** What packages need, and those for which it can't be had. */
export interface Dependencies {
  readonly offers: readonly PackageRef[];
  readonly unsolvable: readonly { readonly fileName: string; readonly error: SourceError }[];
}

/**
 * What the packages of a run need, as offers of a channel: the closure of their dependencies, solved for each platform, so
 * that the target installs without any other channel.
 * @param results what became of the packages; those that failed are left out.
 * @throws TransferError when the channel can't be read
 */
export async function dependencies(
  { channel, platforms }: WithDeps,
  results: readonly Brought[],
  refs: readonly PackageRef[],
  run: Run,
): Promise<Dependencies> {
  const roots = await rootsOf(results, refs, run.signal);
  if (roots.length === 0) return { offers: [], unsolvable: [] };
  const place = placeOf(channel, run);
  const gate = await openGate(async (path) => {
    const file = await place.read(path, MAX_FILE, run.signal);
    return file === "unchanged" ? undefined : file?.bytes;
  });
  const own = [...new Set(roots.map((r) => r.subdir))].filter((s) => s !== "noarch");
  const wanted = platforms.length > 0 ? platforms : own.length > 0 ? own : [thisPlatform()];
  const needed = new Map<string, { subdir: string; fileName: string }>();
  const solved = new Set<Root>();
  const unsolvable = new Map<Root, SourceError>();
  try {
    for (const platform of wanted) {
      const fitting = roots.filter((r) => r.subdir === "noarch" || r.subdir === platform);
      const found = await closure(fitting, platform, gate, redactUrl(channel));
      for (const one of found.needed) needed.set(`${one.subdir}/${one.fileName}`, one);
      for (const root of fitting) if (!found.unsolvable.has(root)) solved.add(root);
      for (const [root, error] of found.unsolvable) unsolvable.set(root, error);
    }
  } finally {
    await gate.close();
  }
  const offers: PackageRef[] = [];
  const { base } = place.address;
  const recordOf = recordsOf(place, run.signal);
  for (const { subdir, fileName } of needed.values()) {
    if ("folder" in base) {
      const path = join(base.folder, subdir, fileName);
      const record = await recordOf(subdir, fileName);
      const known = record ? { ...knownFrom(record), ...promisedBy(record, (s) => place.package(`${path}${s}`)) } : {};
      for await (const ref of localSource(path).packages(run.signal)) offers.push({ ...ref, ...known });
    } else {
      const url = new URL(`${subdir}/${encodeURIComponent(fileName)}`, base.url).toString();
      for await (const ref of urlSource(url, run.sourceContext).packages(run.signal)) offers.push(ref);
    }
  }
  // A package for no platform in particular need not fit them all.
  const failed = [...unsolvable].filter(([root]) => !solved.has(root));
  return { offers, unsolvable: failed.map(([{ fileName }, error]) => ({ fileName, error })) };
}

/** Looks records up in the indexes of a channel's folder, as those of addresses are: they promise hashes and attestations, and are published. */
function recordsOf(
  place: ChannelPlace,
  signal: AbortSignal,
): (subdir: string, fileName: string) => Promise<Uint8Array | undefined> {
  const indexes = new Map<string, ReturnType<typeof readWholeIndex>>();
  return async (subdir, fileName) => {
    const known = indexes.get(subdir) ?? readWholeIndex(place, subdir, signal);
    indexes.set(subdir, known);
    const upstream = await known;
    if (!upstream || upstream === "unchanged") return undefined;
    const record = findRecord(upstream.index, fileName);
    // A copy: the index it lies in is let go.
    return record && Uint8Array.from(compact(record));
  };
}

async function rootsOf(results: readonly Brought[], refs: readonly PackageRef[], signal: AbortSignal): Promise<Root[]> {
  const roots = new Map<string, Root>();
  for (const { outcome, record } of results) {
    if (outcome.outcome === "failed" || outcome.outcome === "skipped") continue;
    const { fileName, subdir } = outcome;
    // rattler takes one of two formats of a build, the newer one.
    const key = `${subdir}/${fileName.replace(/\.(conda|tar\.bz2)$/, "")}`;
    if (roots.has(key) && !fileName.endsWith(".conda")) continue;
    const ref = refs.find((r) => r.fileName === fileName && r.origin === outcome.origin);
    const bytes = record ?? ref?.record ?? (ref && (await indexJson(ref, signal)));
    if (!bytes) continue;
    roots.set(key, { fileName, subdir, record: JSON.parse(Buffer.from(bytes).toString("utf8")) as Root["record"] });
  }
  return [...roots.values()];
}

/** A package that was there already is looked into where it comes from. */
async function indexJson(ref: PackageRef, signal: AbortSignal): Promise<Uint8Array | undefined> {
  const info = await readPackage(ref.fileName, await readAtPlace(ref, signal, true), ["info/index.json"]);
  return info.members.get("info/index.json");
}

/** @throws UsageError BAD_FLAG, SourceError */
function placeOf(text: string, run: Run): ChannelPlace {
  const address = channelAddress(text, run.settings.channel_alias);
  if (address) return openChannelPlace(address, run.sourceContext);
  throw new UsageError("BAD_FLAG", {
    what: `--with-deps ${redactUrl(text)}`,
    why: "it is no channel's name, URL or folder",
    next: "name a channel: --with-deps conda-forge, a URL, or a path that begins with ./ or /",
  });
}
