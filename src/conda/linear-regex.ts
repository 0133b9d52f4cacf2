/*
 * Regular expressions that can't hang. JavaScript's own engine backtracks: `^(a+)+$` on forty characters runs for hours,
 * and these expressions come from users and from the specs of foreign packages. This one walks all alternatives side by
 * side (Thompson's construction), as Rust's engine does for rattler: time is at most pattern times text. What can't be
 * done that way, look-around and back-references, is refused.
 */

/** An expression that is malformed, or uses what linear matching can't do. */
export class RegexError extends Error {
  constructor(why: string) {
    super(why);
    this.name = "RegexError";
  }
}

const MAX_PATTERN = 512;
const MAX_PROGRAM = 4096;
const MAX_TEXT = 4096;
const MAX_DEPTH = 32;

/** Which UTF-16 code units match. */
type Test = (unit: number) => boolean;

type Step =
  | { do: "unit"; test: Test }
  | { do: "split"; to: number; or: number }
  | { do: "jump"; to: number }
  | { do: "start" }
  | { do: "end" }
  | { do: "edge"; is: boolean }
  | { do: "match" };

type Node =
  | { is: "unit"; test: Test }
  | { is: "start" }
  | { is: "end" }
  | { is: "edge"; at: boolean }
  | { is: "sequence"; items: readonly Node[] }
  | { is: "choice"; options: readonly Node[] }
  | { is: "repeat"; item: Node; min: number; max: number };

const DIGIT: Test = (u) => u >= 48 && u <= 57;
const WORD: Test = (u) => DIGIT(u) || (u >= 97 && u <= 122) || (u >= 65 && u <= 90) || u === 95;
const SPACE: Test = (u) => u === 32 || (u >= 9 && u <= 13);
const not =
  (test: Test): Test =>
  (u) =>
    !test(u);

/**
 * Compiles a regular expression: literals, `.`, classes, groups, `|`, `* + ? {m,n}`, `^ $ \b \B \d \w \s`. Matching
 * ignores case and finds the expression anywhere in the text, so anchors matter.
 * @throws RegexError
 */
export function linearRegex(pattern: string): (text: string) => boolean {
  if (pattern.length > MAX_PATTERN) throw new RegexError(`longer than ${MAX_PATTERN} characters`);
  const program = assemble(new Parser(pattern.toLowerCase(), pattern).parse());
  return (text) => text.length <= MAX_TEXT && run(program, text.toLowerCase());
}

class Parser {
  readonly #text: string;
  readonly #escapes: string;
  #at = 0;
  #depth = 0;

  /** `text` in lower case, for matching without case; `escapes` as written, since `\D` is not `\d`. */
  constructor(text: string, escapes: string) {
    this.#text = text.length === escapes.length ? text : escapes;
    this.#escapes = escapes;
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
        return WORD;
      case "W":
        return not(WORD);
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

function assemble(root: Node): readonly Step[] {
  const steps: Step[] = [];
  const add = (step: Step): number => {
    if (steps.length >= MAX_PROGRAM) throw new RegexError("it repeats too much");
    return steps.push(step) - 1;
  };
  const emit = (node: Node): void => {
    switch (node.is) {
      case "unit":
        add({ do: "unit", test: node.test });
        return;
      case "start":
      case "end":
        add({ do: node.is });
        return;
      case "edge":
        add({ do: "edge", is: node.at });
        return;
      case "sequence":
        for (const item of node.items) emit(item);
        return;
      case "choice": {
        const ends: number[] = [];
        node.options.forEach((option, i) => {
          const last = i === node.options.length - 1;
          const split = last ? -1 : add({ do: "split", to: 0, or: 0 });
          emit(option);
          if (last) return;
          ends.push(add({ do: "jump", to: 0 }));
          steps[split] = { do: "split", to: split + 1, or: steps.length };
        });
        for (const end of ends) steps[end] = { do: "jump", to: steps.length };
        return;
      }
      case "repeat": {
        for (let i = 0; i < node.min; i++) {
          add({ do: "jump", to: steps.length + 1 }); // counts towards the limit even when the item is empty
          emit(node.item);
        }
        if (node.max === Number.POSITIVE_INFINITY) {
          const split = add({ do: "split", to: 0, or: 0 });
          emit(node.item);
          add({ do: "jump", to: split });
          steps[split] = { do: "split", to: split + 1, or: steps.length };
        } else {
          const splits: number[] = [];
          for (let i = node.min; i < node.max; i++) {
            splits.push(add({ do: "split", to: 0, or: 0 }));
            emit(node.item);
          }
          for (const split of splits) steps[split] = { do: "split", to: split + 1, or: steps.length };
        }
      }
    }
  };
  emit(root);
  add({ do: "match" });
  return steps;
}

function run(steps: readonly Step[], text: string): boolean {
  const seen = new Int32Array(steps.length).fill(-1);
  let now: number[] = [];
  let next: number[] = [];
  const pending: number[] = [];
  /** Follows everything that takes no text from `from`, at `at`. True when that reaches the end of the expression. */
  const reach = (from: number, at: number, into: number[]): boolean => {
    pending.push(from);
    for (let pc = pending.pop(); pc !== undefined; pc = pending.pop()) {
      if (seen[pc] === at) continue;
      seen[pc] = at;
      const step = steps[pc] as Step;
      if (step.do === "match") {
        pending.length = 0;
        return true;
      }
      if (step.do === "unit") into.push(pc);
      else if (step.do === "jump") pending.push(step.to);
      else if (step.do === "split") pending.push(step.to, step.or);
      else if (step.do === "start" ? at === 0 : step.do === "end" ? at === text.length : edge(text, at) === step.is)
        pending.push(pc + 1);
    }
    return false;
  };
  for (let at = 0; at <= text.length; at++) {
    // `now` was reached by the units before; the expression may also begin here.
    if (reach(0, at, now)) return true;
    if (at === text.length) return false;
    const unit = text.charCodeAt(at);
    next = [];
    for (const pc of now) {
      if ((steps[pc] as { test: Test }).test(unit) && reach(pc + 1, at + 1, next)) return true;
    }
    now = next;
  }
  return false;
}

function edge(text: string, at: number): boolean {
  const before = at > 0 && WORD(text.charCodeAt(at - 1));
  return before !== (at < text.length && WORD(text.charCodeAt(at)));
}
