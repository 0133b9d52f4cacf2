import { asText } from "../conda/as-text.ts";
import type { Check, MatchSpec, Whereabouts } from "../conda/match-spec.ts";
import { RecordReader } from "./record-reader.ts";
import { dependencyName, type NameRules, publishedAt, type Rules, tellsLicence } from "./rules.ts";
import { Outcomes, Spellings } from "./spellings.ts";

/** One thing asked of the record that is open. */
interface Ask {
  holds(): boolean;
  /** The member that it reads, for its depth. */
  readonly key: number;
}

/** What a spec asks of a record besides its name: false nothing can fit, true everything does. */
type Asks = readonly Ask[] | boolean;

/** What is asked of the records of one name. */
export interface Plan {
  /** One of these; undefined where all are included. */
  readonly include: readonly (readonly Ask[])[] | undefined;
  /** None of these. */
  readonly exclude: readonly (readonly Ask[])[];
}

/**
 * Rules as questions to the bytes of one index: the outcome of a check is remembered by the spelling of a value where values come
 * often (versions, licences, names), and taken from the bytes where each is another (builds, hashes). The answers are those of
 * `passes`; a property test holds the two together.
 */
export class RecordRules {
  readonly reader: RecordReader;
  readonly #where: Whereabouts;
  readonly #rules: Rules;
  readonly #keys: string[];
  readonly #spellings: Spellings;
  readonly #specs = new Map<MatchSpec, Asks>();
  readonly #limits: Ask[] = [];
  readonly #fileName: () => string;

  /** @param fileName of the record that is open. */
  constructor(bytes: Buffer, where: Whereabouts, rules: Rules, fileName: () => string) {
    this.#where = where;
    this.#rules = rules;
    this.#fileName = fileName;
    const { since, until, maxSize, licence, dependency } = rules;
    const asked = [...rules.include, ...rules.exclude].flatMap((spec) => spec.checks.map(({ member }) => member));
    const limits = [
      maxSize === undefined ? [] : ["size"],
      since === undefined && until === undefined ? [] : ["indexed_timestamp", "timestamp"],
      licence ? ["license", "license_family"] : [],
      dependency ? ["depends"] : [],
    ];
    this.#keys = [...new Set([...asked.filter((member) => member !== undefined), ...limits.flat(), "version"])];
    this.reader = new RecordReader(bytes, this.#keys);
    this.#spellings = new Spellings(bytes);
    if (maxSize !== undefined) this.#limits.push(this.#sizeLimit(maxSize));
    if (since !== undefined) this.#limits.push(this.#ageLimit(since));
    if (licence) this.#limits.push(this.#licenceLimit(licence));
    if (dependency) this.#limits.push(this.#dependencyLimit(dependency));
  }

  /** The members that rules look at. */
  get keys(): readonly string[] {
    return this.#keys;
  }

  /** What is asked of a name's records; undefined when none can be wanted. */
  planFor(names: NameRules): Plan | undefined {
    if (names.excludedAll) return undefined;
    const exclude = names.exclude.map((spec) => this.#asksOf(spec));
    if (exclude.includes(true)) return undefined;
    const include = names.includedAll ? [true] : names.include.map((spec) => this.#asksOf(spec));
    const open = { exclude: this.#cheapestFirst(exclude) };
    if (include.includes(true)) return { ...open, include: undefined };
    return include.every((asks) => asks === false) ? undefined : { ...open, include: this.#cheapestFirst(include) };
  }

  /** Whether every record of a name passes, whatever it says. */
  takesAll({ include, exclude }: Plan): boolean {
    return (
      include === undefined && exclude.length === 0 && this.#limits.length === 0 && this.#rules.until === undefined
    );
  }

  /** Whether the record that is open passes everything but `until` and `latest`. */
  pass({ include, exclude }: Plan): boolean {
    if (include !== undefined && !oneHolds(include)) return false;
    for (const limit of this.#limits) if (!limit.holds()) return false;
    return exclude.length === 0 || !oneHolds(exclude);
  }

  /** Milliseconds since 1970 when the record that is open was published. */
  publishedAt(): number | undefined {
    return publishedAt(this.#value("indexed_timestamp"), this.#value("timestamp"));
  }

  /** The number of the spelling of its version, or -1. */
  versionNumber(): number {
    const key = this.#keyOf("version");
    return this.reader.has(key) ? this.#spellings.numberOf(this.reader.start(key), this.reader.end(key)) : -1;
  }

  version(): string {
    return asText(this.#value("version"));
  }

  #keyOf(member: string): number {
    return this.#keys.indexOf(member);
  }

  #value(member: string): unknown {
    return this.reader.value(this.#keyOf(member));
  }

  #cheapestFirst(all: readonly Asks[]): (readonly Ask[])[] {
    const lists = all.filter((asks) => typeof asks !== "boolean");
    if (lists.length < 2) return lists;
    const depth = (asks: readonly Ask[]) =>
      asks.reduce((deepest, { key }) => Math.max(deepest, key < 0 ? 0 : this.reader.depth(key)), 0);
    return lists
      .map((asks) => ({ asks, depth: depth(asks) }))
      .sort((a, b) => a.depth - b.depth)
      .map(({ asks }) => asks);
  }

  #asksOf(spec: MatchSpec): Asks {
    let asks = this.#specs.get(spec);
    if (asks === undefined) {
      asks = this.#readSpec(spec);
      this.#specs.set(spec, asks);
    }
    return asks;
  }

  #readSpec({ checks }: MatchSpec): Asks {
    const asks: Ask[] = [];
    for (const check of checks) {
      const isSettled = check.member === undefined || (check.member === "subdir" && this.#where.subdir !== undefined);
      if (check.byFile) asks.push(this.#fileAsk(check));
      else if (!isSettled) asks.push(this.#memberAsk(check, check.member));
      else if (!check.passes(undefined, this.#where)) return false;
    }
    return asks.length === 0 || asks;
  }

  #fileAsk({ passes }: Check): Ask {
    return { key: -1, holds: () => passes(undefined, { ...this.#where, fileName: this.#fileName() }) };
  }

  #memberAsk({ passes, text }: Check, member: string): Ask {
    const { reader } = this;
    const key = this.#keyOf(member);
    const where = this.#where;
    const withoutOne = passes(undefined, where);
    if (text) {
      return {
        key,
        holds: () => {
          if (!reader.has(key)) return withoutOne;
          if (reader.isPlain(key)) return text.ascii(reader.bytes, reader.start(key) + 1, reader.end(key) - 1);
          return passes(reader.value(key), where);
        },
      };
    }
    return this.#remembered(key, withoutOne, (value) => passes(value, where));
  }

  /** A test on a member whose outcomes are remembered by the spelling of its value. */
  #remembered(key: number, withoutOne: boolean, passes: (value: unknown) => boolean): Ask {
    const { reader } = this;
    const spellings = this.#spellings;
    const outcomes = new Outcomes();
    const holds = () => {
      if (!reader.has(key)) return withoutOne;
      const number = spellings.numberOf(reader.start(key), reader.end(key));
      if (number < 0) return passes(reader.value(key));
      let outcome = outcomes.get(number);
      if (outcome === 0) {
        outcome = passes(reader.value(key)) ? YES : NO;
        outcomes.set(number, outcome);
      }
      return outcome === YES;
    };
    return { key, holds };
  }

  #sizeLimit(most: number): Ask {
    const key = this.#keyOf("size");
    const holds = () => {
      const size = this.reader.value(key);
      return !(typeof size === "number" && size > most);
    };
    return { key, holds };
  }

  #ageLimit(since: number): Ask {
    const holds = () => {
      const at = this.publishedAt();
      return at !== undefined && at >= since;
    };
    return { key: this.#keyOf("timestamp"), holds };
  }

  #licenceLimit(against: NonNullable<Rules["licence"]>): Ask {
    const { reader } = this;
    const key = this.#keyOf("license");
    const family = this.#keyOf("license_family");
    const passes = (value: unknown) =>
      against(value, tellsLicence(value) ? undefined : reader.value(family)) === undefined;
    const outcomes = new Outcomes();
    const holds = () => {
      const number = reader.has(key) ? this.#spellings.numberOf(reader.start(key), reader.end(key)) : -1;
      if (number < 0) return passes(reader.value(key));
      let outcome = outcomes.get(number);
      if (outcome === 0) {
        const value = reader.value(key);
        outcome = tellsLicence(value) ? (passes(value) ? YES : NO) : ASK;
        outcomes.set(number, outcome);
      }
      return outcome === ASK ? passes(reader.value(key)) : outcome === YES;
    };
    return { key, holds };
  }

  #dependencyLimit({ isBlocked, heads, against }: NonNullable<Rules["dependency"]>): Ask {
    const { reader } = this;
    const { bytes } = reader;
    const key = this.#keyOf("depends");
    const outcomes = new Outcomes();
    const mayBegin = beginnings(heads);
    const isNameBlocked = (start: number, end: number): boolean => {
      const number = this.#spellings.numberOf(start, end);
      let outcome = number < 0 ? 0 : outcomes.get(number);
      if (outcome === 0) {
        const name = dependencyName(bytes.toString("latin1", start, end));
        outcome = name !== undefined && isBlocked(name) ? YES : NO;
        if (number >= 0) outcomes.set(number, outcome);
      }
      return outcome === YES;
    };
    const holds = () => {
      if (!reader.has(key) || bytes[reader.start(key)] !== 91) return true;
      const end = reader.end(key) - 1;
      for (let i = reader.start(key) + 1; i < end; ) {
        const c = bytes[i] as number;
        if (c <= 32 || c === 44) {
          i++;
          continue;
        }
        // A list of texts, each a name with white space or a bracket behind it: anything else is read as a whole.
        const start = i + 1;
        if (c !== 34) return against(reader.value(key)) === undefined;
        i = start;
        while (IN_NAME[bytes[i] as number] === 1) i++;
        const behind = bytes[i] as number;
        if (i === start || (behind !== 32 && behind !== 34 && behind !== 91))
          return against(reader.value(key)) === undefined;
        if (mayBegin[bytes[start] as number] === 1 && isNameBlocked(start, i)) return false;
        i = behind === 34 ? i + 1 : reader.endOfString(i);
      }
      return true;
    };
    return { key, holds };
  }
}

const [YES, NO, ASK] = [1, 2, 3];

/** What `dependencyName` takes a name to be made of. */
const IN_NAME = new Uint8Array(256);
for (let c = 0; c < 128; c++) if (/[\w.-]/.test(String.fromCharCode(c))) IN_NAME[c] = 1;

/** By ASCII character: 1 where a text that begins with one of `heads`, whatever its case, can begin with it. */
function beginnings(heads: readonly string[]): Uint8Array {
  const out = new Uint8Array(256);
  for (const head of heads) {
    const first = head.charCodeAt(0);
    if (head === "" || first > 127) return out.fill(1);
    out[first] = out[head.toUpperCase().charCodeAt(0) & 127] = 1;
  }
  return out;
}

function oneHolds(lists: readonly (readonly Ask[])[]): boolean {
  for (const asks of lists) if (allHold(asks)) return true;
  return false;
}

function allHold(asks: readonly Ask[]): boolean {
  for (const ask of asks) if (!ask.holds()) return false;
  return true;
}
