import { randomInt } from "node:crypto";
import fc from "fast-check";

/**
 * What tests draw their samples from: the same ones each time, so that what fails was changed. `SEED=random npm test` draws others,
 * `SEED=N` those of a failure that told its seed.
 */
export const SEED = seedOf(process.env["SEED"]);

fc.configureGlobal({ seed: SEED });

function seedOf(text = "20260101"): number {
  if (text === "random") return randomInt(2 ** 31);
  if (/^\d{1,10}$/.test(text)) return Number(text) % 2 ** 31;
  throw new TypeError(`SEED=${text}: write a number or random`);
}
