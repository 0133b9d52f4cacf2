/** Hours in which nothing is to be fetched. */
export interface QuietHours {
  /** Days on which the window begins: 0 is Sunday. */
  readonly days: ReadonlySet<number>;
  /** Minutes of the day; an end that is not behind the start lies on the next day. */
  readonly start: number;
  readonly end: number;
  /** Undefined for the machine's own. */
  readonly timeZone: string | undefined;
}

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const DAY = 24 * 60;
const WEEK = 7 * DAY;

/** `[DAYS ]HH:MM-HH:MM[ ZONE]`, such as "22:00-06:00" or "Mon-Fri 08:00-18:00 Europe/Berlin". */
const FORM = /^(?:([A-Za-z,-]+) +)?([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)(?: +([A-Za-z][\w+/-]*))?$/;

/** What a text says; undefined where it says nothing that is understood. */
export function parseQuietHours(text: string): QuietHours | undefined {
  const match = FORM.exec(text.trim());
  if (!match) return undefined;
  const [, dayText, startHour, startMinute, endHour, endMinute, timeZone] = match;
  const days = dayText === undefined ? new Set(DAYS.keys()) : parseDays(dayText);
  const [start, end] = [Number(startHour) * 60 + Number(startMinute), Number(endHour) * 60 + Number(endMinute)];
  if (!days || start >= DAY || end > DAY) return undefined;
  if (timeZone !== undefined && !isTimeZone(timeZone)) return undefined;
  return { days, start, end, timeZone };
}

function parseDays(text: string): Set<number> | undefined {
  const days = new Set<number>();
  for (const part of text.toLowerCase().split(",")) {
    const [first, last = first, more] = part.split("-").map((d) => DAYS.indexOf(d));
    if (first === undefined || last === undefined || first < 0 || last < 0 || more !== undefined) return undefined;
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day);
      if (day === last) break;
    }
  }
  return days;
}

function isTimeZone(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone });
    return true;
  } catch {
    return false;
  }
}

/** Whether a moment (ms since 1970) lies in any of the windows. */
export function isQuiet(windows: readonly QuietHours[], now: number): boolean {
  return windows.some((w) => beginnings(w).some((begin) => (minuteOfWeek(now, w) - begin + WEEK) % WEEK < lengthOf(w)));
}

/**
 * Milliseconds until the next window begins, by the clock on the wall: where it is set forward or back meanwhile, up to an
 * hour off. Infinity where there is none.
 */
export function untilQuiet(windows: readonly QuietHours[], now: number): number {
  const minutes = windows.flatMap((w) =>
    beginnings(w).map((begin) => (begin - minuteOfWeek(now, w) + WEEK) % WEEK || WEEK),
  );
  const least = Math.min(...minutes);
  return least === Infinity ? Infinity : least * 60_000 - (now % 60_000);
}

/** Minutes of the week at which a window begins. */
function beginnings({ days, start }: QuietHours): number[] {
  return [...days].map((day) => day * DAY + start);
}

function lengthOf({ start, end }: QuietHours): number {
  return end > start ? end - start : end - start + DAY;
}

function minuteOfWeek(now: number, { timeZone }: QuietHours): number {
  const format = new Intl.DateTimeFormat("en-GB", {
    ...(timeZone === undefined ? {} : { timeZone }),
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  const parts = new Map(format.formatToParts(now).map((p) => [p.type, p.value]));
  const day = DAYS.indexOf((parts.get("weekday") ?? "").toLowerCase());
  return day * DAY + Number(parts.get("hour")) * 60 + Number(parts.get("minute"));
}
