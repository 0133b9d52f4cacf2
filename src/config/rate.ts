/** Bytes a second, as a number or with a suffix as curl has it: K, M and G are powers of 1024. */
export const RATE = /^\d{1,12}(?:\.\d{1,6})?[kKmMgG]?$/;

const UNITS: Readonly<Record<string, number>> = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** The bytes a second of a rate that `RATE` matches; 0 for a text that it doesn't. */
export function bytesPerSecond(rate: number | string): number {
  if (typeof rate === "number") return rate;
  if (!RATE.test(rate)) return 0;
  return Number.parseFloat(rate) * (UNITS[rate.at(-1)?.toLowerCase() ?? ""] ?? 1);
}
