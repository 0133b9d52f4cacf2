import fc from "fast-check";

/** Any text, and texts that are put together from pieces which mean something. */
export function textsOf(pieces: readonly string[]): fc.Arbitrary<string> {
  const made = fc.array(fc.constantFrom(...pieces), { maxLength: 12 }).map((p) => p.join(""));
  return fc.oneof(fc.string(), made);
}
