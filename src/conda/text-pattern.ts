import { linearRegex } from "./linear-regex.ts";

/**
 * A text of a MatchSpec as a test (CEP 29): `^…$` is a regular expression, what holds a `*` is a glob (`*` any text,
 * `?` one character, as rattler reads them), anything else must be equal. Case is ignored. Time is linear in the text.
 * @throws RegexError
 */
export function textPattern(pattern: string): (text: string) => boolean {
  if (isRegex(pattern)) return linearRegex(pattern);
  const lower = pattern.toLowerCase();
  if (pattern.includes("*")) return glob(lower);
  return (text) => text.toLowerCase() === lower;
}

export function isRegex(pattern: string): boolean {
  return pattern.length > 1 && pattern.startsWith("^") && pattern.endsWith("$");
}

/** The pieces between stars, each at the first place it fits: no other place could do better. */
function glob(pattern: string): (text: string) => boolean {
  const pieces = pattern.split("*");
  const first = pieces[0] as string;
  const last = pieces.at(-1) as string;
  const middle = pieces.slice(1, -1).filter((p) => p !== "");
  return (given) => {
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
}

function fits(text: string, at: number, piece: string): boolean {
  if (!piece.includes("?")) return text.startsWith(piece, at);
  for (let i = 0; i < piece.length; i++) if (piece[i] !== "?" && piece[i] !== text[at + i]) return false;
  return true;
}
