import { asText } from "../conda/as-text.ts";
import type { Whereabouts } from "../conda/match-spec.ts";
import { isNamedAs, nameAt } from "../index/record-names.ts";
import { entryAt, entryNamed, nth, RECORD_MAPS, type RecordMap, type Repodata, SPAN } from "../index/repodata.ts";
import { fieldsAt, wanting } from "./fields.ts";
import { Newest, VersionTable } from "./newest.ts";
import { type Plan, RecordRules } from "./record-rules.ts";
import { type NameRules, oldEnoughAt, passes, type Rules, rulesFor } from "./rules.ts";

/** Which records of an index are wanted. */
export interface Choice {
  /** By map: 1 for each entry that is wanted. */
  readonly chosen: Readonly<Record<RecordMap, Uint8Array>>;
  readonly count: number;
  /** Names, in lower case, of packages that only have to grow older, with the time when the first of each is old enough. */
  readonly waiting: ReadonlyMap<string, number>;
}

/** What is asked of a name's records. */
interface Name {
  readonly name: string;
  readonly number: number;
  readonly rules: NameRules;
  readonly plan: Plan | undefined;
  readonly takesAll: boolean;
  /** Among which `latest` chooses. */
  readonly newest: Newest | undefined;
}

/** What passes so far, by entry: its name, counted from 1, and its version; `latest` chooses among them at the end. */
interface Fitting {
  readonly names: Uint32Array;
  readonly versions: Uint32Array;
}

/**
 * Chooses among the records of an index. Rules are narrowed to names first; only records that a rule asks more of are looked
 * into, as bytes: reading an index of 500,000 records and choosing among them by 50 rules takes two thirds of what JSON.parse takes
 * for that index (decision 033).
 * @param where channel and subdir, for specs that name them.
 */
export function chooseRecords(index: Repodata, where: Whereabouts, rules: Rules | undefined): Choice {
  const chosen = Object.fromEntries(
    RECORD_MAPS.map((map) => [map, new Uint8Array(index.maps[map].count)]),
  ) as unknown as Record<RecordMap, Uint8Array>;
  if (rules) return new Chooser(index, where, rules, chosen).choose();
  let count = 0;
  for (const map of RECORD_MAPS) {
    chosen[map].fill(1);
    count += chosen[map].length;
  }
  return { chosen, count, waiting: new Map() };
}

/** Chooses a file, or leaves it out, wherever its records stand. */
export function chooseFile(index: Repodata, chosen: Choice["chosen"], fileName: string, wanted: 0 | 1): void {
  for (const map of RECORD_MAPS) {
    const entry = entryNamed(index, map, fileName);
    if (entry !== undefined) chosen[map][entry] = wanted;
  }
}

class Chooser {
  readonly #index: Repodata;
  readonly #where: Whereabouts;
  readonly #rules: Rules;
  readonly #chosen: Readonly<Record<RecordMap, Uint8Array>>;
  readonly #text: Buffer;
  readonly #asked: RecordRules;
  readonly #named = new Map<string, Name>();
  readonly #names: Name[] = [];
  readonly #fitting = new Map<RecordMap, Fitting>();
  readonly #versions: VersionTable;
  /** By the number of a version's spelling: its number in `#versions`, counted from 1. */
  #versionOf = new Uint32Array(1024);
  /** Names that the same specs fit have one plan. */
  readonly #plans = new Map<NameRules, Plan | undefined>();
  readonly #waiting = new Map<string, number>();
  #map: RecordMap = "packages";
  #entry = 0;
  #count = 0;

  constructor(index: Repodata, where: Whereabouts, rules: Rules, chosen: Choice["chosen"]) {
    this.#index = index;
    this.#where = where;
    this.#rules = rules;
    this.#chosen = chosen;
    this.#versions = new VersionTable(rules.versions);
    this.#text = Buffer.from(index.bytes.buffer, index.bytes.byteOffset, index.bytes.length);
    this.#asked = new RecordRules(this.#text, where, rules, () => this.#fileName());
  }

  choose(): Choice {
    for (const map of RECORD_MAPS) {
      const { count, spans, unsure } = this.#index.maps[map];
      // The first that the reader can read.
      let first = 0;
      while (unsure.has(first)) first++;
      if (first < count) this.#asked.reader.survey(spans[first * SPAN + 2] as number);
      this.#chooseIn(map);
    }
    for (const [map, { names, versions }] of this.#fitting) {
      for (let entry = 0; entry < names.length; entry++) {
        const { newest } = this.#names[(names[entry] as number) - 1] ?? {};
        if (newest?.has(versions[entry] as number)) this.#take(map, entry);
      }
    }
    return { chosen: this.#chosen, count: this.#count, waiting: this.#waiting };
  }

  #chooseIn(map: RecordMap): void {
    const { bytes } = this.#index;
    const entries = this.#index.maps[map];
    const { spans, unsure } = entries;
    this.#map = map;
    let before = -1;
    let name: Name | undefined;
    for (let i = 0; i < entries.count; i++) {
      const entry = nth(entries, i);
      const at = spans[entry * SPAN + 4] as number;
      if (at === 0) continue;
      // In the order of file names the records of one name stand together, nearly always: no need to read it again.
      if (!isNamedAs(bytes, entries, before, entry)) {
        const text = nameAt(bytes, at);
        if (text === undefined) continue;
        name = this.#nameOf(text);
      }
      before = entry;
      if (!name?.plan) continue;
      this.#entry = entry;
      const start = spans[entry * SPAN + 2] as number;
      if (unsure.size > 0 && unsure.has(entry)) this.#lookClosely(name, start);
      else this.#look(name, name.plan, start);
    }
  }

  #nameOf(name: string): Name {
    let known = this.#named.get(name);
    if (!known) {
      const rules = rulesFor(name, this.#rules);
      const plan = this.#planFor(rules);
      const { latest } = this.#rules;
      const takesAll = plan !== undefined && !latest && this.#asked.takesAll(plan);
      const newest = plan && latest && new Newest(latest, this.#versions);
      known = { name, number: this.#names.length + 1, rules, plan, takesAll, newest };
      this.#named.set(name, known);
      this.#names.push(known);
    }
    return known;
  }

  #planFor(rules: NameRules): Plan | undefined {
    let plan = this.#plans.get(rules);
    if (plan || this.#plans.has(rules)) return plan;
    plan = this.#asked.planFor(rules);
    this.#plans.set(rules, plan);
    return plan;
  }

  #look(name: Name, plan: Plan, start: number): void {
    if (name.takesAll) {
      this.#take(this.#map, this.#entry);
      return;
    }
    const asked = this.#asked;
    asked.reader.open(start);
    if (!asked.pass(plan)) return;
    const { until, minAge = 0 } = this.#rules;
    if (until !== undefined) {
      const at = asked.publishedAt();
      if (at !== undefined && at > until) {
        this.#wait(name, at + minAge);
        return;
      }
    }
    if (name.newest) this.#fits(name, name.newest, this.#version());
    else this.#take(this.#map, this.#entry);
  }

  /** Leaves it to `latest`. */
  #fits(name: Name, newest: Newest, version: number): void {
    let fitting = this.#fitting.get(this.#map);
    if (!fitting) {
      const { count } = this.#index.maps[this.#map];
      fitting = { names: new Uint32Array(count), versions: new Uint32Array(count) };
      this.#fitting.set(this.#map, fitting);
    }
    fitting.names[this.#entry] = name.number;
    fitting.versions[this.#entry] = version;
    newest.add(version);
  }

  /** The number of the open record's version. */
  #version(): number {
    const spelling = this.#asked.versionNumber();
    const known = spelling < 0 || spelling >= this.#versionOf.length ? 0 : (this.#versionOf[spelling] as number);
    if (known > 0) return known - 1;
    const version = this.#versions.add(this.#asked.version());
    if (spelling < 0) return version;
    if (spelling >= this.#versionOf.length) {
      const grown = new Uint32Array(spelling * 2);
      grown.set(this.#versionOf);
      this.#versionOf = grown;
    }
    this.#versionOf[spelling] = version + 1;
    return version;
  }

  /** The same for a record that has a key twice, or one with escapes: as a parser reads it. */
  #lookClosely(name: Name, start: number): void {
    const fields = fieldsAt(this.#text, start, wanting(this.#asked.keys));
    const at = { ...this.#where, fileName: this.#fileName() };
    if (passes(fields, at, name.rules, this.#rules)) {
      const { newest } = name;
      if (newest) this.#fits(name, newest, this.#versions.add(asText(fields["version"])));
      else this.#take(this.#map, this.#entry);
      return;
    }
    const old = oldEnoughAt(fields, at, name.rules, this.#rules);
    if (old !== undefined) this.#wait(name, old);
  }

  #fileName(): string {
    return entryAt(this.#index, this.#map, this.#entry).fileName;
  }

  #take(map: RecordMap, entry: number): void {
    this.#chosen[map][entry] = 1;
    this.#count++;
  }

  #wait({ name }: Name, until: number): void {
    this.#waiting.set(name, Math.min(until, this.#waiting.get(name) ?? until));
  }
}
