import { formatOf } from "../../conda/file-name.ts";

declare const markup: unique symbol;

/**
 * Text that is markup already. Only this file makes it, from constants and from escaped text, so that a plain string
 * can't get into a page: the compiler refuses it.
 */
export type Html = string & { readonly [markup]: true };

/** Markup with values put in; whatever is no `Html` yet goes through `shown` or `attribute` first. */
export function html(parts: TemplateStringsArray, ...values: readonly (Html | number)[]): Html {
  let out = parts[0] as string;
  for (let i = 0; i < values.length; i++) out += `${values[i]}${parts[i + 1]}`;
  return out as Html;
}

/** Pieces of markup in a row. */
export function join(pieces: readonly Html[], between = ""): Html {
  return pieces.join(between) as Html;
}

/** Markup that is ours: the style sheet and the script. Never for anything that came from a record. */
export function trusted(constant: string): Html {
  return constant as Html;
}

const PLAIN = /^[\x20-\x7e]*$/;
// Controls, overrides of the writing direction, what has no width but hides or splits words, and what is no character.
// Joiners (U+200C, U+200D) stay: scripts and emoji need them.
const UNSEEN =
  /[\p{Cc}\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff\u{e0000}-\u{e007f}]/gu;
const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * Foreign text as markup: escaped, cut after `max` UTF-16 units with an ellipsis. Characters that can't be seen or turn
 * the writing direction become U+FFFD; text beyond ASCII stands in `<bdi>`, so that it can't reorder what is around it.
 */
export function shown(text: string, max: number): Html {
  const short = cut(text, max);
  if (PLAIN.test(short)) return escaped(short);
  return html`<bdi>${escaped(visible(short))}</bdi>`;
}

/** Foreign text as the value of a quoted attribute. */
export function attribute(text: string): Html {
  return escaped(PLAIN.test(text) ? text : visible(text));
}

function escaped(text: string): Html {
  return text.replace(/[&<>"']/g, (c) => ENTITIES[c] as string) as Html;
}

function visible(text: string): string {
  return text
    .replace(/[\t\r\n]+/g, " ")
    .toWellFormed()
    .replace(UNSEEN, "\ufffd");
}

function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  const half = /[\ud800-\udbff]/.test(text.charAt(max - 1));
  return `${text.slice(0, half ? max - 1 : max)}…`;
}

/** Longer than any file system's names. */
const MAX_FILE_NAME = 255;

/**
 * The relative link to a package file in the page's own folder; undefined for what is no package's name. Everything but
 * letters, digits and `-._~` is percent-encoded, so neither a scheme nor another folder can be spelled.
 */
export function fileLink(fileName: string): Html | undefined {
  if (fileName.length > MAX_FILE_NAME || !formatOf(fileName)) return undefined;
  const encoded = encodeURIComponent(fileName.toWellFormed());
  return encoded.replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`) as Html;
}

/** A record's home page as an attribute's value, when it is one that may be linked: http(s), no credentials, not huge. */
export function homeLink(home: string): Html | undefined {
  if (home.length > 500 || !URL.canParse(home)) return undefined;
  const url = new URL(home);
  if ((url.protocol !== "https:" && url.protocol !== "http:") || url.username || url.password) return undefined;
  return attribute(url.href);
}

/**
 * An index's `base_url` (CEP 15) as what goes before a file's name in a link; undefined for what may not be linked: an address
 * that is not http(s), or a path with more than plain names in it.
 */
export function folderLink(baseUrl: string): Html | undefined {
  const folder = baseUrl.endsWith("/") ? baseUrl : `${baseUrl}/`;
  if (/^(?:\.{1,2}\/)+(?:[\w.~-]+\/)*$/.test(folder)) return attribute(folder);
  if (folder.length > 500 || /[?#]/.test(folder)) return undefined;
  return homeLink(folder);
}

const INSTALLABLE = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/;

/** The `id` of a package's row, which other pages link to; undefined when the name is none that a package may have. */
export function rowId(name: string): Html | undefined {
  return INSTALLABLE.test(name) ? (`p-${name}` as Html) : undefined;
}

/** Bytes for people: three digits, decimal units. */
export function sizeText(bytes: number | undefined): Html {
  if (bytes === undefined || !Number.isFinite(bytes) || bytes < 0) return "" as Html;
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < 5) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${["B", "kB", "MB", "GB", "TB", "PB"][unit]}` as Html;
}

/** A whole number for people: 12,345. */
export function countText(count: number): Html {
  return String(Math.trunc(count)).replace(/\B(?=(\d{3})+$)/g, ",") as Html;
}

/** "1 file", "2,000 files". */
export function counted(count: number, one: string, many: string): Html {
  return html`${countText(count)} ${escaped(count === 1 ? one : many)}`;
}

/** Up to here a timestamp counts seconds, above it milliseconds (rattler_conda_types, conda-index). It is the end of 9999. */
const LAST_SECOND = 253_402_300_799;

/** A record's timestamp in milliseconds; undefined when it is no moment between 1970 and 9999. */
export function milliseconds(timestamp: number | undefined): number | undefined {
  if (timestamp === undefined || !(timestamp > 0)) return undefined;
  const ms = timestamp > LAST_SECOND ? timestamp : timestamp * 1000;
  return ms < (LAST_SECOND + 1) * 1000 ? Math.trunc(ms) : undefined;
}

/** The day of a moment, in UTC: 2026-11-30. */
export function dayText(ms: number | undefined): Html {
  return (ms === undefined ? "" : new Date(ms).toISOString().slice(0, 10)) as Html;
}

/** Glues pieces to chunks of about 32 KiB, so that a writer isn't called for each row. */
export function* chunks(pieces: Iterable<string>): Generator<string> {
  let held = "";
  for (const piece of pieces) {
    held += piece;
    if (held.length < 32_768) continue;
    yield held;
    held = "";
  }
  if (held) yield held;
}
