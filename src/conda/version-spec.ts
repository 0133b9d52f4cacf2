import { isRegex, textPattern } from "./text-pattern.ts";
import { comparePlain, plainRelease, type Versions } from "./version.ts";
import { startsCompatibly, startsWith, versionParts } from "./version-prefix.ts";

/** A version constraint or MatchSpec that can't be read. The message says where it went wrong. */
export class MatchSpecError extends Error {
  constructor(why: string, cause?: unknown) {
    super(why, cause === undefined ? undefined : { cause });
    this.name = "MatchSpecError";
  }
}

export type VersionTest = (version: string) => boolean;

const MAX_DEPTH = 16;

/**
 * Compiles a version constraint: `>=1.2,<2|3.*`, with parentheses; `,` binds tighter than `|` (CEP 29, CEP 33).
 * Reads what rattler's lenient parser reads, with the same answers, and what it refuses but CEP 29 and real channels
 * have: `^…$`, globs inside a version (`2.*.1`), trailing underscores (`>=1.0_`). rattler's VersionSpec is not used: one
 * path for all of these is easier to trust than two, and a property test holds it against VersionSpec.
 * @throws MatchSpecError
 */
export function versionSpec(text: string, versions: Versions): VersionTest {
  const reader = new SpecReader(text, versions);
  const test = reader.either(0);
  reader.mustEnd();
  return test;
}

class SpecReader {
  readonly #text: string;
  readonly #versions: Versions;
  #at = 0;

  constructor(text: string, versions: Versions) {
    this.#text = text;
    this.#versions = versions;
  }

  either(depth: number): VersionTest {
    if (depth > MAX_DEPTH) throw new MatchSpecError(`parentheses nested deeper than ${MAX_DEPTH}`);
    const tests = [this.#all(depth)];
    while (this.#take("|")) tests.push(this.#all(depth));
    return tests.length === 1 ? (tests[0] as VersionTest) : (v) => tests.some((test) => test(v));
  }

  mustEnd(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length)
      throw new MatchSpecError(`unexpected ${JSON.stringify(this.#text.slice(this.#at, this.#at + 20))} in a version`);
  }

  #all(depth: number): VersionTest {
    const tests = [this.#term(depth)];
    while (this.#take(",")) tests.push(this.#term(depth));
    return tests.length === 1 ? (tests[0] as VersionTest) : (v) => tests.every((test) => test(v));
  }

  #term(depth: number): VersionTest {
    if (this.#take("(")) {
      const test = this.either(depth + 1);
      if (!this.#take(")")) throw new MatchSpecError("a '(' without its ')' in a version");
      return test;
    }
    this.#skipSpace();
    const rest = this.#text.slice(this.#at);
    if (rest.startsWith("^")) {
      const regex = /^\^.*?\$(?=\s*(?:[,|)]|$))/.exec(rest)?.[0];
      if (regex === undefined) throw new MatchSpecError("a '^' without its '$' in a version");
      this.#at += regex.length;
      return pattern(regex);
    }
    const [whole, operator, version] = /^([=!<>~]*)\s*([^\s=!<>~,|()^$][^\s=<>~,|()^$]*|)/.exec(rest) as unknown as [
      string,
      string,
      string,
    ];
    if (version === "")
      throw new MatchSpecError(`a version was expected in ${JSON.stringify(this.#text.slice(0, 80))}`);
    this.#at += whole.length;
    return constraint(operator, version, this.#versions);
  }

  #take(c: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== c) return false;
    this.#at++;
    return true;
  }

  #skipSpace(): void {
    while (/\s/.test(this.#text[this.#at] ?? "")) this.#at++;
  }
}

const OPERATORS = new Set(["", "=", "==", "!=", "<", "<=", ">", ">=", "~="]);

function constraint(operator: string, text: string, versions: Versions): VersionTest {
  if (!OPERATORS.has(operator)) throw new MatchSpecError(`unknown operator ${operator}`);
  if (/^\*(?:\.\*)*$/.test(text)) {
    // ">=*" stands in real channels; rattler takes what can mean "any" as any.
    if (operator === "!=" || operator === "<" || operator === ">")
      throw new MatchSpecError(`${operator}${text} says nothing`);
    return () => true;
  }
  const base = text.replace(/(?:\*|(?:\.\*)+\.?)$/, "");
  const open = base !== text;
  if (base.includes("*")) {
    const matches = pattern(text);
    if (operator === "" || operator === "=" || operator === "==") return matches;
    if (operator === "!=") return (v) => !matches(v);
    throw new MatchSpecError(`${operator} can't be asked of the pattern ${text}`);
  }
  if (!versions.isVersion(base)) throw new MatchSpecError(`${JSON.stringify(base)} is no version`);
  const parts = versionParts(base);
  const plainBase = plainRelease(base);
  const compare = (v: string) => {
    const plain = plainBase && plainRelease(v);
    return plain ? comparePlain(plain, plainBase) : versions.compare(v, base);
  };
  // What is no version begins with nothing, and is below everything.
  const begins = (v: string) => {
    const plain = plainBase && plainRelease(v);
    if (plain) return plainBase.every((n, i) => n === (plain[i] ?? 0));
    return versions.isVersion(v) && startsWith(versionParts(v), parts);
  };
  switch (operator) {
    case "":
      return open ? (v) => begins(v) : (v) => compare(v) === 0;
    case "=":
      return (v) => begins(v);
    case "==":
      return (v) => compare(v) === 0;
    case "!=":
      return open ? (v) => !begins(v) : (v) => compare(v) !== 0;
    case "<":
      return (v) => compare(v) < 0;
    case "<=":
      return (v) => compare(v) <= 0;
    case ">":
      // ">1.2.*" is ">=1.2" to rattler and conda alike.
      return open ? (v) => compare(v) >= 0 : (v) => compare(v) > 0;
    case ">=":
      return (v) => compare(v) >= 0;
    default:
      return (v) => compare(v) >= 0 && startsCompatibly(versionParts(v), parts);
  }
}

function pattern(text: string): VersionTest {
  try {
    return textPattern(text);
  } catch (e) {
    throw new MatchSpecError(`${isRegex(text) ? "regular expression" : "pattern"} ${text}: ${(e as Error).message}`, e);
  }
}
