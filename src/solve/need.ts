import { MatchSpecError, parseMatchSpec, type RecordFields } from "../conda/match-spec.ts";
import { readSpecText } from "../conda/spec-text.ts";
import type { Versions } from "../conda/version.ts";

/** What a package says of another one, in `depends` or `constrains`. */
export interface Need {
  /** In lower case. */
  readonly name: string;
  /** Whether a package of that name will do. */
  matches(record: RecordFields): boolean;
  /** Optional groups of it that are needed too: `[extras=[…]]` (CEP 44). */
  readonly extras: readonly string[];
  /** It is needed only while this holds: `[when="…"]` (CEP 43). */
  readonly when: Condition | undefined;
}

/** Holds for an installation, or not. More packages never make one that holds fail. */
export type Condition =
  | { readonly is: "there"; readonly need: Need }
  | { readonly is: "and" | "or"; readonly left: Condition; readonly right: Condition };

/** @throws MatchSpecError also for a name that is a pattern: rattler takes none of those for a dependency. */
export function readNeed(text: string, versions: Versions): Need {
  const spec = parseMatchSpec(text, versions);
  const { name } = spec;
  if (name === undefined) throw new MatchSpecError(`${text} names no package`);
  const { fields } = readSpecText(text);
  const { extras, when } = fields;
  return {
    name,
    matches: (record) => spec.matches(record),
    extras: (extras ?? "").split(",").flatMap((group) => group.replace(/["']/g, "").trim() || []),
    when: when === undefined ? undefined : readCondition(when, versions),
  };
}

/** Deeper ones are an attack. */
const MOST_DEEP = 50;

/** `python >=3.12 and (__linux or __osx)`: "and" binds stronger; specs may have parentheses of their own. */
function readCondition(text: string, versions: Versions): Condition {
  let at = 0;
  const skip = () => {
    while (text[at] === " ") at++;
  };
  const word = (w: string): boolean => {
    skip();
    if (!new RegExp(`^${w}(?=[\\s(])`, "i").test(text.slice(at, at + w.length + 1))) return false;
    at += w.length;
    return true;
  };
  const either = (depth: number): Condition => {
    if (depth > MOST_DEEP) throw new MatchSpecError("a condition that is too deep");
    let left = both(depth);
    while (word("or")) left = { is: "or", left, right: both(depth) };
    return left;
  };
  const both = (depth: number): Condition => {
    let left = one(depth);
    while (word("and")) left = { is: "and", left, right: one(depth) };
    return left;
  };
  const one = (depth: number): Condition => {
    skip();
    if (text[at] === "(") {
      at++;
      const inner = either(depth + 1);
      skip();
      if (text[at++] !== ")") throw new MatchSpecError(`no condition: ${text.slice(0, 80)}`);
      return inner;
    }
    const from = at;
    let open = 0;
    for (; at < text.length; at++) {
      if (text[at] === "(") open++;
      else if (text[at] === ")" && open-- === 0) break;
      else if (text[at] === " " && /^ +(?:and|or)[\s(]/i.test(text.slice(at, at + 80))) break;
    }
    return { is: "there", need: readNeed(text.slice(from, at).trim(), versions) };
  };
  const whole = either(0);
  skip();
  if (at < text.length) throw new MatchSpecError(`no condition: ${text.slice(0, 80)}`);
  return whole;
}

/** The names of packages that make a condition hold; undefined where it doesn't. */
export function whyHolds(
  condition: Condition,
  there: ReadonlyMap<string, { readonly fields: RecordFields }>,
): string[] | undefined {
  if (condition.is === "there") {
    const { name, matches } = condition.need;
    const found = there.get(name);
    return found && matches(found.fields) ? [name] : undefined;
  }
  const left = whyHolds(condition.left, there);
  if (condition.is === "or") return left ?? whyHolds(condition.right, there);
  const right = left && whyHolds(condition.right, there);
  return right && [...left, ...right];
}
