/** Regular expressions as trees: the parser of `linear-regex.ts`. */

/** An expression that is malformed, or uses what linear matching can't do. */
export class RegexError extends Error {
  constructor(why: string) {
    super(why);
    this.name = "RegexError";
  }
}

const MAX_DEPTH = 32;

/** Which UTF-16 code units match. */
export type Test = (unit: number) => boolean;

export type Node =
  | { is: "unit"; test: Test }
  | { is: "start" }
  | { is: "end" }
  | { is: "edge"; at: boolean }
  | { is: "sequence"; items: readonly Node[] }
  | { is: "choice"; options: readonly Node[] }
  | { is: "repeat"; item: Node; min: number; max: number };

const DIGIT: Test = (u) => u >= 48 && u <= 57;
/** A letter, digit or underscore: what `\w` takes, and what words are made of. */
export const isWord: Test = (u) => DIGIT(u) || (u >= 97 && u <= 122) || (u >= 65 && u <= 90) || u === 95;
const SPACE: Test = (u) => u === 32 || (u >= 9 && u <= 13);
const not =
  (test: Test): Test =>
  (u) =>
    !test(u);

/**
 * Parses a regular expression for matching without case.
 * @throws RegexError
 */
export function parseRegex(pattern: string): Node {
  return new Parser(pattern).parse();
}

class Parser {
  readonly #text: string;
  readonly #escapes: string;
  #at = 0;
  #depth = 0;

  /** Texts are matched in lower case, so the pattern is read in it; escapes as written, since `\D` is not `\d`. */
  constructor(pattern: string) {
    const lower = pattern.toLowerCase();
    this.#text = lower.length === pattern.length ? lower : pattern;
    this.#escapes = pattern;
  }

  parse(): Node {
    const node = this.#choice();
    if (this.#at < this.#text.length) throw new RegexError("a ')' without its '('");
    return node;
  }

  #choice(): Node {
    if (++this.#depth > MAX_DEPTH) throw new RegexError(`groups nested deeper than ${MAX_DEPTH}`);
    const options = [this.#sequence()];
    while (this.#take("|")) options.push(this.#sequence());
    this.#depth--;
    return options.length === 1 ? (options[0] as Node) : { is: "choice", options };
  }

  #sequence(): Node {
    const items: Node[] = [];
    for (;;) {
      const c = this.#text[this.#at];
      if (c === undefined || c === "|" || c === ")") return { is: "sequence", items };
      items.push(this.#repeated(this.#atom()));
    }
  }

  #repeated(item: Node): Node {
    let node = item;
    for (;;) {
      const bounds = this.#bounds();
      if (!bounds) return node;
      if (node.is === "repeat") throw new RegexError("a repetition of a repetition");
      // A lazy one matches the same texts.
      this.#take("?");
      node = { is: "repeat", item: node, ...bounds };
    }
  }

  #bounds(): { min: number; max: number } | undefined {
    if (this.#take("*")) return { min: 0, max: Number.POSITIVE_INFINITY };
    if (this.#take("+")) return { min: 1, max: Number.POSITIVE_INFINITY };
    if (this.#take("?")) return { min: 0, max: 1 };
    const braces = /^\{(\d{1,4})(,(\d{0,4}))?\}/.exec(this.#text.slice(this.#at, this.#at + 12));
    if (!braces) return undefined;
    this.#at += braces[0].length;
    const min = Number(braces[1]);
    const max = braces[2] === undefined ? min : braces[3] ? Number(braces[3]) : Number.POSITIVE_INFINITY;
    if (max < min) throw new RegexError(`the repetition ${braces[0]} ends before it begins`);
    return { min, max };
  }

  #atom(): Node {
    const c = this.#text[this.#at++] as string;
    switch (c) {
      case "^":
        return { is: "start" };
      case "$":
        return { is: "end" };
      case ".":
        return { is: "unit", test: (u) => u !== 10 };
      case "(":
        return this.#group();
      case "[":
        return { is: "unit", test: this.#class() };
      case "\\":
        return this.#escape();
      case "*":
      case "+":
      case "?":
        throw new RegexError(`nothing for '${c}' to repeat`);
      default:
        return literal(c);
    }
  }

  #group(): Node {
    if (this.#take("?")) {
      const kind = /^(?::|P?<[A-Za-z_]\w*>)/.exec(this.#escapes.slice(this.#at));
      if (!kind) throw new RegexError("look-around and inline flags are not supported");
      this.#at += kind[0].length;
    }
    const inner = this.#choice();
    if (!this.#take(")")) throw new RegexError("a '(' without its ')'");
    return inner;
  }

  #escape(): Node {
    const c = this.#escapes[this.#at++];
    if (c === "b" || c === "B") return { is: "edge", at: c === "b" };
    if (c === "A") return { is: "start" };
    if (c === "z") return { is: "end" };
    return { is: "unit", test: this.#escaped(c) };
  }

  #escaped(c: string | undefined): Test {
    switch (c) {
      case undefined:
        throw new RegexError("a '\\' at the end");
      case "d":
        return DIGIT;
      case "D":
        return not(DIGIT);
      case "w":
        return isWord;
      case "W":
        return not(isWord);
      case "s":
        return SPACE;
      case "S":
        return not(SPACE);
      case "t":
        return is(9);
      case "n":
        return is(10);
      case "r":
        return is(13);
      default:
        if (/[A-Za-z0-9]/.test(c)) throw new RegexError(`'\\${c}' is not supported`);
        return is(c.charCodeAt(0));
    }
  }

  #class(): Test {
    const negated = this.#take("^");
    const tests: Test[] = [];
    for (let first = true; ; first = false) {
      const c = this.#text[this.#at++];
      if (c === undefined) throw new RegexError("a '[' without its ']'");
      if (c === "]" && !first) break;
      if (c === "[" && this.#text[this.#at] === ":") throw new RegexError("'[:…:]' is not supported");
      if (c === "\\") {
        tests.push(this.#escaped(this.#escapes[this.#at++]));
        continue;
      }
      const to = this.#text[this.#at + 1];
      if (this.#text[this.#at] === "-" && to !== undefined && to !== "]" && to !== "\\") {
        this.#at += 2;
        const [low, high] = [c.charCodeAt(0), to.charCodeAt(0)];
        if (high < low) throw new RegexError(`the range ${c}-${to} ends before it begins`);
        tests.push((u) => u >= low && u <= high);
      } else tests.push(is(c.charCodeAt(0)));
    }
    const any: Test = (u) => tests.some((test) => test(u));
    return negated ? not(any) : any;
  }

  #take(c: string): boolean {
    if (this.#text[this.#at] !== c) return false;
    this.#at++;
    return true;
  }
}

function is(unit: number): Test {
  return (u) => u === unit;
}

function literal(c: string): Node {
  return { is: "unit", test: is(c.charCodeAt(0)) };
}
