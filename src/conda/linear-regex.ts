import { isWord, type Node, parseRegex, RegexError, type Test } from "./regex-parser.ts";
import { folded, type TextTest } from "./text-test.ts";

export { RegexError } from "./regex-parser.ts";

/*
 * Regular expressions that can't hang. JavaScript's own engine backtracks: `^(a+)+$` on forty characters runs for hours,
 * and these expressions come from users and from the specs of foreign packages. This one walks all alternatives side by
 * side (Thompson's construction), as Rust's engine does for rattler: time is at most pattern times text. What can't be
 * done that way, look-around and back-references, is refused. Sets of places in the expression that came up are remembered
 * with what follows each character (a lazily built automaton): fifty expressions over 20,000 names take less than 0.2 s.
 */

const MAX_PATTERN = 512;
const MAX_PROGRAM = 4096;
const MAX_TEXT = 4096;
/** Sets that an expression remembers, about 1 kB each. What comes after them is worked out anew each time. */
const MAX_STATES = 256;

type Step =
  | { do: "unit"; test: Test }
  | { do: "split"; to: number; or: number }
  | { do: "jump"; to: number }
  | { do: "start" }
  | { do: "end" }
  | { do: "edge"; is: boolean }
  | { do: "match" };

/**
 * Compiles a regular expression: literals, `.`, classes, groups, `|`, `* + ? {m,n}`, `^ $ \b \B \d \w \s`. Matching
 * ignores case and finds the expression anywhere in the text, so anchors matter.
 * @throws RegexError
 */
export function linearRegex(pattern: string): TextTest {
  if (pattern.length > MAX_PATTERN) throw new RegexError(`longer than ${MAX_PATTERN} characters`);
  const automaton = new Automaton(assemble(parseRegex(pattern)));
  const test = (text: string) => text.length <= MAX_TEXT && automaton.finds(text.toLowerCase());
  return Object.assign(test, {
    ascii: (bytes: Uint8Array, start: number, end: number) =>
      end - start <= MAX_TEXT && automaton.findsAscii(bytes, start, end),
    pieces: [],
    head: "",
  });
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

/** Where in an expression a match may stand between two characters. */
interface State {
  /** Steps that were reached, in order; what takes no text from there depends on the next character. */
  readonly at: readonly number[];
  readonly isFirst: boolean;
  readonly afterWord: boolean;
  /** By ASCII character, and END: the state behind it. */
  readonly next: (State | undefined)[];
  /** Whether it is remembered: only such may be remembered as what follows another. */
  readonly isKept: boolean;
}

const END = 128;
const FOUND = stateOf([], false, true);
const NOT_FOUND = stateOf([], false, true);

function stateOf(at: readonly number[], afterWord: boolean, isKept: boolean, isFirst = false): State {
  return { at, isFirst, afterWord, next: [], isKept };
}

class Automaton {
  readonly #steps: readonly Step[];
  readonly #hasEdges: boolean;
  readonly #states = new Map<string, State>();
  readonly #first: State = stateOf([0], false, true, true);
  /** By step: the last turn that saw it. */
  readonly #seen: Float64Array;
  #turn = 0;

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
    this.#hasEdges = steps.some((step) => step.do === "edge");
    this.#seen = new Float64Array(steps.length);
  }

  /** @param text in lower case. */
  finds(text: string): boolean {
    let state = this.#first;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      state = (unit < END && state.next[unit]) || this.#after(state, unit);
      if (state === FOUND) return true;
    }
    return this.#after(state, END, true) === FOUND;
  }

  findsAscii(bytes: Uint8Array, start: number, end: number): boolean {
    let state = this.#first;
    for (let i = start; i < end; i++) {
      const unit = folded(bytes[i] as number);
      state = state.next[unit] ?? this.#after(state, unit);
      if (state === FOUND) return true;
    }
    return this.#after(state, END, true) === FOUND;
  }

  /** The state behind a character, or behind the end of the text. */
  #after(state: State, unit: number, isEnd = false): State {
    if (isEnd && state.next[END]) return state.next[END];
    const after = this.#work(state, unit, isEnd);
    if (after.isKept && (unit < END || isEnd)) state.next[unit] = after;
    return after;
  }

  #work(state: State, unit: number, isEnd: boolean): State {
    const steps = this.#steps;
    const turn = ++this.#turn;
    const next: number[] = [];
    const word = !isEnd && isWord(unit);
    const pending = [...state.at];
    for (let pc = pending.pop(); pc !== undefined; pc = pending.pop()) {
      if (this.#seen[pc] === turn) continue;
      this.#seen[pc] = turn;
      const step = steps[pc] as Step;
      if (step.do === "match") return FOUND;
      if (step.do === "unit") {
        if (!isEnd && step.test(unit)) next.push(pc + 1);
      } else if (step.do === "jump") pending.push(step.to);
      else if (step.do === "split") pending.push(step.to, step.or);
      else if (step.do === "start" ? state.isFirst : step.do === "end" ? isEnd : (state.afterWord !== word) === step.is)
        pending.push(pc + 1);
    }
    if (isEnd) return NOT_FOUND;
    // The expression may also begin here.
    next.push(0);
    const afterWord = this.#hasEdges && word;
    if (this.#states.size === MAX_STATES) return stateOf(next, afterWord, false);
    next.sort((a, b) => a - b);
    const key = `${afterWord} ${next.join()}`;
    const known = this.#states.get(key);
    if (known) return known;
    const made = stateOf(next, afterWord, true);
    this.#states.set(key, made);
    return made;
  }
}
