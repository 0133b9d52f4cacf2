import { type ObjectNotes, sameString, skipString, skipValue, stringAt } from "../conda/json-bytes.ts";
import type { IndexRecord } from "./index-record.ts";
import { type Entries, entryAt, nth, RECORD_MAPS, type RecordMap, type Repodata, SPAN } from "./repodata.ts";

/** Where a record stands in an index: a number that `recordAt` understands. */
export type Place = number;

/** Entries of one map; a map's number times this, plus the entry, is a place. */
const PLACES = 2 ** 30;

/**
 * Places of the records by their own `name`, in lower case: all of them, or those whose name is among `names`.
 * Records without a name are left out.
 */
export function placesByName(index: Repodata, names?: ReadonlySet<string>): Map<string, Place[]> {
  const wanted = names && new Set([...names].map(hashText)).add(LOOK);
  const found = new Map<string, Place[]>();
  for (const [m, map] of RECORD_MAPS.entries()) {
    const entries = index.maps[map];
    let before = -1;
    let list: Place[] = [];
    for (let i = 0; i < entries.count; i++) {
      const entry = nth(entries, i);
      const at = entries.spans[entry * SPAN + 4] as number;
      if (at === 0) continue;
      // In the order of file names the records of one name stand together, nearly always: no need to read it again.
      if (isNamedAs(index.bytes, entries, before, entry)) {
        list.push(m * PLACES + entry);
        continue;
      }
      // Half a million records pass here: a hash of the bytes spares a string for all but the few that are wanted.
      if (wanted && !wanted.has(hashBytes(index.bytes, at))) continue;
      const name = nameAt(index.bytes, at);
      if (name === undefined || (names && !names.has(name))) continue;
      list = found.get(name) ?? [];
      if (list.length === 0) found.set(name, list);
      list.push(m * PLACES + entry);
      before = entry;
    }
  }
  return found;
}

/** The map of a place, and the number of its entry there. */
export function entryOf(place: Place): { readonly map: RecordMap; readonly entry: number } {
  return { map: RECORD_MAPS[Math.floor(place / PLACES)] as RecordMap, entry: place % PLACES };
}

/** The record at a place. */
export function recordAt(index: Repodata, place: Place): IndexRecord & { readonly map: RecordMap } {
  const { map, entry } = entryOf(place);
  return { map, ...entryAt(index, map, entry) };
}

/** A record's `name` in lower case; undefined when it has none, or one that is no text. */
export function nameIn(record: Uint8Array): string | undefined {
  const notes: ObjectNotes = { nameAt: -1, unsure: false };
  skipValue(record, 0, notes);
  return notes.nameAt < 0 ? undefined : nameAt(record, notes.nameAt);
}

/** The text of a value in lower case; undefined when it is none. */
export function nameAt(bytes: Uint8Array, at: number): string | undefined {
  return bytes[at] === 34 ? stringAt(bytes, at, skipString(bytes, at)).toLowerCase() : undefined;
}

/** Whether the name of an entry's record is spelled as that of another entry, -1 for none; mostly known for neighbours. */
export function isNamedAs(bytes: Uint8Array, { spans, sameName }: Entries, other: number, entry: number): boolean {
  if (other === entry - 1) return sameName[entry] === 1;
  return other >= 0 && sameString(bytes, spans[other * SPAN + 4] as number, spans[entry * SPAN + 4] as number);
}

/** FNV-1a of the string that begins at a quote, in lower case; LOOK where it has escapes or is not ASCII, or is no string. */
function hashBytes(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== 34) return LOOK;
  let h = 0x811c9dc5;
  for (let i = at + 1; ; i++) {
    let c = bytes[i] as number;
    if (c === 34) return h >>> 0;
    if (c === 92 || c > 127) return LOOK;
    if (c >= 65 && c <= 90) c += 32;
    h = Math.imul(h ^ c, 0x01000193);
  }
}

/** The hash of what has to be looked at to be known. */
const LOOK = 0;

function hashText(text: string): number {
  let h = 0x811c9dc5;
  for (const c of Buffer.from(text)) h = Math.imul(h ^ c, 0x01000193);
  return h >>> 0;
}
