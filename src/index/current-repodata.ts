import { JsonBytesError, membersOf } from "../conda/json-bytes.ts";
import { type MatchSpec, MatchSpecError, parseMatchSpec } from "../conda/match-spec.ts";
import type { Versions } from "../conda/version.ts";
import { startsWith, type VersionParts, versionParts } from "../conda/version-prefix.ts";
import type { IndexRecord } from "./index-record.ts";
import { type IndexChange, isGone, mergeRepodata, type NewRecord } from "./merge.ts";
import { nameIn, type Place, placesByName, recordAt } from "./record-names.ts";
import { emptyRepodata, type Repodata } from "./repodata.ts";
import { seconds } from "./timestamp.ts";

/** Called with each record or spec that could not be used, and why. */
export type Warn = (fileName: string, why: string) => void;

export interface CurrentInput {
  /** The records of the subdir after patches, of both old maps. */
  readonly records: RecordsByName;
  /** The other top-level members of the same `repodata.json`. */
  readonly top: Pick<Repodata, "others" | "removed">;
  readonly versions: Versions;
  /** Versions of a package to keep besides its newest: `python` to `["3.11", "3.12"]`. */
  readonly pins?: ReadonlyMap<string, readonly string[]>;
  readonly warn?: Warn;
  /** For tests: how much work a hostile index may ask for. */
  readonly maxChecks?: number;
}

/** Records by package name, in lower case. Asked for a name at a time, and more than once: they need not all be in memory. */
export interface RecordsByName {
  names(): Iterable<string>;
  of(name: string): Iterable<IndexRecord>;
}

/** The records of the old maps of an index once it is changed, looked up when they are asked for. */
export function recordsByName(index: Repodata, change: IndexChange = { add: new Map() }): RecordsByName {
  const added = new Map<string, IndexRecord[]>();
  for (const [fileName, { record, v3 }] of change.add) {
    const name = v3 ? undefined : nameIn(record);
    if (name !== undefined) added.set(name, [...(added.get(name) ?? []), { fileName, record }]);
  }
  let places: Map<string, Place[]> | undefined;
  const placesOf = () => {
    places ??= placesByName(index);
    return places;
  };
  return {
    names: () => new Set([...placesOf().keys(), ...added.keys()]),
    *of(name) {
      for (const place of placesOf().get(name) ?? []) {
        const one = recordAt(index, place);
        if (!one.map.startsWith("v3.") && !isGone(change, one.fileName)) yield one;
      }
      yield* added.get(name) ?? [];
    },
  };
}

/** What is needed of a record to choose it. */
interface Entry extends IndexRecord {
  readonly name: string;
  readonly version: string;
  readonly build: string;
  readonly buildNumber: number;
  readonly noarch: boolean;
  /** Seconds. */
  readonly timestamp: number;
  /** It has `track_features` or `features`: clients weigh it down. */
  readonly featured: boolean;
  /** The MD5 of the `.tar.bz2` of the same stem; null when there is none. */
  readonly bz2Md5: string | null;
}

/**
 * How often a dependency may be held against a record. conda-forge's largest subdir needs some millions; an index made so
 * that every build of a name needs another build of it would ask for the square of its size.
 */
const MAX_CHECKS = 100_000_000;

/** Entries of one package name, best first; made anew whenever they are asked for. */
type GroupOf = (name: string) => readonly Entry[];

/**
 * The bytes of a `current_repodata.json`: the newest version of each package, what those need that is older, and for
 * packages with features the newest without. conda-index's `current_repodata.py` in effect, quirks included, for conda's
 * classic solver is its only reader: one pass over dependencies, each subdir alone.
 *
 * Records stay byte for byte, but a `.conda` is told the MD5 of its `.tar.bz2` twin, or null (`legacy_bz2_md5`), unless
 * it says so itself. A record without a usable name or version is left out with a warning, and so is a dependency that
 * can't be read; neither ends the run.
 */
export function currentRepodata({
  records,
  top,
  versions,
  pins,
  warn = () => {},
  maxChecks = MAX_CHECKS,
}: CurrentInput): Uint8Array {
  const told = new Set<string>();
  const once: Warn = (fileName, why) => {
    if (told.has(`${fileName} ${why}`)) return;
    told.add(`${fileName} ${why}`);
    warn(fileName, why);
  };
  const groupOf: GroupOf = (name) => readGroup(records.of(name), versions, once);
  const partsOf = knownParts(versions);
  const newest = keepNewest(records.names(), groupOf, partsOf, pins);
  const kept = addMissing(newest, groupOf, versions, partsOf, once, maxChecks);
  addFeatureless(kept, groupOf, versions);
  const add = new Map<string, NewRecord>();
  for (const entries of kept.values()) {
    for (const { fileName, record, bz2Md5 } of entries.values())
      add.set(fileName, { record: fileName.endsWith(".conda") ? withLegacyMd5(record, bz2Md5) : record });
  }
  return mergeRepodata({ ...emptyRepodata(""), others: top.others, removed: top.removed }, { add });
}

function readGroup(records: Iterable<IndexRecord>, versions: Versions, warn: Warn): Entry[] {
  const fields = new Map<string, { one: IndexRecord; fields: Record<string, unknown> }>();
  for (const one of records) {
    const read = fieldsOf(one, warn);
    if (read) fields.set(one.fileName, { one, fields: read });
  }
  const group: Entry[] = [];
  for (const { one, fields: read } of fields.values()) {
    const isConda = one.fileName.endsWith(".conda");
    // Of one build in both formats only the .conda counts, as for every client.
    if (!isConda && fields.has(one.fileName.replace(/\.tar\.bz2$/, ".conda"))) continue;
    const md5 = isConda ? fields.get(twinOf(one.fileName))?.fields["md5"] : undefined;
    const entry = entryOf(one, read, typeof md5 === "string" ? md5 : null, warn);
    if (entry) group.push(entry);
  }
  return group.sort((a, b) => byPreference(a, b, versions));
}

function fieldsOf({ fileName, record }: IndexRecord, warn: Warn): Record<string, unknown> | undefined {
  try {
    const text = Buffer.from(record.buffer, record.byteOffset, record.length).toString("utf8");
    const fields = JSON.parse(text) as unknown;
    if (typeof fields === "object" && fields !== null && !Array.isArray(fields))
      return fields as Record<string, unknown>;
    warn(fileName, "its record is no object");
  } catch (e) {
    warn(fileName, `its record can't be read: ${(e as Error).message}`);
  }
  return undefined;
}

function entryOf(
  one: IndexRecord,
  fields: Record<string, unknown>,
  bz2Md5: string | null,
  warn: Warn,
): Entry | undefined {
  const { name, version, build, build_number: buildNumber } = fields;
  if (typeof name !== "string" || name === "" || typeof version !== "string") {
    warn(one.fileName, "its record has no name or version");
    return undefined;
  }
  return {
    fileName: one.fileName,
    record: one.record,
    name: name.toLowerCase(),
    version,
    build: typeof build === "string" ? build : "",
    buildNumber: typeof buildNumber === "number" ? buildNumber : 0,
    noarch: fields["subdir"] === "noarch",
    timestamp: seconds(fields["timestamp"]),
    featured: isFilled(fields["track_features"]) || isFilled(fields["features"]),
    bz2Md5,
  };
}

/** Python's truth of a text or list. */
function isFilled(value: unknown): boolean {
  return (typeof value === "string" || Array.isArray(value)) && value.length > 0;
}

/** conda's order inside a name, best first (conda `resolve.py`, `version_key`). The file name makes it one order. */
function byPreference(a: Entry, b: Entry, versions: Versions): number {
  return (
    versions.compare(b.version, a.version) ||
    b.buildNumber - a.buildNumber ||
    Number(a.noarch) - Number(b.noarch) ||
    b.timestamp - a.timestamp ||
    byText(b.build, a.build) ||
    byText(a.fileName, b.fileName)
  );
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What `name=version` finds: that version and all that begin as it does. */
function alike(group: readonly Entry[], version: string, partsOf: PartsOf): Entry[] {
  const parts = partsOf(version);
  if (!parts) return group.filter((e) => e.version === version);
  return group.filter((e) => {
    if (e.version === version) return true;
    const its = partsOf(e.version);
    return its !== undefined && startsWith(its, parts);
  });
}

/** A version taken apart; undefined for what is none. */
type PartsOf = (version: string) => VersionParts | undefined;

/** Versions that are remembered: conda-forge has 40,000. */
const KNOWN_VERSIONS = 65_536;

function knownParts(versions: Versions): PartsOf {
  const known = new Map<string, VersionParts | undefined>();
  return (version) => {
    if (known.has(version)) return known.get(version);
    if (known.size === KNOWN_VERSIONS) known.clear();
    const parts = versions.isVersion(version) ? versionParts(version) : undefined;
    known.set(version, parts);
    return parts;
  };
}

/** What is kept: of each name the chosen entries, by file name. */
type Kept = Map<string, Map<string, Entry>>;

function keepNewest(
  names: Iterable<string>,
  groupOf: GroupOf,
  partsOf: PartsOf,
  pins: CurrentInput["pins"],
): ReadonlyMap<string, ReadonlyMap<string, Entry>> {
  const kept: Kept = new Map();
  for (const name of names) {
    const group = groupOf(name);
    if (!group[0]) continue;
    const chosen = alike(group, group[0].version, partsOf);
    for (const pin of pins?.get(name) ?? []) {
      const best = alike(group, pin, partsOf)[0];
      if (best) chosen.push(...alike(group, best.version, partsOf));
    }
    kept.set(name, new Map(chosen.map((e) => [e.fileName, e])));
  }
  return kept;
}

/** For each dependency that nothing kept satisfies: all of the newest version that does. What those need is not asked. */
function addMissing(
  newest: ReadonlyMap<string, ReadonlyMap<string, Entry>>,
  groupOf: GroupOf,
  versions: Versions,
  partsOf: PartsOf,
  warn: Warn,
  maxChecks: number,
): Kept {
  const kept: Kept = new Map([...newest].map(([name, entries]) => [name, new Map(entries)]));
  const seen = new Set<string>();
  const missing = new Map<string, { readonly depend: string; readonly fileName: string }[]>();
  let checks = 0;
  const giveUp = (fileName: string) => {
    if (checks <= maxChecks) return false;
    warn(fileName, "this index has too many dependencies on older versions: not all of those are kept");
    return true;
  };
  const satisfiedBy = (spec: MatchSpec) => {
    const cost = costOf(spec);
    return (e: Entry) => {
      checks += cost(e);
      return matches(spec, e, warn);
    };
  };
  for (const entries of newest.values()) {
    for (const entry of entries.values()) {
      for (const depend of dependsOf(entry, warn)) {
        if (seen.has(depend)) continue;
        seen.add(depend);
        if (giveUp(entry.fileName)) return kept;
        const spec = readSpec(depend, entry.fileName, versions, warn);
        const there = spec?.name === undefined ? undefined : newest.get(spec.name);
        if (spec?.name === undefined || !there || [...there.values()].some(satisfiedBy(spec))) continue;
        const list = missing.get(spec.name);
        const one = { depend, fileName: entry.fileName };
        if (list) list.push(one);
        else missing.set(spec.name, [one]);
      }
    }
  }
  // Name by name: reading all records of one again for each dependency took the square of an index's size.
  for (const [name, all] of missing) {
    const group = groupOf(name);
    const added = new Set<string>();
    for (const { depend, fileName } of all) {
      if (giveUp(fileName)) return kept;
      const spec = readSpec(depend, fileName, versions, warn);
      const best = spec && group.find(satisfiedBy(spec));
      if (!best || added.has(best.version)) continue;
      added.add(best.version);
      checks += group.length;
      for (const found of alike(group, best.version, partsOf)) kept.get(name)?.set(found.fileName, found);
    }
  }
  return kept;
}

/** How often a plain check could be made in the time that one of this spec takes at most: patterns cost by the length of a build. */
function costOf({ text }: MatchSpec): (e: Entry) => number {
  const [regex, whole] = [text.includes("^") ? 20 : 0, text.includes("[")];
  return ({ build, record }) =>
    1 + build.length * regex + ((build.length * text.length) >> 10) + (whole ? record.length >> 6 : 0);
}

function readSpec(depend: string, fileName: string, versions: Versions, warn: Warn): MatchSpec | undefined {
  try {
    return parseMatchSpec(depend, versions);
  } catch (e) {
    if (!(e instanceof MatchSpecError)) throw e;
    warn(fileName, e.message);
    return undefined;
  }
}

function dependsOf(entry: Entry, warn: Warn): string[] {
  const depends = fieldsOf(entry, warn)?.["depends"];
  return Array.isArray(depends) ? depends.filter((d) => typeof d === "string") : [];
}

function matches(spec: MatchSpec, entry: Entry, warn: Warn): boolean {
  // Only a spec with brackets can ask for more than these four.
  const fields = spec.text.includes("[")
    ? (fieldsOf(entry, warn) ?? {})
    : { name: entry.name, version: entry.version, build: entry.build, build_number: entry.buildNumber };
  return spec.matches(fields, { fileName: entry.fileName });
}

/** Clients avoid packages with features: where one is kept, so is the newest without, if it is not newer. */
function addFeatureless(kept: Kept, groupOf: GroupOf, versions: Versions): void {
  for (const [name, entries] of kept) {
    if (![...entries.values()].some((e) => e.featured)) continue;
    const group = groupOf(name);
    const latest = group.find((e) => entries.has(e.fileName));
    if (!latest) continue;
    const plain = group.find((e) => !e.featured && versions.compare(e.version, latest.version) <= 0);
    if (plain) entries.set(plain.fileName, plain);
  }
}

function twinOf(fileName: string): string {
  return fileName.replace(/\.conda$/, ".tar.bz2");
}

/** The record with `legacy_bz2_md5` as its last member; itself when it has one. */
function withLegacyMd5(record: Uint8Array, md5: string | null): Uint8Array {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.length);
  if (bytes.includes('"legacy_bz2_md5"')) {
    try {
      if (membersOf(record).has("legacy_bz2_md5")) return record;
    } catch (e) {
      // JSON.parse took it, so a key stands twice; one more would not make it clearer.
      if (e instanceof JsonBytesError) return record;
      throw e;
    }
  }
  const end = bytes.lastIndexOf("}");
  let last = end - 1;
  while ((bytes[last] as number) <= 32) last--;
  const comma = bytes[last] === 123 ? "" : ",";
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(`${comma}"legacy_bz2_md5":${JSON.stringify(md5)}}`)]);
}
