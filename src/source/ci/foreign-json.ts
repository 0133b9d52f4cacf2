import { printable, SourceError } from "../../errors.ts";
import { isSigned, redactUrl } from "../../transfer/redact.ts";

/** An object of a service's answer. Its fields are what the service says they are only after they have been looked at. */
export type Foreign = Readonly<Record<string, unknown>>;

/** Parses a service's answer. @param what for errors: where it came from. @throws SourceError BAD_ANSWER */
export function parseAnswer(body: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString("utf8"));
  } catch (e) {
    throw badAnswer(what, `the answer is no JSON (${(e as Error).message})`);
  }
}

/** @throws SourceError BAD_ANSWER */
export function objectIn(value: unknown, what: string): Foreign {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Foreign;
  throw badAnswer(what, "the answer holds something else where an object is expected");
}

/** @throws SourceError BAD_ANSWER */
export function listIn(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw badAnswer(what, "the answer holds something else where a list is expected");
}

/** A text; undefined where there is none, or null. */
export function textOf(from: Foreign, key: string): string | undefined {
  const value = Object.hasOwn(from, key) ? from[key] : undefined;
  return typeof value === "string" ? value : undefined;
}

/** A text to be shown: without what could move the cursor or turn the writing direction. */
export function shownOf(from: Foreign, key: string): string | undefined {
  const text = textOf(from, key);
  return text === undefined ? undefined : printable(text);
}

/** A whole number of at least 0. */
export function numberOf(from: Foreign, key: string): number | undefined {
  const value = Object.hasOwn(from, key) ? from[key] : undefined;
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** A moment that is written as ISO 8601, as milliseconds since 1970. */
export function timeOf(from: Foreign, key: string): number | undefined {
  const time = Date.parse(textOf(from, key) ?? "");
  return Number.isNaN(time) ? undefined : time;
}

/** An object inside another one; an empty one where there is none. */
export function within(from: Foreign, key: string): Foreign {
  const value = Object.hasOwn(from, key) ? from[key] : undefined;
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Foreign) : {};
}

export function badAnswer(what: string, why: string): SourceError {
  return new SourceError("BAD_ANSWER", {
    what,
    why,
    next: "run again later; if it stays, check the service's address in the configuration",
  });
}

/** What a service says of something, to be told on: addresses that whoever has them may read are cut short. */
export function toldOn(from: Foreign): Foreign {
  const clean = (value: unknown): unknown => {
    if (typeof value === "string") return isSigned(value) ? redactUrl(value) : value;
    if (Array.isArray(value)) return value.map(clean);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, clean(v)]));
  };
  return clean(from) as Foreign;
}
