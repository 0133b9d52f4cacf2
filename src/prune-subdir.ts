import { chooseFile, chooseRecords } from "./choose/choose-index.ts";
import { RecordReader } from "./choose/record-reader.ts";
import type { Rules } from "./choose/rules.ts";
import { recordFacts } from "./conda/record-facts.ts";
import { noteStanding } from "./index/merge-edits.ts";
import {
  entryNamed,
  fileNameOf,
  keyAt,
  lookUp,
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
  /** Files that the index lists. */
  readonly listed: number;
  /** Files that the rules don't want. */
  readonly gone: ReadonlySet<string>;
  /** Bytes of them as their records have it, in the same order; NaN where one does not tell. Of a dry run alone. */
  readonly sizes?: readonly number[];
  /** Of those that go, as far as records tell. */
  readonly goneBytes: number;
  /** Bytes of those that stay, as far as records tell. */
  readonly keptBytes: number;
}

/**
 * Which files of an index go: those that a mirror of this channel by the same rules would not have. What the index itself lists
 * as taken back (CEP 36) is among them, whatever the rules say of it.
 * @param channel what specs that name one are held to.
 * @param needed files that stay, whatever the rules say of them.
 * @param withSizes whether the size of each file is told.
 */
export function pruneIndex(
  index: Repodata,
  subdir: string,
  channel: string,
  rules: Rules,
  needed: Iterable<string> = [],
  withSizes = false,
): PrunedSubdir {
  const { chosen } = chooseRecords(index, { channel, subdir }, rules);
  for (const fileName of needed) chooseFile(index, chosen, fileName, 1);
  for (const fileName of index.removed) chooseFile(index, chosen, fileName, 0);
  const sizeOf = sizes(index);
  const gone = new Set<string>();
  const bytes: number[] = [];
  /** Files that stay though another record of theirs does not. */
  const elsewhere = new Set<string>();
  const going = Object.fromEntries(
    RECORD_MAPS.map((map) => [map, new Uint8Array(index.maps[map].count)]),
  ) as unknown as Record<RecordMap, Uint8Array>;
  /** Files that stay; one that stands in two maps is one. */
  let kept = 0;
  let [keptBytes, goneBytes] = [0, 0];
  for (const map of RECORD_MAPS) {
    const entries = index.maps[map];
    for (let i = 0; i < entries.count; i++) {
      const entry = nth(entries, i);
      const stays = chosen[map][entry] === 1;
      const size = sizeOf(map, entry);
      // Most stand in the map that they belong to.
      const atHome = stays && isAtHome(index.bytes, entries.spans[entry * SPAN + 1] as number, map);
      const fileName = atHome ? "" : fileNameOf(map, keyAt(index.bytes, entries, entry));
      const home = atHome ? map : mapOf(fileName);
      const counted = home !== map && isChosen(index, chosen, home, fileName);
      if (stays && !counted) {
        kept++;
        if (!Number.isNaN(size)) keptBytes += size;
        if (home !== map) elsewhere.add(fileName);
      }
      // Of a file that stands in two maps one record is enough to stay.
      if (stays || counted) continue;
      going[map][entry] = 1;
      if (gone.has(fileName)) continue;
      gone.add(fileName);
      if (withSizes) bytes.push(size);
      if (!Number.isNaN(size)) goneBytes += size;
    }
  }
  const stay = [...elsewhere].filter((fileName) => gone.has(fileName));
  const listed = kept + gone.size - stay.length;
  const told = { subdir, listed, keptBytes, ...(withSizes ? { sizes: bytes } : {}) };
  if (stay.length > 0) return { ...told, ...without(index, gone, stay, bytes, goneBytes) };
  noteStanding(index, gone, going);
  return { ...told, gone, goneBytes };
}

/** What goes, without files that were found to stay. */
function without(
  index: Repodata,
  gone: ReadonlySet<string>,
  stay: readonly string[],
  sizes: readonly number[],
  goneBytes: number,
): Pick<PrunedSubdir, "gone" | "sizes" | "goneBytes"> {
  const stays = new Set(stay);
  const kept = [...gone].map((fileName) => !stays.has(fileName));
  const size = (fileName: string) =>
    recordFacts(lookUp(index, mapOf(fileName), fileName) ?? Buffer.from("{}")).size ?? 0;
  return {
    gone: new Set([...gone].filter((_, i) => kept[i])),
    ...(sizes.length > 0 ? { sizes: sizes.filter((_, i) => kept[i]) } : {}),
    goneBytes: goneBytes - stay.reduce((sum, fileName) => sum + size(fileName), 0),
  };
}

/** Whether a key that ends there is, without a look at all of it, that of a file which belongs into one of the old maps. */
function isAtHome(bytes: Uint8Array, keyEnd: number, map: RecordMap): boolean {
  const suffix = map === "packages.conda" ? CONDA : map === "packages" ? BZ2 : undefined;
  if (!suffix) return false;
  for (let i = 1; i <= suffix.length; i++) if (bytes[keyEnd - 1 - i] !== suffix[suffix.length - i]) return false;
  return true;
}

const CONDA = Buffer.from(".conda");
const BZ2 = Buffer.from(".tar.bz2");

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
