import type { Versions } from "../conda/version.ts";
import { type PackageFacts, TEXT_FIELDS } from "./package-facts.ts";
import { PATH_FACTS, type PathFact } from "./path-facts.ts";

/** What channeldata.json says of one package name, as it grows. */
interface Summary {
  version: string;
  timestamp: number;
  readonly text: Map<string, string | readonly string[]>;
  readonly does: Set<PathFact>;
  readonly subdirs: Set<string>;
  readonly runExports: Map<string, Readonly<Record<string, unknown>>>;
}

/**
 * The bytes of a channel's `channeldata.json` (CEP 38), made anew from every package it has: names that are gone go, where
 * conda-index keeps them for ever. Compact, keys in code point order, with a newline at the end; the order in which the
 * packages come does not matter. `timestamp` is in seconds and the newest of all, as the CEP has it; conda-index writes
 * that of the package it happened to see last.
 * @param subdirs those the channel has, with or without packages.
 */
export function channeldata(
  packages: Iterable<PackageFacts>,
  subdirs: Iterable<string>,
  versions: Versions,
): Uint8Array {
  const byName = new Map<string, PackageFacts[]>();
  for (const facts of newestBuilds(packages)) {
    const list = byName.get(facts.name);
    if (list) list.push(facts);
    else byName.set(facts.name, [facts]);
  }
  const all = new Set(subdirs);
  const pieces: Buffer[] = [Buffer.from('{"channeldata_version":1,"packages":{')];
  for (const name of [...byName.keys()].sort()) {
    const summary = summarise(byName.get(name) as PackageFacts[], versions);
    for (const subdir of summary.subdirs) all.add(subdir);
    pieces.push(Buffer.from(`${pieces.length === 1 ? "" : ","}${JSON.stringify(name)}:${written(summary)}`));
  }
  pieces.push(Buffer.from(`},"subdirs":${JSON.stringify([...all].sort())}}\n`));
  return Buffer.concat(pieces);
}

/**
 * A `channeldata.json` without the packages that no subdir lists any more, everything else as it stands there.
 * @param listing by name, in lower case: the subdirs that list it.
 * @returns undefined when the bytes are no such file.
 */
export function channeldataWithout(
  bytes: Uint8Array,
  listing: ReadonlyMap<string, readonly string[]>,
): Uint8Array | undefined {
  let value: { packages?: Record<string, { subdirs?: unknown } | null> };
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8")) as typeof value;
  } catch {
    return undefined;
  }
  if (typeof value?.packages !== "object" || value.packages === null) return undefined;
  const packages: [string, unknown][] = [];
  for (const [name, told] of Object.entries(value.packages)) {
    const there = listing.get(name.toLowerCase());
    if (!there) continue;
    const { subdirs } = told ?? {};
    const left = Array.isArray(subdirs) ? { subdirs: subdirs.filter((s) => there.includes(String(s))) } : {};
    packages.push([name, { ...told, ...left }]);
  }
  return Buffer.from(`${JSON.stringify({ ...value, packages: Object.fromEntries(packages) })}\n`);
}

/** Of each version in each subdir, only the newest file counts. */
function newestBuilds(packages: Iterable<PackageFacts>): Iterable<PackageFacts> {
  const newest = new Map<string, PackageFacts>();
  for (const facts of packages) {
    const key = `${facts.subdir}\n${facts.name}\n${facts.version}`;
    const other = newest.get(key);
    if (!other || byAge(facts, other) > 0) newest.set(key, facts);
  }
  return newest.values();
}

/** Positive when `a` is the newer build. What no time tells apart has an order all the same, or runs would differ. */
function byAge(a: PackageFacts, b: PackageFacts): number {
  return (
    a.timestamp - b.timestamp ||
    a.buildNumber - b.buildNumber ||
    byText(a.build, b.build) ||
    byText(JSON.stringify(a), JSON.stringify(b))
  );
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function summarise(list: PackageFacts[], versions: Versions): Summary {
  list.sort(
    (a, b) =>
      versions.compare(a.version, b.version) ||
      a.timestamp - b.timestamp ||
      byText(a.subdir, b.subdir) ||
      byText(a.version, b.version),
  );
  const first = list[0] as PackageFacts;
  const summary: Summary = {
    version: first.version,
    timestamp: 0,
    text: new Map(),
    does: new Set(),
    subdirs: new Set(),
    runExports: new Map(),
  };
  // From old to new, so a field is the newest package's that has it. Of packages equally new the first subdir's counts.
  let held = { version: first.version, timestamp: -1 };
  for (const facts of list) {
    const order = versions.compare(facts.version, held.version);
    const newer = order > 0 || (order === 0 && facts.timestamp > held.timestamp);
    for (const field of TEXT_FIELDS) {
      const value = facts.text[field];
      if (value !== undefined && (newer || !summary.text.has(field))) summary.text.set(field, value);
    }
    if (facts.runExports && (newer || !summary.runExports.has(facts.version)))
      summary.runExports.set(facts.version, facts.runExports);
    for (const fact of facts.does) summary.does.add(fact);
    summary.subdirs.add(facts.subdir);
    summary.timestamp = Math.max(summary.timestamp, facts.timestamp);
    if (!newer) continue;
    held = facts;
    summary.version = facts.version;
  }
  return summary;
}

function written(summary: Summary): string {
  const members = new Map<string, string>();
  for (const [field, value] of summary.text) members.set(field, JSON.stringify(value));
  for (const fact of PATH_FACTS) members.set(fact, String(summary.does.has(fact)));
  const exported = [...summary.runExports].sort(([a], [b]) => byText(a, b));
  members.set("run_exports", `{${exported.map(([v, e]) => `${JSON.stringify(v)}:${JSON.stringify(e)}`).join(",")}}`);
  members.set("subdirs", JSON.stringify([...summary.subdirs].sort()));
  members.set("timestamp", String(summary.timestamp));
  members.set("version", JSON.stringify(summary.version));
  const keys = [...members.keys()].sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${members.get(key)}`).join(",")}}`;
}
