import { type MatchSpec, parseMatchSpec, type RecordFields, type Whereabouts } from "../conda/match-spec.ts";
import { textPattern } from "../conda/text-pattern.ts";
import { loadVersions, type Versions } from "../conda/version.ts";
import { UsageError } from "../errors.ts";
import { licenceHolds } from "./licence.ts";
import { bytesOf, dateOf, durationOf } from "./quantities.ts";
import { SpecsByName } from "./specs-by-name.ts";

/** Which packages are wanted, as typed. Exclude beats include; the order of rules never matters. */
export interface ChoiceOptions {
  /** MatchSpecs: only what one of them matches. */
  readonly include?: readonly string[];
  /** MatchSpecs: nothing that one of them matches. */
  readonly exclude?: readonly string[];
  /** So many of the newest versions of each name in each subdir, with all their builds. */
  readonly latest?: number;
  /** What `latest` counts by: a name, or a name's major.minor. Default: "name". */
  readonly latestPer?: "name" | "minor";
  /** Only what was published since then: a date, or a time with its zone. */
  readonly since?: string;
  /** Only what was published at least so long ago: `3d`, `12h`, `P7D`. */
  readonly minAge?: string;
  /** Nothing larger: `200MB`, `1GiB`. */
  readonly maxSize?: string;
  /** Only packages with one of these licences: names, globs or `^…$`; parts of SPDX expressions count. */
  readonly allowLicenses?: readonly string[];
  /** No packages that can only be had under one of these licences. */
  readonly blockLicenses?: readonly string[];
  /** No packages that depend on one of these names: names, globs or `^…$`. */
  readonly blockDependencies?: readonly string[];
}

/** What is against a licence, in words; undefined when nothing is. */
export type LicenceRule = (license: unknown, family: unknown) => string | undefined;

export interface DependencyRule {
  /** @param name in lower case. */
  isBlocked(name: string): boolean;
  /** What blocked names begin with: one of these. */
  readonly heads: readonly string[];
  /** What is against what a record depends on, in words; undefined when nothing is. */
  against(depends: unknown): string | undefined;
}

/** Specs by the names they fit, and what came of narrowing them: many names of a channel are alike in that. */
interface ByName {
  readonly include: SpecsByName;
  readonly exclude: SpecsByName;
  readonly known: WeakMap<readonly MatchSpec[], WeakMap<readonly MatchSpec[], NameRules>>;
}

/** Rules, ready to be asked. */
export interface Rules {
  readonly include: readonly MatchSpec[];
  readonly exclude: readonly MatchSpec[];
  readonly byName: ByName;
  readonly latest: { readonly count: number; readonly per: "name" | "minor" } | undefined;
  /** Milliseconds since 1970. */
  readonly since: number | undefined;
  /** Nothing published after this; milliseconds since 1970. */
  readonly until: number | undefined;
  /** Bytes. */
  readonly maxSize: number | undefined;
  readonly licence: LicenceRule | undefined;
  readonly dependency: DependencyRule | undefined;
  readonly versions: Versions;
  /** What an outcome that was remembered depends on: the rules as text, times left out. */
  readonly text: string;
  /** Milliseconds of `minAge`. */
  readonly minAge: number | undefined;
}

/**
 * Reads rules; undefined when there are none.
 * @param now milliseconds since 1970.
 * @throws UsageError BAD_FLAG naming the rule
 */
export async function readRules(options: ChoiceOptions, now: number): Promise<Rules | undefined> {
  const { include = [], exclude = [], allowLicenses = [], blockLicenses = [], blockDependencies = [] } = options;
  const { latest, latestPer = "name", since, minAge, maxSize } = options;
  const lists = [include, exclude, allowLicenses, blockLicenses, blockDependencies];
  if (lists.every((l) => l.length === 0) && [latest, since, minAge, maxSize].every((one) => one === undefined)) return;
  const versions = await loadVersions();
  const specs = (flag: string, texts: readonly string[]) => texts.map((text) => readSpec(flag, text, versions));
  if (latest !== undefined && !(Number.isInteger(latest) && latest > 0))
    throw badRule("--latest", String(latest), "it is no whole number above 0", "--latest 3");
  const age = minAge === undefined ? undefined : durationOf(minAge);
  if (minAge !== undefined && age === undefined)
    throw badRule("--min-age", minAge, "it is no length of time", "--min-age 3d, 12h or P7D");
  const from = since === undefined ? undefined : dateOf(since);
  if (since !== undefined && from === undefined)
    throw badRule("--since", since, "it is no date", "--since 2025-01-31, or a time with its zone");
  const most = maxSize === undefined ? undefined : bytesOf(maxSize);
  if (maxSize !== undefined && most === undefined)
    throw badRule("--max-size", maxSize, "it is no size", "--max-size 200MB or 1GiB");
  const allowed = patterns("--allow-license", allowLicenses);
  const blocked = patterns("--block-license", blockLicenses);
  const dependencies = patterns("--block-dependency", blockDependencies);
  const [wanted, unwanted] = [specs("--include", include), specs("--exclude", exclude)];
  return {
    include: wanted,
    exclude: unwanted,
    byName: { include: new SpecsByName(wanted), exclude: new SpecsByName(unwanted), known: new WeakMap() },
    latest: latest === undefined ? undefined : { count: latest, per: latestPer },
    since: from,
    until: age === undefined ? undefined : now - age,
    maxSize: most,
    licence: allowed || blocked ? licenceRule(allowed, blocked) : undefined,
    dependency: dependencies && dependencyRule(dependencies),
    versions,
    minAge: age,
    text: JSON.stringify([...lists.map((l) => [...l].sort()), latest, latestPer, from, age, most]),
  };
}

type Test = (text: string) => boolean;
type Tests = Test & { readonly heads: readonly string[] };

function readSpec(flag: string, text: string, versions: Versions): MatchSpec {
  try {
    return parseMatchSpec(text, versions);
  } catch (e) {
    throw badRule(
      flag,
      text,
      (e as Error).message,
      `${flag} 'numpy >=2', '*[license=MIT]' or 'python[build=*_cpython]'`,
      e,
    );
  }
}

function patterns(flag: string, texts: readonly string[]): Tests | undefined {
  if (texts.length === 0) return undefined;
  const tests = texts.map((text) => {
    try {
      return textPattern(text);
    } catch (e) {
      throw badRule(flag, text, (e as Error).message, `${flag} with a name, a glob such as 'GPL*', or ^…$`, e);
    }
  });
  return Object.assign((text: string) => tests.some((test) => test(text)), { heads: tests.map(({ head }) => head) });
}

function licenceRule(allowed: Test | undefined, blocked: Test | undefined): LicenceRule {
  const isFree = blocked && remembered((said: string) => licenceHolds(said, (one) => !blocked(one)));
  const isAllowed = allowed && remembered((said: string) => allowed(said) || licenceHolds(said, allowed));
  return (license, license_family) => {
    const said = tellsLicence(license) ? license : undefined;
    const family = typeof license_family === "string" ? license_family : undefined;
    if (isFree && said !== undefined && !isFree(said)) return `its licence is ${said}, which is blocked`;
    // Where nothing else is told the family counts.
    if (blocked && said === undefined && family !== undefined && blocked(family))
      return `its licence family is ${family}, which is blocked`;
    if (!allowed || !isAllowed || (said !== undefined && isAllowed(said))) return undefined;
    if (said === undefined && family !== undefined && allowed(family)) return undefined;
    return said === undefined ? "it tells no licence" : `its licence is ${said}, which is not allowed`;
  };
}

/** Whether the member `license` tells one: what a record's `license_family` says counts only where it does not. */
export function tellsLicence(license: unknown): license is string {
  return typeof license === "string" && license.trim() !== "";
}

/** A test whose outcomes are remembered: a channel says the same few thousand things in half a million records. */
function remembered<T>(test: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    if (known.has(text)) return known.get(text) as T;
    const outcome = test(text);
    if (known.size === 100_000) known.clear();
    known.set(text, outcome);
    return outcome;
  };
}

function dependencyRule(blocked: Tests): DependencyRule {
  const blockedName = remembered((spec: string) => {
    const name = dependencyName(spec);
    return name !== undefined && blocked(name) ? name : undefined;
  });
  return {
    isBlocked: blocked,
    heads: blocked.heads,
    against: (depends) => {
      if (!Array.isArray(depends)) return undefined;
      for (const spec of depends) {
        const name = typeof spec === "string" ? blockedName(spec) : undefined;
        if (name !== undefined) return `it depends on ${name}, which is blocked`;
      }
      return undefined;
    },
  };
}

/** The name that a dependency is on. */
export function dependencyName(spec: string): string | undefined {
  return /^\s*(?:[^\s[]*::)?([\w.-]+)/.exec(spec)?.[1]?.toLowerCase();
}

/**
 * Milliseconds since 1970 when a package was published: when its channel first listed it (`indexed_timestamp`, CEP 47), else
 * when it was built (`timestamp`).
 */
export function publishedAt(indexed: unknown, built: unknown): number | undefined {
  const told = typeof indexed === "number" ? indexed : built;
  if (typeof told !== "number") return undefined;
  // Old packages count seconds (rattler, conda-index: up to the year 9999).
  return told > 253_402_300_799 ? told : told * 1000;
}

/** Why a record is not wanted, besides names and `latest`; undefined when it is. */
export function limitOf(fields: RecordFields, rules: Rules): string | undefined {
  const { since, until, maxSize } = rules;
  if (since !== undefined || until !== undefined) {
    const at = publishedAt(fields["indexed_timestamp"], fields["timestamp"]);
    const day = (ms: number) => new Date(Math.min(ms, 8.64e15)).toISOString().slice(0, 16).replace("T", " ");
    if (since !== undefined && (at === undefined || at < since))
      return at === undefined
        ? "it does not tell when it was published, which counts as before --since"
        : `it was published at ${day(at)}, before ${day(since)}`;
    if (until !== undefined && at !== undefined && at > until)
      return `it was published at ${day(at)}, which is not long enough ago`;
  }
  if (maxSize !== undefined && typeof fields["size"] === "number" && fields["size"] > maxSize)
    return `it has ${fields["size"]} bytes, more than ${maxSize}`;
  return rules.licence?.(fields["license"], fields["license_family"]) ?? rules.dependency?.against(fields["depends"]);
}

/** When a record that is only too young becomes old enough; undefined for all others. Milliseconds since 1970. */
export function oldEnoughAt(
  fields: RecordFields,
  where: Whereabouts,
  names: NameRules,
  rules: Rules,
): number | undefined {
  if (rules.until === undefined || rules.minAge === undefined) return undefined;
  const at = publishedAt(fields["indexed_timestamp"], fields["timestamp"]);
  if (at === undefined || at <= rules.until || !passes(fields, where, names, { ...rules, until: undefined }))
    return undefined;
  return at + rules.minAge;
}

/** Rules about names, narrowed to those that can match one name. */
export interface NameRules {
  /** Whether every package of the name is included, whatever it is. */
  readonly includedAll: boolean;
  readonly include: readonly MatchSpec[];
  readonly excludedAll: boolean;
  readonly exclude: readonly MatchSpec[];
}

/** The same outcome, as an object, for names that the same specs fit. */
export function rulesFor(name: string, { include, byName }: Rules): NameRules {
  const wanted = byName.include.of(name);
  const unwanted = byName.exclude.of(name);
  let known = byName.known.get(wanted);
  if (!known) {
    known = new WeakMap();
    byName.known.set(wanted, known);
  }
  let rules = known.get(unwanted);
  if (!rules) {
    rules = {
      includedAll: include.length === 0 || wanted.some((spec) => spec.bare),
      include: wanted.filter((spec) => !spec.bare),
      excludedAll: unwanted.some((spec) => spec.bare),
      exclude: unwanted.filter((spec) => !spec.bare),
    };
    known.set(unwanted, rules);
  }
  return rules;
}

/** Whether no package of a name can be wanted. */
export function hopeless(rules: NameRules): boolean {
  return rules.excludedAll || (!rules.includedAll && rules.include.length === 0);
}

/** Whether a record passes every rule but `latest`; `names` are those of its name. */
export function passes(fields: RecordFields, where: Whereabouts, names: NameRules, rules: Rules): boolean {
  if (names.excludedAll || names.exclude.some((spec) => spec.fits(fields, where))) return false;
  if (!names.includedAll && !names.include.some((spec) => spec.fits(fields, where))) return false;
  return limitOf(fields, rules) === undefined;
}

/** Why a record is not wanted, every reason of its own; none when only `latest` can be against it. */
export function reasonsAgainst(fields: RecordFields, where: Whereabouts, rules: Rules): string[] {
  const out = rules.exclude
    .filter((spec) => spec.matches(fields, where))
    .map((spec) => `--exclude ${spec.text} matches it`);
  const included = rules.include.length === 0 || rules.include.some((spec) => spec.matches(fields, where));
  if (!included)
    out.push(
      `no --include matches it (${rules.include
        .map((spec) => spec.text)
        .join("; ")
        .slice(0, 200)})`,
    );
  const limits: readonly (keyof Rules)[] = ["since", "until", "maxSize", "licence", "dependency"];
  for (const one of limits) {
    const others = Object.fromEntries(limits.filter((l) => l !== one).map((l) => [l, undefined]));
    const why = limitOf(fields, { ...rules, ...others });
    if (why !== undefined) out.push(why);
  }
  return out;
}

/** Why a record is wanted. */
export function reasonsFor(fields: RecordFields, where: Whereabouts, rules: Rules): string[] {
  const specs = rules.include.filter((spec) => spec.matches(fields, where));
  return specs.length > 0 ? specs.map((spec) => `--include ${spec.text} matches it`) : ["no rule is against it"];
}

function badRule(flag: string, text: string, why: string, next: string, cause?: unknown): UsageError {
  return new UsageError("BAD_FLAG", { what: `${flag} ${text}`, why, next: `write it like this: ${next}`, cause });
}
