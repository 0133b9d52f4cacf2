import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isQuiet, parseQuietHours, type QuietHours, untilQuiet } from "./quiet-hours.ts";

const windows = (...texts: string[]) => texts.map((t) => parseQuietHours(t) as QuietHours);
const at = (text: string) => Date.parse(text);

test("windows hold over midnight, on their days, and in their time zone", () => {
  const night = windows("22:00-06:00 UTC");
  const times = ["21:59", "22:00", "23:59", "00:00", "05:59", "06:00"].map((t) =>
    isQuiet(night, at(`2026-03-04T${t}:30Z`)),
  );
  assert.deepEqual(times, [false, true, true, true, true, false]);
  const weekend = windows("Fri-Sat 20:00-08:00 UTC");
  // 2026-03-06 is a Friday.
  const days = ["06T07", "06T21", "07T07", "07T09", "07T21", "08T07", "08T21", "09T07"].map((d) =>
    isQuiet(weekend, at(`2026-03-${d}:00:00Z`)),
  );
  assert.deepEqual(days, [false, true, true, false, true, true, false, false]);
  const berlin = windows("Mon,Wed 08:00-18:00 Europe/Berlin");
  // In July Berlin is two hours ahead, in January one.
  assert.deepEqual(
    [isQuiet(berlin, at("2026-07-06T06:30:00Z")), isQuiet(berlin, at("2026-01-05T06:30:00Z"))],
    [true, false],
  );
  assert.ok(isQuiet(windows("00:00-24:00 UTC"), at("2026-03-04T12:00:00Z")));
  assert.ok(!isQuiet([], 0));
});

test("what is no window is refused", () => {
  const wrong = [
    "",
    "22-6",
    "22:00",
    "25:00-06:00",
    "24:00-06:00",
    "22:00-24:30",
    "22:60-06:00",
    "Fun 22:00-06:00",
    "Mon- 22:00-06:00",
    "Mon-Tue-Wed 22:00-06:00",
    "22:00-06:00 Europe/Nowhere",
  ];
  assert.deepEqual(
    wrong.filter((t) => parseQuietHours(t) !== undefined),
    [],
  );
  fc.assert(fc.property(fc.string(), (text) => void parseQuietHours(text)));
});

test("the time until quiet hours begin is the time at which they begin, and not one minute earlier", () => {
  const two = (n: number) => String(n).padStart(2, "0");
  const day = fc.constantFrom("", "Mon ", "Tue-Thu ", "Sat,Sun ", "Fri-Mon ");
  const window = fc
    .tuple(day, fc.nat(23), fc.nat(59), fc.nat(23), fc.nat(59))
    .map(([d, h, m, h2, m2]) => `${d}${two(h)}:${two(m)}-${two(h2)}:${two(m2)} UTC`);
  fc.assert(
    fc.property(fc.array(window, { minLength: 1, maxLength: 3 }), fc.integer({ min: 0, max: 4e12 }), (texts, now) => {
      const all = windows(...texts);
      const wait = untilQuiet(all, now);
      assert.ok(wait > 0 && wait <= 7 * 24 * 60 * 60_000);
      assert.ok(isQuiet(all, now + wait), `${texts} ${new Date(now).toISOString()}`);
      if (!isQuiet(all, now)) assert.ok(!isQuiet(all, now + wait - 60_000) || wait < 60_000);
    }),
    { numRuns: 300 },
  );
  assert.equal(untilQuiet([], 0), Infinity);
});
