/** A test of a text, also where the text lies as bytes. */
export interface TextTest {
  (text: string): boolean;
  /** The same of text that is ASCII, from `start` to before `end`: half a million builds are tested without making strings. */
  ascii(bytes: Uint8Array, start: number, end: number): boolean;
  /** Pieces in lower case that every text which passes holds, in lower case. */
  readonly pieces: readonly string[];
  /** What every such text, in lower case, begins with; "" where that can be anything. */
  readonly head: string;
}

/** An ASCII character in lower case. */
export function folded(byte: number): number {
  return byte >= 65 && byte <= 90 ? byte + 32 : byte;
}
