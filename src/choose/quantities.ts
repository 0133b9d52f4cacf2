const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  K: 1024,
  KB: 1000,
  KIB: 1024,
  M: 1024 ** 2,
  MB: 1000 ** 2,
  MIB: 1024 ** 2,
  G: 1024 ** 3,
  GB: 1000 ** 3,
  GIB: 1024 ** 3,
  T: 1024 ** 4,
  TB: 1000 ** 4,
  TIB: 1024 ** 4,
};

/** Bytes of `200MB` (10^6), `200MiB` or `200M` (2^20), `4096`; undefined when it says no size. */
export function bytesOf(text: string): number | undefined {
  const [, number, unit] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const factor = UNITS[(unit ?? "?").toUpperCase()];
  return number === undefined || factor === undefined ? undefined : Math.floor(Number(number) * factor);
}

const SPANS: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

/** Milliseconds of `3d`, `12h`, `90m`, `2w`, `45s`, and of the ISO 8601 that pixi has (`P7D`, `PT12H`); undefined for anything else. */
export function durationOf(text: string): number | undefined {
  const [, number, unit] = /^\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*$/i.exec(text) ?? [];
  if (number !== undefined) return Number(number) * (SPANS[(unit as string).toLowerCase()] as number);
  const iso = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/i.exec(text.trim());
  if (!iso || iso.slice(1).every((part) => part === undefined)) return undefined;
  const [w, d, h, m, s] = iso.slice(1).map((part) => Number(part ?? 0)) as [number, number, number, number, number];
  return (((w * 7 + d) * 24 + h) * 60 + m) * 60_000 + s * 1000;
}

/** Milliseconds since 1970 of a date (`2025-01-31`, taken as UTC) or a time with its zone; undefined for anything else. */
export function dateOf(text: string): number | undefined {
  if (!/^\d{4}-\d{2}-\d{2}(?:$|[T ]\d{2}:\d{2}.*(?:Z|[+-]\d{2}:?\d{2})$)/i.test(text.trim())) return undefined;
  const ms = Date.parse(text.trim().replace(" ", "T"));
  return Number.isNaN(ms) ? undefined : ms;
}
