import { isUtf8 } from "node:buffer";
import { formatOf } from "../conda/file-name.ts";
import {
  JsonBytesError,
  membersOf,
  type ObjectNotes,
  sameString,
  skipSpace,
  skipValue,
  stringAt,
  walkObject,
} from "../conda/json-bytes.ts";
import type { IndexRecord } from "./index-record.ts";

/**
 * The maps of `repodata.json` that records stand in (CEP 36, CEP 48). Keys of the old two are file names; keys of those
 * in `v3` are file names without their extension.
 */
export const RECORD_MAPS = ["packages", "packages.conda", "v3.tar.bz2", "v3.conda"] as const;
export type RecordMap = (typeof RECORD_MAPS)[number];

/**
 * One map of an index: where each record lies in the index's bytes. Nothing is parsed until it is asked for.
 * `order` lists the entries by key, in code point order; undefined when they stand in that order already.
 */
export interface Entries {
  readonly count: number;
  /** SPAN numbers an entry: key start and end (quotes included), value start and end, start of its "name" or 0. */
  readonly spans: Uint32Array;
  readonly order: Uint32Array | undefined;
  /** Whether the records stand in order with one comma between them and no white space around keys: one span then. */
  readonly dense: boolean;
  /** By entry: 1 where its record's name is spelled as that of the entry before it. */
  readonly sameName: Uint8Array;
  /** Entries whose records have a key twice, or one with escapes: what they say takes a closer look. */
  readonly unsure: ReadonlySet<number>;
}

/** Numbers an entry takes in `Entries.spans`. */
export const SPAN = 5;

/** A channel subdir's `repodata.json`: its bytes and where things lie in them. */
export interface Repodata {
  readonly bytes: Uint8Array;
  readonly maps: Readonly<Record<RecordMap, Entries>>;
  /** Names of files that were taken back (CEP 36). */
  readonly removed: readonly string[];
  /** Every top-level member but the maps, `removed` and `v3`, raw, in the order found. */
  readonly others: readonly (readonly [key: string, value: Uint8Array])[];
  /** Members of `v3` that hold no archives we make ("whl", and what may come), raw. */
  readonly otherV3: readonly (readonly [key: string, value: Uint8Array])[];
  /** Records that readers won't agree on, in words. They are kept as they are. */
  readonly faults: readonly string[];
}

/** Spans are 32-bit offsets. */
const MAX_BYTES = 2 ** 32 - 1;

/** The map that a package file belongs to. */
export function mapOf(fileName: string, v3 = false): RecordMap {
  if (fileName.endsWith(".conda")) return v3 ? "v3.conda" : "packages.conda";
  return v3 ? "v3.tar.bz2" : "packages";
}

/** A file's key in a map. */
export function keyIn(map: RecordMap, fileName: string): string {
  return map.startsWith("v3.") ? fileName.slice(0, fileName.length - map.length + 2) : fileName;
}

/** The file name that a key of a map stands for. */
export function fileNameOf(map: RecordMap, key: string): string {
  return map.startsWith("v3.") ? key + map.slice(2) : key;
}

/**
 * Finds the records of an index by one scan of its bytes, which makes no objects and checks that they are JSON.
 * Any white space, key order and escapes; unknown members are kept.
 * @param refused given for an index that is not ours: records that readers won't agree on, or that are none, are noted here by
 *   file name with the reason, instead of failing the whole index; whoever uses the index passes over them.
 * @param least bytes that a record has at least, nearly always: then room is made once.
 * @throws JsonBytesError when the bytes are no JSON object in UTF-8, a map is no map, or a file name stands twice in one.
 */
export function readRepodata(bytes: Uint8Array, refused?: Map<string, string>, least = LEAST_RECORD): Repodata {
  if (bytes.length > MAX_BYTES) throw new JsonBytesError("an index of more than 4 GiB", MAX_BYTES);
  if (!isUtf8(bytes)) throw new JsonBytesError("text that is not UTF-8", 0);
  const maps: Record<RecordMap, Entries> = {
    packages: noEntries(),
    "packages.conda": noEntries(),
    "v3.tar.bz2": noEntries(),
    "v3.conda": noEntries(),
  };
  const others: [string, Uint8Array][] = [];
  const otherV3: [string, Uint8Array][] = [];
  const faults: string[] = [];
  let removed: string[] = [];
  const once = (seen: Set<string>, keyStart: number, keyEnd: number): string => {
    const key = stringAt(bytes, keyStart, keyEnd);
    if (seen.has(key)) throw new JsonBytesError(`key ${JSON.stringify(key)} stands twice`, keyStart);
    seen.add(key);
    return key;
  };
  const into = (map: RecordMap, valueStart: number): number => {
    const noted = refused && ((key: string, why: string) => refused.set(fileNameOf(map, key), why));
    const { entries, end } = readEntries(bytes, valueStart, least, faults, noted);
    maps[map] = entries;
    return end;
  };
  const seen = new Set<string>();
  const begin = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  const end = walkObject(bytes, begin, (keyStart, keyEnd, valueStart) => {
    const key = once(seen, keyStart, keyEnd);
    if (key === "packages" || key === "packages.conda") return into(key, valueStart);
    if (key === "v3") {
      const seenV3 = new Set<string>();
      return walkObject(bytes, valueStart, (start, stop, at) => {
        const bucket = once(seenV3, start, stop);
        if (bucket === "conda" || bucket === "tar.bz2") return into(`v3.${bucket}`, at);
        const bucketEnd = skipValue(bytes, at);
        otherV3.push([bucket, bytes.subarray(at, bucketEnd)]);
        return bucketEnd;
      });
    }
    const valueEnd = skipValue(bytes, valueStart);
    const value = bytes.subarray(valueStart, valueEnd);
    if (key === "removed") removed = readRemoved(value, valueStart);
    else others.push([key, value]);
    return valueEnd;
  });
  if (skipSpace(bytes, end) !== bytes.length) throw new JsonBytesError("something follows the index", end);
  return { bytes, maps, removed, others, otherV3, faults };
}

/** The index of a subdir that has no packages. */
export function emptyRepodata(subdir: string): Repodata {
  return readRepodata(Buffer.from(JSON.stringify({ info: { subdir } })));
}

/** How many records the index holds. */
export function countRecords(index: Repodata): number {
  return RECORD_MAPS.reduce((sum, map) => sum + index.maps[map].count, 0);
}

/**
 * The raw record of a file, or undefined; one in `v3` hides one in the old maps, and one in its own map hides one in the
 * other, where some writers put it. Shares the index's memory.
 */
export function findRecord(index: Repodata, fileName: string): Uint8Array | undefined {
  const map = mapOf(fileName);
  return (
    (formatOf(fileName) && lookUp(index, mapOf(fileName, true), fileName)) ??
    lookUp(index, map, fileName) ??
    lookUp(index, map === "packages" ? "packages.conda" : "packages", fileName)
  );
}

/** The raw record of a file in one map, or undefined. */
export function lookUp(index: Repodata, map: RecordMap, fileName: string): Uint8Array | undefined {
  const entry = entryNamed(index, map, fileName);
  return entry === undefined ? undefined : valueAt(index.bytes, index.maps[map], entry);
}

/** The number of a file's entry in one map, or undefined. */
export function entryNamed(index: Repodata, map: RecordMap, fileName: string): number | undefined {
  const entries = index.maps[map];
  const key = keyIn(map, fileName);
  let low = 0;
  let high = entries.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (byCodePoint(keyAt(index.bytes, entries, nth(entries, middle)), key) < 0) low = middle + 1;
    else high = middle;
  }
  if (low === entries.count) return undefined;
  const entry = nth(entries, low);
  return keyAt(index.bytes, entries, entry) === key ? entry : undefined;
}

/** Every record, map after map, in the order of file names. */
export function* eachRecord(
  index: Repodata,
  maps: readonly RecordMap[] = RECORD_MAPS,
): Generator<IndexRecord & { readonly map: RecordMap }> {
  for (const map of maps) {
    const entries = index.maps[map];
    for (let i = 0; i < entries.count; i++) {
      const entry = nth(entries, i);
      const fileName = fileNameOf(map, keyAt(index.bytes, entries, entry));
      yield { map, fileName, record: valueAt(index.bytes, entries, entry) };
    }
  }
}

/** The file name and the record of an entry. */
export function entryAt(index: Repodata, map: RecordMap, entry: number): IndexRecord {
  const entries = index.maps[map];
  const fileName = fileNameOf(map, keyAt(index.bytes, entries, entry));
  return { fileName, record: valueAt(index.bytes, entries, entry) };
}

/** Compares two keys. JavaScript's own order differs from it for what lies beyond U+FFFF. */
export function byCodePoint(a: string, b: string): number {
  if (a === b) return 0;
  const n = Math.min(a.length, b.length);
  let i = 0;
  while (i < n && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  if (i === n) return a.length - b.length;
  const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
  // Halves of larger code points come after all others.
  const isHalf = (c: number) => c >= 0xd800 && c <= 0xdfff;
  return isHalf(x) === isHalf(y) ? x - y : isHalf(x) ? 1 : -1;
}

/** The entry at place `i` of the order of keys. */
export function nth(entries: Entries, i: number): number {
  return entries.order ? (entries.order[i] as number) : i;
}

/** The key of an entry. */
export function keyAt(bytes: Uint8Array, entries: Entries, entry: number): string {
  return stringAt(bytes, entries.spans[entry * SPAN] as number, entries.spans[entry * SPAN + 1] as number);
}

function valueAt(bytes: Uint8Array, entries: Entries, entry: number): Uint8Array {
  return bytes.subarray(entries.spans[entry * SPAN + 2], entries.spans[entry * SPAN + 3]);
}

function noEntries(): Entries {
  return {
    count: 0,
    spans: new Uint32Array(0),
    order: undefined,
    dense: true,
    sameName: new Uint8Array(0),
    unsure: new Set(),
  };
}

/** Bytes that records of packages with their keys have at least, nearly all: of smaller ones there can be more than there is room for, which grows then. */
const LEAST_RECORD = 256;

/** Notes a record that can't be used, by its key. */
type Refuse = (key: string, why: string) => void;

function readEntries(
  bytes: Uint8Array,
  at: number,
  least: number,
  faults: string[],
  refuse: Refuse | undefined,
): { entries: Entries; end: number } {
  // Room for more records than there will be, of which what is written to takes memory: what is outgrown stays until it is collected.
  let spans = new Uint32Array(SPAN * Math.max(64, Math.ceil((bytes.length - at) / least)));
  let n = 0;
  const notes: ObjectNotes = { nameAt: -1, unsure: false };
  let dense = true;
  const unsure = new Set<number>();
  // Room for as many entries as `spans` has.
  let sameName = new Uint8Array(spans.length / SPAN);
  let inOrder = true;
  const end = walkObject(bytes, at, (keyStart, keyEnd, valueStart) => {
    if (n + SPAN > spans.length) {
      const grown = new Uint32Array(spans.length * 2);
      grown.set(spans);
      spans = grown;
      const more = new Uint8Array(sameName.length * 2);
      more.set(sameName);
      sameName = more;
    }
    if (bytes[valueStart] !== 123) {
      if (!refuse)
        throw new JsonBytesError(`the record of ${stringAt(bytes, keyStart, keyEnd)} is no object`, valueStart);
      refuse(stringAt(bytes, keyStart, keyEnd), "its record is no object");
      dense = false;
      return skipValue(bytes, valueStart);
    }
    const valueEnd = skipValue(bytes, valueStart, notes);
    if (notes.unsure) {
      unsure.add(n / SPAN);
      try {
        membersOf(bytes.subarray(valueStart, valueEnd));
      } catch (e) {
        const why = (e as Error).message.replace(/ at byte.*/, "");
        const key = stringAt(bytes, keyStart, keyEnd);
        if (refuse) refuse(key, `its record can be read in two ways: ${why}`);
        else faults.push(`the record of ${key}: ${why}`);
      }
    }
    if (keyEnd + 1 !== valueStart || (n > 0 && (spans[n - SPAN + 3] as number) + 1 !== keyStart)) dense = false;
    spans[n] = keyStart;
    spans[n + 1] = keyEnd;
    spans[n + 2] = valueStart;
    spans[n + 3] = valueEnd;
    spans[n + 4] = Math.max(0, notes.nameAt);
    // Keys and names are compared while they are in the processor's cache: later it took 0.1 s more for 500,000.
    if (n > 0) {
      if (inOrder) inOrder = compareKeys(bytes, spans, n / SPAN - 1, n / SPAN) < 0;
      const [before, at] = [spans[n - 1] as number, spans[n + 4] as number];
      if (before > 0 && at > 0 && sameString(bytes, before, at)) sameName[n / SPAN] = 1;
    }
    n += SPAN;
    return valueEnd;
  });
  const count = n / SPAN;
  const order = inOrder ? undefined : orderOf(bytes, spans, count, refuse);
  return { entries: { count, spans, order, dense: dense && order === undefined, sameName, unsure }, end };
}

function readRemoved(bytes: Uint8Array, at: number): string[] {
  let list: unknown;
  try {
    list = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    list = undefined;
  }
  if (!Array.isArray(list) || !list.every((f) => typeof f === "string"))
    throw new JsonBytesError('"removed" is no list of file names', at);
  return list;
}

/**
 * The order of keys that don't stand in it, or of which some stand twice.
 * @throws JsonBytesError when a key stands twice.
 */
function orderOf(bytes: Uint8Array, spans: Uint32Array, count: number, note: Refuse | undefined): Uint32Array {
  const refuse = (entry: number): void => {
    const key = stringAt(bytes, spans[entry * SPAN] as number, spans[entry * SPAN + 1] as number);
    if (note) note(key, "the index lists it twice");
    else throw new JsonBytesError(`the file name ${key} stands twice`, spans[entry * SPAN] as number);
  };
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  order.sort((a, b) => compareKeys(bytes, spans, a, b));
  for (let i = 1; i < count; i++)
    if (compareKeys(bytes, spans, order[i - 1] as number, order[i] as number) === 0) refuse(order[i] as number);
  return order;
}

/** Compares two keys; byte order of UTF-8 is code point order. Keys with escapes are decoded first. */
function compareKeys(bytes: Uint8Array, spans: Uint32Array, a: number, b: number): number {
  let i = (spans[a * SPAN] as number) + 1;
  let j = (spans[b * SPAN] as number) + 1;
  const aEnd = (spans[a * SPAN + 1] as number) - 1;
  const bEnd = (spans[b * SPAN + 1] as number) - 1;
  for (; i < aEnd && j < bEnd; i++, j++) {
    const x = bytes[i] as number;
    const y = bytes[j] as number;
    if (x === 92 || y === 92) {
      const left = stringAt(bytes, spans[a * SPAN] as number, spans[a * SPAN + 1] as number);
      const right = stringAt(bytes, spans[b * SPAN] as number, spans[b * SPAN + 1] as number);
      return Buffer.compare(Buffer.from(left), Buffer.from(right));
    }
    if (x !== y) return x - y;
  }
  return aEnd - i - (bEnd - j);
}
