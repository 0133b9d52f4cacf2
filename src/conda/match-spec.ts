import { formatOf } from "./file-name.ts";
import { readSpecText } from "./spec-text.ts";
import { isKnownSubdir } from "./subdirs.ts";
import { anyCase, exactly, textPattern } from "./text-pattern.ts";
import type { TextTest } from "./text-test.ts";
import type { Versions } from "./version.ts";
import { MatchSpecError, versionSpec } from "./version-spec.ts";

export { MatchSpecError } from "./version-spec.ts";

/** What is known of a package besides its record. What is absent is not compared, as rattler compares bare records. */
export interface Whereabouts {
  readonly fileName?: string;
  readonly url?: string;
  /** URL or name of the channel, without the subdir. */
  readonly channel?: string;
  readonly subdir?: string;
}

/** A record as parsed JSON. Fields of a wrong type count as absent. */
export type RecordFields = Readonly<Record<string, unknown>>;

export interface MatchSpec {
  /** As it was given. */
  readonly text: string;
  /** The lower-case name, when the spec asks for just one. */
  readonly name: string | undefined;
  /** Whether it asks for nothing but a name. */
  readonly bare: boolean;
  /** Whether a package's name fits, whatever else is asked for. */
  readonly matchesName: TextTest;
  /** What it asks besides the name: all of it must hold. */
  readonly checks: readonly Check[];
  /** Whether all but the name fits. */
  fits(record: RecordFields, where?: Whereabouts): boolean;
  matches(record: RecordFields, where?: Whereabouts): boolean;
}

/** One thing that a spec asks of a package. */
export interface Check {
  /** The member of a record that it looks at; undefined when it looks at whereabouts alone. */
  readonly member?: string;
  /** Whether it looks at the file's name; what it finds is the same for all files of a channel's subdir otherwise. */
  readonly byFile?: true;
  /** The test alone, where only a text can pass. */
  readonly text?: TextTest;
  /** @param value of the member; undefined when a record has none. */
  passes(value: unknown, where: Whereabouts): boolean;
}

/** Outcomes that a spec remembers. */
const KNOWN_VERSIONS = 50_000;

/** No spec in any channel comes near this. */
const MAX_SPEC = 4096;

/**
 * Reads a MatchSpec (CEP 29; rattler_conda_types `match_spec/parse.rs`, lenient):
 * `channel/subdir:namespace:name version build`, `name=1.2` (1.2 and all below it), `name==1.2`, `name=1.2=build`,
 * `name[version=…,build=…,build_number=…,fn=…,url=…,md5=…,sha256=…,subdir=…,channel=…,license=…,license_family=…,
 * track_features=…,flags=…]`, or the URL of a package. Names and builds may be globs or `^…$`.
 * `license` and `license_family` must be equal to the letter, as for rattler; `extras`, `when` and `namespace` are read
 * and match anything: they say nothing about which package it is.
 * @throws MatchSpecError
 */
export function parseMatchSpec(text: string, versions: Versions): MatchSpec {
  if (text.length > MAX_SPEC) throw new MatchSpecError(`a spec of ${text.length} characters`);
  try {
    return readSpec(text, versions);
  } catch (e) {
    if (!(e instanceof Error)) throw e;
    throw new MatchSpecError(`can't read the spec ${JSON.stringify(text.slice(0, 200))}: ${e.message}`, e);
  }
}

function readSpec(text: string, versions: Versions): MatchSpec {
  const parts = readSpecText(text);
  const { fields } = parts;
  const checks: Check[] = [];
  if (parts.url !== undefined) {
    const { fileName, name } = packageOf(parts.url);
    checks.push(urlCheck(parts.url));
    checks.push({
      byFile: true,
      passes: (_, where) => where.url !== undefined || where.fileName === undefined || where.fileName === fileName,
    });
    for (const [key, value] of Object.entries(fields)) checks.push(...fieldChecks(key, value, versions));
    return spec(text, name, anyCase(name), checks);
  }
  const { channel, name, version, build } = parts;
  if (channel !== undefined && !("channel" in fields)) checks.push(...channelChecks(channel, "subdir" in fields));
  // Brackets win over what stands before them; only the name can't be overridden (CEP 29), or a spec could look like
  // one package and mean another.
  if (version !== undefined && fields["version"] === undefined) checks.push(versionCheck(version, versions));
  if (build !== undefined && fields["build"] === undefined) checks.push(textCheck("build", textPattern(build)));
  for (const [key, value] of Object.entries(fields)) checks.push(...fieldChecks(key, value, versions));
  const one = /[*^]/.test(name) ? undefined : name.toLowerCase();
  return spec(text, one, textPattern(name), checks);
}

function packageOf(url: string): { fileName: string; name: string } {
  const fileName = url.slice(url.lastIndexOf("/") + 1);
  const name = fileName.split("-").slice(0, -2).join("-").toLowerCase();
  if (!formatOf(fileName) || name === "") throw new MatchSpecError("the URL names no package");
  return { fileName, name };
}

function spec(text: string, name: string | undefined, matchesName: TextTest, checks: readonly Check[]): MatchSpec {
  const fits: MatchSpec["fits"] = (record, where = {}) =>
    checks.every(({ member, passes }) => passes(member === undefined ? undefined : record[member], where));
  return {
    text,
    name,
    bare: checks.length === 0,
    matchesName,
    checks,
    fits,
    matches: (record, where) =>
      typeof record["name"] === "string" && matchesName(record["name"]) && fits(record, where),
  };
}

function fieldChecks(key: string, value: string, versions: Versions): Check[] {
  switch (key) {
    case "version":
      return [versionCheck(value, versions)];
    case "build":
      return [textCheck(key, textPattern(value))];
    case "build_number":
      return [buildNumberCheck(value)];
    case "md5":
    case "sha256": {
      const hex = value.toLowerCase();
      if (!(key === "md5" ? /^[0-9a-f]{32}$/ : /^[0-9a-f]{64}$/).test(hex))
        throw new MatchSpecError(`no ${key}: ${value}`);
      return [textCheck(key, textPattern(hex))];
    }
    case "license":
    case "license_family":
      return [textCheck(key, exactly(value))];
    case "track_features": {
      const wanted = words(value);
      return [{ member: key, passes: (given) => wanted.every((feature) => words(given).includes(feature)) }];
    }
    case "flags": {
      const wanted = value.split(",").map((flag) => textPattern(unquoted(flag.trim())));
      return [{ member: key, passes: (given) => wanted.every((test) => list(given).some(test)) }];
    }
    case "fn": {
      const test = textPattern(value);
      return [{ byFile: true, passes: (_, where) => where.fileName === undefined || test(where.fileName) }];
    }
    case "subdir":
      return [subdirCheck(value)];
    case "url":
      return [urlCheck(value)];
    case "channel":
      return channelChecks(value, false);
    case "name":
    case "namespace":
    case "extras":
    case "when":
      return [];
    default:
      throw new MatchSpecError(`unknown key ${key}`);
  }
}

function versionCheck(text: string, versions: Versions): Check {
  const test = versionSpec(text, versions);
  // A channel has far fewer versions than packages, and comparing two takes ten times what looking one up takes.
  const known = new Map<string, boolean>();
  const passes: Check["passes"] = (version) => {
    if (typeof version !== "string") return false;
    let fits = known.get(version);
    if (fits === undefined) {
      if (known.size === KNOWN_VERSIONS) known.clear();
      fits = test(version);
      known.set(version, fits);
    }
    return fits;
  };
  return { member: "version", passes };
}

function textCheck(member: string, text: TextTest): Check {
  return { member, text, passes: (value) => typeof value === "string" && text(value) };
}

function subdirCheck(pattern: string): Check {
  const test = textPattern(pattern);
  return {
    member: "subdir",
    passes: (value, where) => {
      const subdir = where.subdir ?? value;
      return typeof subdir !== "string" || test(subdir);
    },
  };
}

function buildNumberCheck(text: string): Check {
  const [, operator, digits] = /^\s*(==|=|!=|<=|>=|<|>|)\s*(\d{1,18})\s*$/.exec(text) ?? [];
  if (digits === undefined) throw new MatchSpecError(`no build number: ${text}`);
  const limit = Number(digits);
  const tests: Record<string, (n: number) => boolean> = {
    "!=": (n) => n !== limit,
    "<=": (n) => n <= limit,
    ">=": (n) => n >= limit,
    "<": (n) => n < limit,
    ">": (n) => n > limit,
  };
  const test = tests[operator as string] ?? ((n: number) => n === limit);
  return { member: "build_number", passes: (value) => typeof value === "number" && test(value) };
}

function urlCheck(url: string): Check {
  const wanted = decoded(url);
  return { passes: (_, where) => where.url === undefined || decoded(where.url) === wanted };
}

/** Two URLs are one when they differ only in percent-encoding: `+` and `!` come both ways. */
function decoded(url: string): string {
  try {
    return decodeURIComponent(url.replace(/#.*$/, ""));
  } catch {
    return url;
  }
}

function channelChecks(text: string, subdirIsGiven: boolean): Check[] {
  const slash = text.lastIndexOf("/");
  const subdir = slash > 0 && isKnownSubdir(text.slice(slash + 1)) ? text.slice(slash + 1) : undefined;
  const channel = (subdir === undefined ? text : text.slice(0, slash)).replace(/\/+$/, "");
  const checks: Check[] = [];
  if (channel !== "") {
    const test = textPattern(channel);
    const isName = !channel.includes("://");
    const passes: Check["passes"] = (_, where) => {
      if (where.channel === undefined) return true;
      const given = where.channel.replace(/\/+$/, "");
      // A name stands for whatever server the channel is fetched from: conda-forge is https://…/conda-forge.
      return test(given) || (isName && given.includes("://") && nameEnds(given, channel, test));
    };
    checks.push({ passes });
  }
  if (subdir !== undefined && !subdirIsGiven) checks.push(subdirCheck(subdir));
  return checks;
}

function nameEnds(url: string, channel: string, test: (text: string) => boolean): boolean {
  return test(url.split("/").slice(-channel.split("/").length).join("/"));
}

/** `track_features` come as a list, or as text with commas or spaces between. */
function words(value: unknown): string[] {
  if (Array.isArray(value)) return value.filter((v) => typeof v === "string");
  return typeof value === "string" ? value.split(/[\s,]+/).filter((word) => word !== "") : [];
}

function list(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((v) => typeof v === "string") : [];
}

function unquoted(text: string): string {
  return /^(["']).*\1$/.test(text) ? text.slice(1, -1) : text;
}
