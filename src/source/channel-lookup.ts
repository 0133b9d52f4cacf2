import { isSubdir, parseFileName } from "../conda/file-name.ts";
import { TransferError } from "../errors.ts";
import { findRecord, mapOf } from "../index/repodata.ts";
import { fileNameIn, recordIn } from "../index/shard-json.ts";
import { redactUrl } from "../transfer/redact.ts";
import { readWholeIndex } from "./channel-index.ts";
import { openChannelPlace, type PlaceContext } from "./channel-place.ts";
import { openShards, type ShardedIndex } from "./channel-shards.ts";

/** Looks single packages up in the indexes of the channels that their URLs lie in. */
export interface ChannelLookup {
  /**
   * The channel's record of a package, as JSON bytes; undefined when the URL lies in no channel or it lists no such file.
   * @throws SourceError BAD_INDEX or TransferError when there is an index that can't be read.
   */
  recordOf(url: string, fileName: string, signal: AbortSignal): Promise<Uint8Array | undefined>;
}

type Lookup = (fileName: string, signal: AbortSignal) => Promise<Uint8Array | undefined>;

const MiB = 1024 * 1024;

/** Whole indexes above this are not read for the sake of a hash; channels of that size serve shards. */
const MAX_INDEX = 512 * MiB;

export function channelLookup(context: PlaceContext): ChannelLookup {
  const folders = new Map<string, Promise<Lookup>>();

  const openFolder = async (base: string, subdir: string, signal: AbortSignal): Promise<Lookup> => {
    const place = openChannelPlace({ name: redactUrl(base), base: { url: base } }, context);
    const shards = await unlessRefused(() => openShards(place, subdir, 1, signal));
    if (shards && shards !== "unchanged") return (fileName, s) => inShards(shards, fileName, s);
    const whole = await unlessRefused(() => readWholeIndex(place, subdir, signal, undefined, MAX_INDEX));
    if (whole === undefined || whole === "unchanged") return async () => undefined;
    return async (fileName) => {
      const record = findRecord(whole.index, fileName);
      return record && Uint8Array.from(record);
    };
  };

  return {
    async recordOf(url, fileName, signal) {
      if (url.includes("?")) return undefined;
      const folder = url.slice(0, url.lastIndexOf("/") + 1);
      if (!isSubdir(folder.split("/").at(-2) ?? "")) return undefined;
      let lookup = folders.get(folder);
      if (!lookup) {
        const [base, subdir] = [folder.replace(/[^/]+\/$/, ""), folder.split("/").at(-2) as string];
        lookup = openFolder(base, subdir, signal);
        folders.set(folder, lookup);
      }
      return (await lookup)(fileName, signal);
    },
  };
}

/** Whether an index is there is asked for the sake of a hash: who may not read it goes without. */
async function unlessRefused<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (e) {
    if (e instanceof TransferError && e.code === "REFUSED") return undefined;
    throw e;
  }
}

async function inShards(shards: ShardedIndex, fileName: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
  const content = await shards.load(parseFileName(fileName).name.toLowerCase(), signal);
  if (!content) return undefined;
  const its = content.records.filter((r) => fileNameIn(content, r) === fileName);
  const found = its.find((r) => r.map === mapOf(fileName, true)) ?? its.find((r) => r.map === mapOf(fileName));
  return found && recordIn(content, found);
}
