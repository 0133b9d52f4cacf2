import { InvalidArgumentError } from "commander";

// What flags take, as commander's parsers: each gives the value, or tells what was expected.

/** "a,b", repeatable. */
export function list(value: string, before: string[] | undefined): string[] {
  return [
    ...(before ?? []),
    ...value
      .split(",")
      .map((s) => s.trim())
      .filter((s) => s !== ""),
  ];
}

/** One value, repeatable. */
export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

export function whole(value: string): number {
  if (!/^\d+$/.test(value)) throw new InvalidArgumentError("a whole number was expected");
  return Number(value);
}

export function positiveWhole(value: string): number {
  const number = whole(value);
  if (number === 0) throw new InvalidArgumentError("a number above 0 was expected");
  return number;
}

export function positive(value: string): number {
  const number = Number(value);
  if (!(number > 0)) throw new InvalidArgumentError("a number above 0 was expected");
  return number;
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "10m" as milliseconds; a bare number is seconds. A timer can't be set for longer than 24 days. */
export function duration(value: string): number {
  const [, number, unit = "s"] = /^(\d+(?:\.\d+)?)([smhd])?$/.exec(value) ?? [];
  const ms = Number(number) * (UNITS[unit] as number);
  if (!(ms > 0 && ms < 2 ** 31)) throw new InvalidArgumentError("a time was expected, such as 90s, 10m, 6h or 1d");
  return ms;
}
