import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { codeLengths, MAX_LENGTH } from "./code-lengths.ts";

/** What a Huffman code of any length needs: the sum of all inner nodes. */
function leastBits(counts: readonly number[]): number {
  const weights = counts.map((c) => Math.max(c, 1)).sort((a, b) => a - b);
  let bits = 0;
  while (weights.length > 1) {
    const node = (weights.shift() as number) + (weights.shift() as number);
    bits += node;
    weights.push(node);
    weights.sort((a, b) => a - b);
  }
  return bits;
}

function lengthsOf(counts: readonly number[]): number[] {
  const lengths = new Uint8Array(258);
  codeLengths(Int32Array.from(counts), lengths);
  return [...lengths.subarray(0, counts.length)];
}

const roomOf = (lengths: readonly number[]) => lengths.reduce((sum, l) => sum + 2 ** -l, 0);
const bitsOf = (counts: readonly number[], lengths: readonly number[]) =>
  counts.reduce((sum, c, s) => sum + Math.max(c, 1) * (lengths[s] as number), 0);

test("property: codes use all the room there is, and no shorter ones exist where none is near the limit", () => {
  const counts = fc.array(fc.oneof(fc.nat(3), fc.nat(1000), fc.nat(900_000)), { minLength: 3, maxLength: 258 });
  fc.assert(
    fc.property(counts, (counts) => {
      const lengths = lengthsOf(counts);
      const longest = Math.max(...lengths);
      assert.equal(roomOf(lengths), 1);
      assert.ok(longest <= MAX_LENGTH);
      if (longest < MAX_LENGTH - 3) assert.equal(bitsOf(counts, lengths), leastBits(counts));
    }),
    { numRuns: 500 },
  );
});

test("codes that would be longer than 17 bits are made shorter, at the price of a hundredth", () => {
  const fibonacci = [1, 1];
  while (fibonacci.length < 28) fibonacci.push((fibonacci.at(-1) as number) + (fibonacci.at(-2) as number));
  const lengths = lengthsOf(fibonacci);
  assert.equal(roomOf(lengths), 1);
  assert.ok(Math.max(...lengths) <= MAX_LENGTH, `${lengths}`);
  assert.ok(bitsOf(fibonacci, lengths) < 1.01 * leastBits(fibonacci), `${bitsOf(fibonacci, lengths)}`);
});
