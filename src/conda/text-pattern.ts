import { linearRegex } from "./linear-regex.ts";
import { folded, type TextTest } from "./text-test.ts";

/**
 * A text of a MatchSpec as a test (CEP 29): `^…$` is a regular expression, what holds a `*` is a glob (`*` any text,
 * `?` one character, as rattler reads them), anything else must be equal. Case is ignored. Time is linear in the text.
 * @throws RegexError
 */
export function textPattern(pattern: string): TextTest {
  if (isRegex(pattern)) return linearRegex(pattern);
  return pattern.includes("*") ? glob(pattern.toLowerCase()) : anyCase(pattern);
}

/** A test for one text, whatever its case. */
export function anyCase(wanted: string): TextTest {
  const lower = wanted.toLowerCase();
  const bytes = Buffer.from(lower);
  return Object.assign((text: string) => text.toLowerCase() === lower, {
    ascii: (text: Uint8Array, start: number, end: number) => {
      let i = end - start === bytes.length ? 0 : -1;
      while (i >= 0 && i < bytes.length && folded(text[start + i] as number) === bytes[i]) i++;
      return i === bytes.length;
    },
    pieces: [lower],
    head: lower,
  });
}

/** A test for one text to the letter. */
export function exactly(wanted: string): TextTest {
  const bytes = Buffer.from(wanted);
  return Object.assign((text: string) => text === wanted, {
    ascii: (text: Uint8Array, start: number, end: number) => {
      let i = end - start === bytes.length ? 0 : -1;
      while (i >= 0 && i < bytes.length && text[start + i] === bytes[i]) i++;
      return i === bytes.length;
    },
    pieces: [wanted.toLowerCase()],
    head: wanted.toLowerCase(),
  });
}

export function isRegex(pattern: string): boolean {
  return pattern.length > 1 && pattern.startsWith("^") && pattern.endsWith("$");
}

/** The pieces between stars, each at the first place it fits: no other place could do better. */
function glob(pattern: string): TextTest {
  const pieces = pattern.split("*");
  const first = pieces[0] as string;
  const last = pieces.at(-1) as string;
  const middle = pieces.slice(1, -1).filter((p) => p !== "");
  const test = (given: string) => {
    const text = given.toLowerCase();
    const end = text.length - last.length;
    if (end < first.length || !fits(text, 0, first) || !fits(text, end, last)) return false;
    let at = first.length;
    for (const piece of middle) {
      while (at + piece.length <= end && !fits(text, at, piece)) at++;
      if (at + piece.length > end) return false;
      at += piece.length;
    }
    return true;
  };
  const [head, tail, between] = [Buffer.from(first), Buffer.from(last), middle.map((piece) => Buffer.from(piece))];
  const ascii = (bytes: Uint8Array, start: number, stop: number) => {
    const end = stop - tail.length;
    if (end - start < head.length || !lies(bytes, start, head) || !lies(bytes, end, tail)) return false;
    let at = start + head.length;
    for (const piece of between) {
      while (at + piece.length <= end && !lies(bytes, at, piece)) at++;
      if (at + piece.length > end) return false;
      at += piece.length;
    }
    return true;
  };
  const literal = pieces.flatMap((piece) => piece.split("?")).filter((piece) => piece !== "");
  return Object.assign(test, { ascii, pieces: literal, head: first.split("?")[0] as string });
}

function fits(text: string, at: number, piece: string): boolean {
  if (!piece.includes("?")) return text.startsWith(piece, at);
  for (let i = 0; i < piece.length; i++) if (piece[i] !== "?" && piece[i] !== text[at + i]) return false;
  return true;
}

const QUESTION = 63;

/** Whether a piece in lower case lies at a place of ASCII text. */
function lies(text: Uint8Array, at: number, piece: Uint8Array): boolean {
  for (let i = 0; i < piece.length; i++) {
    const wanted = piece[i] as number;
    if (wanted !== folded(text[at + i] as number) && wanted !== QUESTION) return false;
  }
  return true;
}
