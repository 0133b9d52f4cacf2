import { MatchSpecError } from "./version-spec.ts";

/** A MatchSpec's text in its parts: either the URL of one package, or a name with what narrows it down. */
export type SpecText =
  | { readonly url: string; readonly fields: SpecFields }
  | {
      readonly url?: undefined;
      /** With its subdir, if one stands there: `conda-forge/linux-64`. */
      readonly channel: string | undefined;
      /** Exact, a glob or `^…$`. */
      readonly name: string;
      /** A version constraint as `versionSpec` reads it. */
      readonly version?: string;
      readonly build?: string;
      readonly fields: SpecFields;
    };

/** What stands in brackets: `[key=value,…]`. */
export type SpecFields = Readonly<Record<string, string>>;

/**
 * Takes a MatchSpec apart (CEP 29; rattler_conda_types `match_spec/parse.rs`). Values are not looked at.
 * @throws MatchSpecError
 */
export function readSpecText(text: string): SpecText {
  const plain = stripComment(text).trim().replace(/\s/g, " ");
  if (/; *if /.test(plain)) throw new MatchSpecError("'; if' is no longer used: write [when=…]");
  const { head, fields } = splitBrackets(plain);
  if (isPackageUrl(head)) return { url: head, fields };
  const { channel, rest } = splitChannel(head);
  const { name, tail } = splitName(rest);
  return { channel, name, ...splitVersion(tail), fields };
}

/** Cuts a `#` comment, which brackets may hold in quotes. */
function stripComment(text: string): string {
  let quote = "";
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (quote !== "") {
      if (c === "\\") i++;
      else if (c === quote) quote = "";
    } else if (depth > 0 && (c === '"' || c === "'")) quote = c;
    else if (c === "[") depth++;
    else if (c === "]") depth = Math.max(0, depth - 1);
    else if (c === "#" && depth === 0) return text.slice(0, i);
  }
  return text;
}

/** The `[key=value,…]` at the end of a spec. A regular expression's own brackets end in `$`, not in `]`. */
function splitBrackets(text: string): { head: string; fields: Record<string, string> } {
  if (!text.endsWith("]")) return { head: text, fields: {} };
  let open = -1;
  let depth = 0;
  let quote = "";
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (quote !== "") {
      if (c === "\\") i++;
      else if (c === quote) quote = "";
    } else if (depth > 0 && (c === '"' || c === "'")) quote = c;
    else if (c === "[" && depth++ === 0) open = i;
    else if (c === "]" && depth > 0) depth--;
  }
  if (open < 0 || depth !== 0 || quote !== "") throw new MatchSpecError("invalid bracket");
  return { head: text.slice(0, open).trim(), fields: readFields(text.slice(open + 1, -1)) };
}

// Quoted with escapes, a list in brackets, or plain text up to the next comma.
const FIELD = /\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|\[([^\]]*)\]|([^,\]'"]+))\s*(,|$)/y;

function readFields(text: string): Record<string, string> {
  const fields: Record<string, string> = Object.create(null) as Record<string, string>;
  if (text.trim() === "") return fields;
  FIELD.lastIndex = 0;
  for (;;) {
    const field = FIELD.exec(text);
    if (!field) throw new MatchSpecError("invalid bracket");
    const [, key, double, single, listed, bare, comma] = field;
    const value =
      double?.replace(/\\(["'\\])/g, "$1") ?? single?.replace(/\\(["'\\])/g, "$1") ?? listed ?? bare?.trim();
    fields[key as string] = value as string;
    if (comma === "") return fields;
  }
}

function isPackageUrl(text: string): boolean {
  return !text.includes("::") && (/^[a-z][a-z0-9+.-]*:\/\//i.test(text) || (text.startsWith("/") && !/\s/.test(text)));
}

/** `channel:namespace:rest`, counted from the right: a channel's URL has colons too. */
function splitChannel(text: string): { channel: string | undefined; rest: string } {
  if (text.startsWith("^")) return { channel: undefined, rest: text };
  const last = text.lastIndexOf(":");
  if (last < 0) return { channel: undefined, rest: text };
  const rest = text.slice(last + 1);
  const before = text.lastIndexOf(":", last - 1);
  return { channel: last === 0 || before < 0 ? undefined : text.slice(0, before), rest };
}

function splitName(text: string): { name: string; tail: string } {
  const trimmed = text.trim();
  // A regular expression may hold anything; it ends at the first "$" that a version could follow.
  const found = trimmed.startsWith("^") ? /^\^.*?\$(?=[\s=!<>~]|$)/.exec(trimmed) : /^[^\s=!<>~]+/.exec(trimmed);
  const name = found?.[0];
  if (name === undefined) throw new MatchSpecError("missing package name");
  if (!name.startsWith("^") && !/^[\w.*?-]+$/.test(name))
    throw new MatchSpecError(`${JSON.stringify(name)} is no name`);
  if (name.includes("?") && !name.includes("*")) throw new MatchSpecError(`${JSON.stringify(name)} is no name`);
  return { name, tail: trimmed.slice(name.length).trim() };
}

/** What follows the name: a version constraint, then the build behind a space or "=". */
function splitVersion(tail: string): { version?: string; build?: string } {
  if (tail === "") return {};
  if (tail.includes("[")) throw new MatchSpecError("only one pair of brackets can stand at the end");
  const group = splitGroup(tail);
  if (group === undefined) throw new MatchSpecError(`no version: ${JSON.stringify(tail.slice(0, 80))}`);
  const build = tail
    .slice(group.length)
    .replace(/^[\s=]/, "")
    .trim();
  if (/\s/.test(build)) throw new MatchSpecError(`unexpected ${JSON.stringify(build.slice(0, 80))} behind the version`);
  const version = legacyEquals(group.replace(/\s/g, ""), build !== "");
  return build === "" ? { version } : { version, build };
}

// One constraint, with or without its operator; the version may hold stars.
const CONSTRAINT = /(?:==|!=|<=|>=|~=|=|<|>)?\s*[A-Za-z0-9!_.*+-]+|\^[^$]*\$/y;

/** The longest start of `tail` that is a version constraint. By hand: as one expression it would backtrack. */
function splitGroup(tail: string): string | undefined {
  let open = 0;
  for (let at = 0; ; at++) {
    for (; tail[at] === "(" || tail[at] === " "; at++) if (tail[at] === "(") open++;
    CONSTRAINT.lastIndex = at;
    if (!CONSTRAINT.test(tail)) return undefined;
    at = CONSTRAINT.lastIndex;
    let end = at;
    for (; tail[at] === ")" || tail[at] === " "; at++) {
      if (tail[at] === ")" && open-- > 0) end = at + 1;
    }
    if (tail[at] !== "," && tail[at] !== "|") return tail.slice(0, end);
  }
}

/**
 * conda's reading of "=" before a version, which rattler keeps in its lenient mode (`optionally_strip_equals`):
 * `=1.2` is `1.2.*`, but with a build `=1.2=b` is `1.2`; `==1.2.*` is `1.2.*`.
 */
function legacyEquals(version: string, hasBuild: boolean): string {
  if (!version.startsWith("=")) return version;
  if (version.startsWith("==")) return hasBuild ? version : version.slice(2);
  const bare = version.slice(1);
  if (/[=,|]/.test(bare)) return version;
  return hasBuild || bare.endsWith("*") ? bare : `${bare}*`;
}
