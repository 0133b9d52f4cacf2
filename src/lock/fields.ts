import { redactUrl } from "../transfer/redact.ts";
import { badLock } from "./bad-lock.ts";
import type { LockedPackage } from "./lock-file.ts";

/** A YAML or JSON table. Read without types: every scalar is text, so that a hash of digits stays a hash. */
export type Table = Readonly<Record<string, unknown>>;

export function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A table, or none where there is nothing. @throws SourceError BAD_LOCK */
export function tableOf(value: unknown, where: string, what: string): Table {
  if (isNothing(value)) return {};
  if (isTable(value)) return value;
  throw badLock(what, `${where} is no table`);
}

/** A list, or an empty one where there is nothing. @throws SourceError BAD_LOCK */
export function listOf(value: unknown, where: string, what: string): readonly unknown[] {
  if (isNothing(value)) return [];
  if (Array.isArray(value)) return value;
  throw badLock(what, `${where} is no list`);
}

/** A list of tables. @throws SourceError BAD_LOCK */
export function tablesOf(value: unknown, where: string, what: string): readonly Table[] {
  return listOf(value, where, what).map((one, i) => {
    if (isTable(one)) return one;
    throw badLock(what, `${where}[${i}] is no table`);
  });
}

/** Text, also of a number; undefined for null and nothing. */
export function textOf(value: unknown): string | undefined {
  if (isNothing(value) || typeof value === "object") return undefined;
  return String(value);
}

/** What YAML reads as null, when scalars are read as text. */
function isNothing(value: unknown): boolean {
  return value === undefined || value === null || value === "" || value === "~" || value === "null";
}

/**
 * Hashes and size of an entry. They bind, so that one which is malformed may not pass for none.
 * @throws SourceError BAD_LOCK
 */
export function promisesOf(
  entry: { readonly sha256?: unknown; readonly md5?: unknown; readonly size?: unknown },
  location: string,
  what: string,
): Pick<LockedPackage, "sha256" | "md5" | "size"> {
  const bad = (why: string) => badLock(what, `${redactUrl(location)}: ${why}`);
  const hex = (key: "sha256" | "md5", digits: number): string | undefined => {
    const text = textOf(entry[key])?.toLowerCase();
    if (text === undefined || (text.length === digits && /^[0-9a-f]+$/.test(text))) return text;
    throw bad(`its ${key} is not ${digits} hex digits`);
  };
  const [sha256, md5, sizeText] = [hex("sha256", 64), hex("md5", 32), textOf(entry.size)];
  if (sizeText !== undefined && !/^\d{1,15}$/.test(sizeText)) throw bad("its size is no number of bytes");
  return {
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(md5 === undefined ? {} : { md5 }),
    ...(sizeText === undefined ? {} : { size: Number(sizeText) }),
  };
}

/** The last part of a URL or path, decoded where it is percent-encoded. */
export function baseName(location: string): string {
  const path = /^[a-z][a-z0-9+.-]+:\/\//i.test(location) ? location.replace(/[?#].*$/s, "") : location;
  const last = path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}
