import type { IndexChange } from "./merge.ts";
import {
  byCodePoint,
  type Entries,
  entryNamed,
  fileNameOf,
  keyAt,
  keyIn,
  mapOf,
  nth,
  RECORD_MAPS,
  type RecordMap,
  type Repodata,
} from "./repodata.ts";

/** What a change means for one map of an index, in the order of keys. */
export interface Edits {
  /** For each edit: where in the order of keys its own stands, or would stand. */
  readonly places: Uint32Array;
  /** 1 where the record that stands there goes. */
  readonly goes: Uint8Array;
  /** Records that come, by the number of their edit. */
  readonly comes: ReadonlyMap<number, { readonly key: string; readonly record: Uint8Array }>;
  /** How many records more the map has then. */
  readonly more: number;
}

/** An index is merged for each of its forms, and counted: where half a million edits belong is found once. */
const found = new WeakMap<object, { readonly index: Repodata; readonly edits: Map<RecordMap, Edits> }>();

export function editsIn(index: Repodata, map: RecordMap, change: Omit<IndexChange, "info">): Edits {
  let known = found.get(change);
  if (known?.index !== index) {
    known = { index, edits: new Map() };
    found.set(change, known);
  }
  let edits = known.edits.get(map);
  if (!edits) {
    edits = findEdits(index, map, change);
    known.edits.set(map, edits);
  }
  return edits;
}

/** Where files stand that are all listed. An index that was let go of, and is read again, has the same maps. */
interface Standing {
  readonly maps: WeakRef<Repodata["maps"]>;
  /** By map: 1 for each entry of theirs. */
  readonly entries: Readonly<Record<RecordMap, Uint8Array>>;
}

const standing = new WeakMap<ReadonlySet<string>, Standing>();

/**
 * Tells where files stand in an index, each of which it lists: whoever takes them out need not look for half a million names.
 * @param entries by map: 1 for each entry of theirs.
 */
export function noteStanding(
  { maps }: Pick<Repodata, "maps">,
  fileNames: ReadonlySet<string>,
  entries: Standing["entries"],
): void {
  standing.set(fileNames, { maps: new WeakRef(maps), entries });
}

function standingIn({ maps }: Repodata, fileNames: ReadonlySet<string>): Standing["entries"] | undefined {
  const known = standing.get(fileNames);
  return known?.maps.deref() === maps ? known.entries : undefined;
}

/** One name in so many and more are looked for by a walk along all keys, fewer each by itself. */
const WALK_FROM = 20;

function findEdits(index: Repodata, map: RecordMap, { add, remove, takenBack }: Omit<IndexChange, "info">): Edits {
  const { bytes } = index;
  const entries = index.maps[map];
  const all: { at: number; goes: 0 | 1; key?: string; record?: Uint8Array }[] = [];
  const going: number[] = [];
  const gone = [remove, takenBack].filter((s) => s !== undefined && s.size > 0) as ReadonlySet<string>[];
  // A record that comes into another map goes from this one.
  for (const [fileName, { record, v3 }] of add) {
    if (!canHold(map, fileName)) continue;
    const key = keyIn(map, fileName);
    const comes = mapOf(fileName, v3 === true) === map;
    const place = placeOf(bytes, entries, key);
    if (comes) all.push({ at: place.at, goes: place.found ? 1 : 0, key, record });
    else if (place.found) all.push({ at: place.at, goes: 1 });
  }
  all.sort((a, b) => a.at - b.at || byCodePoint(a.key ?? "", b.key ?? ""));
  const names = gone.reduce((sum, s) => sum + s.size, 0);
  const [only] = gone;
  const known = only && gone.length === 1 && add.size === 0 ? standingIn(index, only) : undefined;
  if (known) {
    for (let i = 0; i < entries.count; i++) if (known[map][nth(entries, i)] === 1) going.push(i);
  } else if (names * WALK_FROM > entries.count) {
    for (let i = 0; i < entries.count; i++) {
      const fileName = fileNameOf(map, keyAt(bytes, entries, nth(entries, i)));
      if (gone.some((s) => s.has(fileName)) && !add.has(fileName)) going.push(i);
    }
  } else if (entries.count > 0) {
    const places = new Set<number>();
    for (const s of gone)
      for (const fileName of s) {
        if (!canHold(map, fileName) || add.has(fileName)) continue;
        const place = placeOf(bytes, entries, keyIn(map, fileName));
        if (place.found) places.add(place.at);
      }
    for (const at of [...places].sort((a, b) => a - b)) going.push(at);
  }
  return joined(all, going);
}

/** Two lists of edits, each in order, as one: what comes where a record goes stands before that. */
function joined(
  all: readonly { at: number; goes: 0 | 1; key?: string; record?: Uint8Array }[],
  going: readonly number[],
): Edits {
  const count = all.length + going.length;
  const places = new Uint32Array(count);
  const goes = new Uint8Array(count);
  const comes = new Map<number, { key: string; record: Uint8Array }>();
  let [n, i, more] = [0, 0, 0];
  for (let k = 0; k <= going.length; k++) {
    const at = going[k] ?? Number.POSITIVE_INFINITY;
    for (; i < all.length && (all[i] as { at: number }).at <= at; i++, n++) {
      const { at: its, goes: its1, key, record } = all[i] as (typeof all)[number];
      places[n] = its;
      goes[n] = its1;
      more += (record ? 1 : 0) - its1;
      if (key !== undefined && record) comes.set(n, { key, record });
    }
    if (k === going.length) break;
    places[n] = at;
    goes[n++] = 1;
    more--;
  }
  return { places, goes, comes, more };
}

/** Whether a map can have a file's record: the old two can have any, since other writers get them wrong. */
function canHold(map: RecordMap, fileName: string): boolean {
  return map === "packages" || map === "packages.conda" || fileName.endsWith(map.slice(2));
}

/** Where in the order of keys a key stands or would stand. */
function placeOf(bytes: Uint8Array, entries: Entries, key: string): { at: number; found: boolean } {
  let low = 0;
  let high = entries.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (byCodePoint(keyAt(bytes, entries, nth(entries, middle)), key) < 0) low = middle + 1;
    else high = middle;
  }
  return { at: low, found: low < entries.count && keyAt(bytes, entries, nth(entries, low)) === key };
}

/**
 * Those of the names that an index lists; the very set that was given where it lists all of them.
 * @param each called for every entry of them, maybe twice for one.
 */
export function listedAmong(
  index: Repodata,
  fileNames: ReadonlySet<string>,
  each: (map: RecordMap, entry: number) => void = () => undefined,
): ReadonlySet<string> {
  const known = standingIn(index, fileNames);
  if (known) {
    for (const map of RECORD_MAPS) for (const [entry, is] of known[map].entries()) if (is === 1) each(map, entry);
    return fileNames;
  }
  const count = RECORD_MAPS.reduce((sum, map) => sum + index.maps[map].count, 0);
  if (fileNames.size * WALK_FROM > count) return listedByWalk(index, fileNames, each);
  const listed = new Set<string>();
  for (const fileName of fileNames)
    for (const map of RECORD_MAPS) {
      const entry = canHold(map, fileName) ? entryNamed(index, map, fileName) : undefined;
      if (entry === undefined) continue;
      listed.add(fileName);
      each(map, entry);
    }
  return listed.size === fileNames.size ? fileNames : listed;
}

function listedByWalk(
  index: Repodata,
  fileNames: ReadonlySet<string>,
  each: (map: RecordMap, entry: number) => void,
): ReadonlySet<string> {
  const walk = (found: (fileName: string, map: RecordMap, entry: number) => void): void => {
    for (const map of RECORD_MAPS) {
      const entries = index.maps[map];
      for (let i = 0; i < entries.count; i++) {
        const fileName = fileNameOf(map, keyAt(index.bytes, entries, i));
        if (fileNames.has(fileName)) found(fileName, map, i);
      }
    }
  };
  // In the map that it belongs to a file stands once.
  let atHome = 0;
  walk((fileName, map, entry) => {
    if (mapOf(fileName) === map) atHome++;
    each(map, entry);
  });
  if (atHome === fileNames.size) return fileNames;
  const listed = new Set<string>();
  walk((fileName) => listed.add(fileName));
  return listed.size === fileNames.size ? fileNames : listed;
}

/** Whether the record of an entry goes, or is replaced. */
export function goneEntries(
  index: Repodata,
  change: Omit<IndexChange, "info">,
): (map: RecordMap, entry: number) => boolean {
  const masks = Object.fromEntries(
    RECORD_MAPS.map((map) => {
      const { places, goes } = editsIn(index, map, change);
      const entries = index.maps[map];
      const mask = new Uint8Array(entries.count);
      for (let n = 0; n < places.length; n++) if (goes[n] === 1) mask[nth(entries, places[n] as number)] = 1;
      return [map, mask];
    }),
  ) as Record<RecordMap, Uint8Array>;
  return (map, entry) => masks[map][entry] === 1;
}
