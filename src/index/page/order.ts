/** Compares two versions as `Array.sort` wants it. */
export type CompareVersions = (a: string, b: string) => number;

/**
 * Runs of digits by their value, everything else by code unit; the shorter one first. Good enough where conda's order
 * isn't at hand; unlike that, it puts 1.0rc1 after 1.0.
 */
export function naturalOrder(a: string, b: string): number {
  const x = a.match(/\d+|\D+/g) ?? [];
  const y = b.match(/\d+|\D+/g) ?? [];
  for (let i = 0; i < x.length && i < y.length; i++) {
    const [p, q] = [x[i] as string, y[i] as string];
    if (p === q) continue;
    if (isDigit(p) && isDigit(q)) {
      const [m, n] = [p.replace(/^0+/, ""), q.replace(/^0+/, "")];
      if (m.length !== n.length) return m.length - n.length;
      if (m !== n) return m < n ? -1 : 1;
    } else return p < q ? -1 : 1;
  }
  return x.length - y.length || compareText(a, b);
}

/**
 * An order of all strings out of one that may throw for strings that are no versions: these come before every version.
 * Versions that it calls equal (1.0 and 1.0.0) are told apart by the natural order, so that pages come out the same
 * whatever the order of the records.
 */
export function totalOrder(compare: CompareVersions): CompareVersions {
  const isVersion = (version: string): boolean => {
    try {
      compare(version, version);
      return true;
    } catch {
      return false;
    }
  };
  return (a, b) => {
    if (a === b) return 0;
    try {
      return compare(a, b) || naturalOrder(a, b);
    } catch {
      return Number(isVersion(a)) - Number(isVersion(b)) || naturalOrder(a, b);
    }
  };
}

/** Code unit order. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The order of rows: by name, whatever its case. */
export function compareNames(a: string, b: string): number {
  return compareText(a.toLowerCase(), b.toLowerCase()) || compareText(a, b);
}

/**
 * Each version's place among all that a page shows: what its script sorts by, as conda's order isn't at hand there.
 */
export function ranksOf(versions: Iterable<string>, compare: CompareVersions): Map<string, number> {
  return new Map([...new Set(versions)].sort(compare).map((version, rank) => [version, rank]));
}

function isDigit(run: string): boolean {
  const c = run.charCodeAt(0);
  return c >= 48 && c <= 57;
}
