import { plainRelease, type Versions } from "../conda/version.ts";
import { versionParts } from "../conda/version-prefix.ts";
import type { Rules } from "./rules.ts";

/** Versions by number, so that two are compared without looking them up by their text. */
export class VersionTable {
  readonly #versions: Versions;
  readonly #texts: string[] = [];
  /** By version: a number that has its place in the order; NaN where none has. */
  #orders = new Float64Array(64);

  constructor(versions: Versions) {
    this.#versions = versions;
  }

  /** Takes a version in; gives its number. */
  add(text: string): number {
    const version = this.#texts.push(text) - 1;
    if (version === this.#orders.length) {
      const grown = new Float64Array(version * 2);
      grown.set(this.#orders);
      this.#orders = grown;
    }
    this.#orders[version] = orderOf(plainRelease(text));
    return version;
  }

  text(version: number): string {
    return this.#texts[version] as string;
  }

  /** Negative, zero or positive, by conda's order. */
  compare(a: number, b: number): number {
    const difference = (this.#orders[a] as number) - (this.#orders[b] as number);
    return Number.isNaN(difference) ? this.#versions.compare(this.text(a), this.text(b)) : difference;
  }

  /** A version's major.minor with its epoch. */
  series(version: number): string {
    const { epoch, release } = versionParts(this.text(version));
    return `${epoch}!${(release[0] ?? ["0"]).join("")}.${(release[1] ?? ["0"]).join("")}`;
  }
}

const [MAX_FIRST, MAX_OTHER] = [2 ** 25, 2 ** 14];

/** Three numbers in the 53 bits of one: nearly all versions are no more than that, dates among them. */
function orderOf(plain: readonly number[] | undefined): number {
  if (!plain || plain.length > 3) return Number.NaN;
  const [a = 0, b = 0, c = 0] = plain;
  return a < MAX_FIRST && b < MAX_OTHER && c < MAX_OTHER ? (a * MAX_OTHER + b) * MAX_OTHER + c : Number.NaN;
}

/** So many of the newest versions of one name, or of each of its major.minor; equal ones (`1.0`, `1.0.0`) count as one. */
export class Newest {
  readonly #count: number;
  readonly #table: VersionTable;
  /** The newest, newest first, one of those that are equal. */
  readonly #known: number[] = [];
  readonly #series: Map<string, Newest> | undefined;
  #last = -1;

  constructor({ count, per }: NonNullable<Rules["latest"]>, table: VersionTable) {
    this.#count = count;
    this.#table = table;
    this.#series = per === "minor" ? new Map() : undefined;
  }

  add(version: number): void {
    if (version === this.#last) return;
    this.#last = version;
    if (this.#series) {
      const series = this.#table.series(version);
      const known = this.#series.get(series) ?? new Newest({ count: this.#count, per: "name" }, this.#table);
      this.#series.set(series, known);
      known.add(version);
      return;
    }
    const known = this.#known;
    let at = known.length;
    for (; at > 0; at--) {
      const order = this.#table.compare(version, known[at - 1] as number);
      if (order === 0) return;
      if (order < 0) break;
    }
    if (at === this.#count) return;
    if (known.length === this.#count) known.pop();
    known.splice(at, 0, version);
  }

  /** Whether a version is among the newest of those that were added. */
  has(version: number): boolean {
    if (this.#series) return this.#series.get(this.#table.series(version))?.has(version) === true;
    const oldest = this.#known.at(-1);
    return oldest !== undefined && this.#table.compare(version, oldest) >= 0;
  }
}

/** The versions among the newest; all where rules don't ask for those. */
export function newestVersions(all: Iterable<string>, { latest, versions }: Rules): Set<string> {
  const distinct = new Set(all);
  if (!latest) return distinct;
  const table = new VersionTable(versions);
  const newest = new Newest(latest, table);
  const numbers = [...distinct].map((text) => table.add(text));
  for (const version of numbers) newest.add(version);
  return new Set(numbers.filter((version) => newest.has(version)).map((version) => table.text(version)));
}
