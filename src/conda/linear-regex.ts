import { isWord, type Node, parseRegex, RegexError, type Test } from "./regex-parser.ts";

export { RegexError } from "./regex-parser.ts";

/*
 * Regular expressions that can't hang. JavaScript's own engine backtracks: `^(a+)+$` on forty characters runs for hours,
 * and these expressions come from users and from the specs of foreign packages. This one walks all alternatives side by
 * side (Thompson's construction), as Rust's engine does for rattler: time is at most pattern times text. What can't be
 * done that way, look-around and back-references, is refused.
 */

const MAX_PATTERN = 512;
const MAX_PROGRAM = 4096;
const MAX_TEXT = 4096;

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
export function linearRegex(pattern: string): (text: string) => boolean {
  if (pattern.length > MAX_PATTERN) throw new RegexError(`longer than ${MAX_PATTERN} characters`);
  const program = assemble(parseRegex(pattern));
  return (text) => text.length <= MAX_TEXT && run(program, text.toLowerCase());
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
  const before = at > 0 && isWord(text.charCodeAt(at - 1));
  return before !== (at < text.length && isWord(text.charCodeAt(at)));
}
