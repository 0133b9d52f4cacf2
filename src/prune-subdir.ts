import { chooseFile, chooseRecords } from "./choose/choose-index.ts";
import { RecordReader } from "./choose/record-reader.ts";
import type { Rules } from "./choose/rules.ts";
import { recordFacts } from "./conda/record-facts.ts";
import {
  countRecords,
  entryAt,
  entryNamed,
  mapOf,
  nth,
  RECORD_MAPS,
  type RecordMap,
  type Repodata,
  SPAN,
} from "./index/repodata.ts";

/** What rules make of one subdir of a channel. */
export interface PrunedSubdir {
  readonly subdir: string;
  /** Records that the index lists. */
  readonly listed: number;
  /** Files that the rules don't want, each once. */
  readonly gone: readonly string[];
  /** Bytes of each, as its record has it; NaN where it does not tell. */
  readonly sizes: Float64Array;
  /** Bytes of those that stay, as far as records tell. */
  readonly keptBytes: number;
}

/**
 * Which files of an index go: those that a mirror of this channel by the same rules would not have. What the index itself lists
 * as taken back (CEP 36) is among them, whatever the rules say of it.
 * @param channel what specs that name one are held to.
 * @param needed files that stay, whatever the rules say of them.
 */
export function pruneIndex(
  index: Repodata,
  subdir: string,
  channel: string,
  rules: Rules,
  needed: Iterable<string> = [],
): PrunedSubdir {
  const { chosen } = chooseRecords(index, { channel, subdir }, rules);
  for (const fileName of needed) chooseFile(index, chosen, fileName, 1);
  for (const fileName of index.removed) chooseFile(index, chosen, fileName, 0);
  const sizeOf = sizes(index);
  const gone: string[] = [];
  const bytes: number[] = [];
  /** Files that stay though their own map has no record of them that does. */
  const elsewhere = new Set<string>();
  let keptBytes = 0;
  for (const map of RECORD_MAPS) {
    const entries = index.maps[map];
    for (let i = 0; i < entries.count; i++) {
      const entry = nth(entries, i);
      const stays = chosen[map][entry] === 1;
      const size = sizeOf(map, entry);
      if (stays && !Number.isNaN(size)) keptBytes += size;
      const { fileName } = entryAt(index, map, entry);
      const home = mapOf(fileName);
      if (stays && home !== map) elsewhere.add(fileName);
      // Of a file that stands in two maps one record is enough to stay.
      if (stays || (home !== map && isChosen(index, chosen, home, fileName))) continue;
      gone.push(fileName);
      bytes.push(size);
    }
  }
  const once = elsewhere.size > 0 || index.maps["v3.conda"].count > 0 || index.maps["v3.tar.bz2"].count > 0;
  if (!once) return { subdir, listed: countRecords(index), gone, sizes: Float64Array.from(bytes), keptBytes };
  const all = new Map<string, number>();
  for (const [i, fileName] of gone.entries()) if (!elsewhere.has(fileName)) all.set(fileName, bytes[i] as number);
  return {
    subdir,
    listed: countRecords(index),
    gone: [...all.keys()],
    sizes: Float64Array.from(all.values()),
    keptBytes,
  };
}

function isChosen(
  index: Repodata,
  chosen: Readonly<Record<RecordMap, Uint8Array>>,
  map: RecordMap,
  fileName: string,
): boolean {
  const entry = entryNamed(index, map, fileName);
  return entry !== undefined && chosen[map][entry] === 1;
}

/** Reads sizes from records without making objects of them; NaN for those that tell none. */
function sizes({ bytes, maps }: Repodata): (map: RecordMap, entry: number) => number {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const reader = new RecordReader(text, ["size"]);
  let surveyed: RecordMap | undefined;
  return (map, entry) => {
    const { spans, unsure } = maps[map];
    const start = spans[entry * SPAN + 2] as number;
    if (unsure.has(entry)) return recordFacts(bytes.subarray(start, spans[entry * SPAN + 3])).size ?? Number.NaN;
    if (surveyed !== map) reader.survey(start);
    surveyed = map;
    reader.open(start);
    const size = reader.value(0);
    return typeof size === "number" && Number.isSafeInteger(size) && size >= 0 ? size : Number.NaN;
  };
}
