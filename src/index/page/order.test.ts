import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { naturalOrder, totalOrder } from "./order.ts";

test("the natural order knows that 1.10 comes after 1.9", () => {
  const sorted = ["", "0.9", "1", "1.0", "1.0.1", "1.0rc1", "1.9", "1.10", "1.010.1", "2!0.1", "10", "a1", "a01x"];
  assert.deepEqual([...sorted].reverse().sort(naturalOrder), sorted);
});

/** An order that throws for what is no version, as rattler's does, and calls 1.0 and 1 equal. */
function picky(a: string, b: string): number {
  for (const version of [a, b]) if (!/^\d+(\.\d+)?$/.test(version)) throw new Error(`no version: ${version}`);
  return Number(a) - Number(b);
}

test("what is no version comes before every version, and equal versions have an order", () => {
  const versions = ["1.0", "latest", "1", "0.5", "", "beta"];
  assert.deepEqual(versions.sort(totalOrder(picky)), ["", "beta", "latest", "0.5", "1", "1.0"]);
});

test("property: both are orders: of two different strings one comes first, and it is the same one in company", () => {
  const version = fc.oneof(fc.stringMatching(/^[0-9]{1,3}(\.[0-9a-z]{1,2}){0,2}$/), fc.string({ maxLength: 4 }));
  for (const order of [naturalOrder, totalOrder(picky), totalOrder(naturalOrder)]) {
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        assert.equal(Math.sign(order(a, b)), -Math.sign(order(b, a)) + 0);
        assert.equal(order(a, b) === 0, a === b);
        if (order(a, b) < 0 && order(b, c) < 0) assert.ok(order(a, c) < 0);
      }),
    );
  }
});
