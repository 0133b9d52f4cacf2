import { eachMember, JsonBytesError, skipSpace, stringAt } from "../conda/json-bytes.ts";
import type { IndexRecord } from "./index-record.ts";

/** Which of the two maps of `repodata.json` a file's record stands in (CEP 36). */
export type RecordMap = "packages" | "packages.conda";

/**
 * One map of an index: where each record lies in the index's bytes. Nothing is parsed until it is asked for.
 * `order` lists the entries by file name, in code point order.
 */
interface Entries {
  count: number;
  /** Four numbers an entry: key start, key end, value start, value end. Quotes of the key included. */
  spans: Uint32Array;
  order: Uint32Array | undefined;
}

/** A channel subdir's `repodata.json`: its bytes and where things lie in them. */
export interface Repodata {
  readonly bytes: Uint8Array;
  readonly maps: Readonly<Record<RecordMap, Entries>>;
  readonly removed: readonly string[];
  /** Every top-level member but the maps and `removed`, raw, in the order found. */
  readonly others: readonly (readonly [key: string, value: Uint8Array])[];
}

/** What a merge does to an index. */
export interface IndexChange {
  /** Records to add or replace, by file name: compact JSON bytes. */
  readonly add: ReadonlyMap<string, Uint8Array>;
  /** File names whose records go. */
  readonly remove?: ReadonlySet<string>;
}

/** The map that a package file belongs to. */
export function mapOf(fileName: string): RecordMap {
  return fileName.endsWith(".conda") ? "packages.conda" : "packages";
}

/**
 * Finds the records of an index by a scan of its bytes; costs about half of what parsing costs, and makes no objects.
 * Any white space, key order and escapes; unknown top-level members are kept.
 * @throws JsonBytesError when the bytes are no JSON object, a map is no map, or a file name stands twice in one.
 */
export function readRepodata(bytes: Uint8Array): Repodata {
  const maps: Record<RecordMap, Entries> = { packages: noEntries(), "packages.conda": noEntries() };
  const others: [string, Uint8Array][] = [];
  let removed: string[] = [];
  const seen = new Set<string>();
  let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  at = eachMember(bytes, at, (keyStart, keyEnd, valueStart, valueEnd) => {
    const key = stringAt(bytes, keyStart, keyEnd);
    if (seen.has(key)) throw new JsonBytesError(`key ${JSON.stringify(key)} stands twice`, keyStart);
    seen.add(key);
    if (key === "packages" || key === "packages.conda") maps[key] = readEntries(bytes, valueStart);
    else if (key === "removed") removed = readRemoved(bytes.subarray(valueStart, valueEnd), valueStart);
    else others.push([key, bytes.subarray(valueStart, valueEnd)]);
  });
  if (skipSpace(bytes, at) !== bytes.length) throw new JsonBytesError("something follows the index", at);
  return { bytes, maps, removed, others };
}

/** The index of a subdir that has no packages. */
export function emptyRepodata(subdir: string): Repodata {
  const info = Buffer.from(JSON.stringify({ subdir }));
  return {
    bytes: new Uint8Array(0),
    maps: { packages: noEntries(), "packages.conda": noEntries() },
    removed: [],
    others: [["info", info]],
  };
}

/** How many records the index holds. */
export function countRecords(index: Repodata): number {
  return index.maps.packages.count + index.maps["packages.conda"].count;
}

/** Every record, by file name in code point order, `.tar.bz2` first. They share the index's memory: copy one to keep it. */
export function* eachRecord(index: Repodata): Generator<IndexRecord> {
  for (const map of ["packages", "packages.conda"] as const) {
    const entries = index.maps[map];
    for (const entry of orderOf(index.bytes, entries)) {
      const [start, end] = [entries.spans[entry * 4 + 2], entries.spans[entry * 4 + 3]];
      yield { fileName: keyAt(index.bytes, entries, entry), record: index.bytes.subarray(start, end) };
    }
  }
}

/** The raw record of a file, or undefined. Shares the index's memory: copy it to keep it. */
export function findRecord(index: Repodata, fileName: string): Uint8Array | undefined {
  const entries = index.maps[mapOf(fileName)];
  const order = orderOf(index.bytes, entries);
  let low = 0;
  let high = entries.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keyAt(index.bytes, entries, order[middle] as number) < fileName) low = middle + 1;
    else high = middle;
  }
  if (low === entries.count) return undefined;
  const entry = order[low] as number;
  return keyAt(index.bytes, entries, entry) === fileName
    ? index.bytes.subarray(entries.spans[entry * 4 + 2], entries.spans[entry * 4 + 3])
    : undefined;
}

/**
 * The index with a change applied, as the bytes of a `repodata.json`: compact, file names in code point order, every
 * record that the change does not name byte for byte as it was. Same index, same change, same bytes.
 * What is added leaves `removed`; what is removed is not put there: that list is for yanked files, not for pruned ones.
 */
export function mergeRepodata(index: Repodata, change: IndexChange): Uint8Array {
  const out = new Segments();
  const others = new Map(index.others);
  out.text('{"info":').bytes(others.get("info") ?? Buffer.from("{}"));
  for (const map of ["packages", "packages.conda"] as const) {
    out.text(`,"${map}":{`);
    mergeMap(out, index.bytes, index.maps[map], change, map);
    out.text("}");
  }
  const removed = index.removed.filter((fileName) => !change.add.has(fileName));
  out.text(`,"removed":${JSON.stringify(removed.sort())}`);
  out.text(',"repodata_version":').bytes(others.get("repodata_version") ?? Buffer.from("1"));
  for (const [key, value] of index.others) {
    if (key !== "info" && key !== "repodata_version") out.text(`,${JSON.stringify(key)}:`).bytes(value);
  }
  return out.text("}").join();
}

/** One map of an index with a change applied: its members without the braces. Also the shape of run_exports.json. */
export function mergeMap(
  out: Segments,
  bytes: Uint8Array,
  entries: Entries,
  change: IndexChange,
  map: RecordMap,
): void {
  const added = [...change.add.keys()].filter((fileName) => mapOf(fileName) === map).sort();
  const order = orderOf(bytes, entries);
  let next = 0;
  let first = true;
  const emitAdded = (fileName: string) => {
    out.text(`${first ? "" : ","}${JSON.stringify(fileName)}:`).bytes(change.add.get(fileName) as Uint8Array);
    first = false;
  };
  const touched = added.length > 0 || (change.remove?.size ?? 0) > 0;
  for (let i = 0; i < entries.count; i++) {
    const entry = order[i] as number;
    if (touched) {
      const key = keyAt(bytes, entries, entry);
      while (next < added.length && (added[next] as string) < key) emitAdded(added[next++] as string);
      if (next < added.length && added[next] === key) {
        emitAdded(added[next++] as string);
        continue;
      }
      if (change.remove?.has(key)) continue;
    }
    const [keyStart, keyEnd, valueStart, valueEnd] = entries.spans.subarray(entry * 4, entry * 4 + 4) as unknown as [
      number,
      number,
      number,
      number,
    ];
    if (!first) out.text(",");
    if (keyEnd + 1 === valueStart) out.span(bytes, keyStart, valueEnd);
    else out.span(bytes, keyStart, keyEnd).text(":").span(bytes, valueStart, valueEnd);
    first = false;
  }
  while (next < added.length) emitAdded(added[next++] as string);
}

/** Collects pieces of bytes, joining neighbours of the same buffer, and copies each once. */
export class Segments {
  readonly #pieces: Uint8Array[] = [];
  #total = 0;
  #from: Uint8Array | undefined;
  #start = 0;
  #end = 0;

  text(text: string): this {
    // A comma between two records of the source lies between them there as well: then it is one copy.
    if (text === "," && this.#from && this.#from[this.#end] === 44) {
      this.#end++;
      return this;
    }
    return this.bytes(Buffer.from(text));
  }
  bytes(bytes: Uint8Array): this {
    this.#flush();
    this.#pieces.push(bytes);
    this.#total += bytes.length;
    return this;
  }
  span(bytes: Uint8Array, start: number, end: number): this {
    if (this.#from === bytes && this.#end === start) this.#end = end;
    else {
      this.#flush();
      this.#from = bytes;
      this.#start = start;
      this.#end = end;
    }
    return this;
  }
  #flush(): void {
    if (!this.#from) return;
    this.#pieces.push(this.#from.subarray(this.#start, this.#end));
    this.#total += this.#end - this.#start;
    this.#from = undefined;
  }
  join(): Uint8Array {
    this.#flush();
    const out = Buffer.allocUnsafeSlow(this.#total);
    let at = 0;
    for (const piece of this.#pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }
}

function noEntries(): Entries {
  return { count: 0, spans: new Uint32Array(0), order: undefined };
}

function readEntries(bytes: Uint8Array, at: number): Entries {
  let spans = new Uint32Array(1024);
  let n = 0;
  eachMember(bytes, at, (keyStart, keyEnd, valueStart, valueEnd) => {
    if (n + 4 > spans.length) {
      const grown = new Uint32Array(spans.length * 2);
      grown.set(spans);
      spans = grown;
    }
    if (bytes[valueStart] !== 123)
      throw new JsonBytesError(`the record of ${stringAt(bytes, keyStart, keyEnd)} is no object`, valueStart);
    spans[n] = keyStart;
    spans[n + 1] = keyEnd;
    spans[n + 2] = valueStart;
    spans[n + 3] = valueEnd;
    n += 4;
  });
  const entries: Entries = { count: n / 4, spans, order: undefined };
  refuseTwins(bytes, entries);
  return entries;
}

function readRemoved(bytes: Uint8Array, at: number): string[] {
  let list: unknown;
  try {
    list = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    list = undefined;
  }
  if (!Array.isArray(list) || !list.every((f) => typeof f === "string"))
    throw new JsonBytesError('"removed" is no list of file names', at);
  return list;
}

function keyAt(bytes: Uint8Array, entries: Entries, entry: number): string {
  return stringAt(bytes, entries.spans[entry * 4] as number, entries.spans[entry * 4 + 1] as number);
}

/** Entries by file name. Indexes are nearly always written in order already; then this compares neighbours and no more. */
function orderOf(bytes: Uint8Array, entries: Entries): Uint32Array {
  if (entries.order) return entries.order;
  const order = new Uint32Array(entries.count);
  let sorted = true;
  for (let i = 0; i < order.length; i++) {
    order[i] = i;
    if (i > 0 && sorted && compareKeys(bytes, entries.spans, i - 1, i) > 0) sorted = false;
  }
  if (!sorted) order.sort((a, b) => compareKeys(bytes, entries.spans, a, b));
  entries.order = order;
  return order;
}

function refuseTwins(bytes: Uint8Array, entries: Entries): void {
  const order = orderOf(bytes, entries);
  for (let i = 1; i < order.length; i++) {
    if (compareKeys(bytes, entries.spans, order[i - 1] as number, order[i] as number) === 0) {
      throw new JsonBytesError(
        `the file name ${keyAt(bytes, entries, order[i] as number)} stands twice`,
        entries.spans[(order[i] as number) * 4] as number,
      );
    }
  }
}

/** Compares two keys; byte order of UTF-8 is code point order. Keys with escapes are decoded first. */
function compareKeys(bytes: Uint8Array, spans: Uint32Array, a: number, b: number): number {
  let i = (spans[a * 4] as number) + 1;
  let j = (spans[b * 4] as number) + 1;
  const aEnd = (spans[a * 4 + 1] as number) - 1;
  const bEnd = (spans[b * 4 + 1] as number) - 1;
  for (; i < aEnd && j < bEnd; i++, j++) {
    const x = bytes[i] as number;
    const y = bytes[j] as number;
    if (x === 92 || y === 92) {
      const left = stringAt(bytes, spans[a * 4] as number, spans[a * 4 + 1] as number);
      const right = stringAt(bytes, spans[b * 4] as number, spans[b * 4 + 1] as number);
      return Buffer.compare(Buffer.from(left), Buffer.from(right));
    }
    if (x !== y) return x - y;
  }
  return aEnd - i - (bEnd - j);
}
