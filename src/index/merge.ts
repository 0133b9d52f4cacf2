import type { IndexRecord } from "./index-record.ts";
import { editsIn } from "./merge-edits.ts";
import {
  eachRecord,
  fileNameOf,
  keyAt,
  mapOf,
  nth,
  RECORD_MAPS,
  type RecordMap,
  type Repodata,
  SPAN,
} from "./repodata.ts";

/** A record on its way into an index. */
export interface NewRecord {
  /** Compact JSON of the record. */
  readonly record: Uint8Array;
  /** Whether it belongs into the v3 maps (CEP 48): then no old map may hold it. */
  readonly v3?: boolean;
}

/** What a merge does to an index. */
export interface IndexChange {
  /** Records to add or replace, by file name. */
  readonly add: ReadonlyMap<string, NewRecord>;
  /** File names whose records go. */
  readonly remove?: ReadonlySet<string>;
  /**
   * File names for `removed`: files that were taken back (CEP 36). Their records go as well, since conda and mamba do
   * not look at that list. Files that were pruned, or are not mirrored, don't belong there.
   */
  readonly takenBack?: ReadonlySet<string>;
  /** The value of `info`; what is there when absent. */
  readonly info?: Uint8Array;
}

/** What else a file has besides `info` and the maps: `run_exports.json` (CEP 12) has neither `removed` nor a version. */
export type Layout = "repodata" | "run_exports";

/** Pieces are joined to at least this much before they are handed on; longer runs go as they are. */
const CHUNK = 256 * 1024;

/**
 * The index with a change applied, as the bytes of a `repodata.json` in portions: compact, file names in code point order,
 * every record that the change does not name byte for byte as it was. Same index, same change, same bytes.
 * A portion may share memory with the index or with the next portion: use it before asking for the next.
 */
export function* mergedPieces(
  index: Repodata,
  change: IndexChange,
  layout: Layout = "repodata",
): Generator<Uint8Array> {
  const out = new Joiner();
  const others = new Map(index.others);
  yield* out.text('{"info":');
  const info = change.info ?? others.get("info") ?? Buffer.from("{}");
  yield* out.bytes(info);
  for (const map of ["packages", "packages.conda"] as const) {
    yield* out.text(`,"${map}":{`);
    yield* mergedMap(out, index, map, change);
    yield* out.text("}");
  }
  if (layout === "repodata") yield* removedAndVersion(out, index, change, info);
  for (const [key, value] of index.others) {
    if (key === "info" || key === "repodata_version") continue;
    yield* out.text(`,${JSON.stringify(key)}:`);
    yield* out.bytes(value);
  }
  yield* mergedV3(out, index, change);
  yield* out.text("}");
  yield* out.end();
}

function* removedAndVersion(
  out: Joiner,
  index: Repodata,
  change: IndexChange,
  info: Uint8Array,
): Generator<Uint8Array> {
  yield* out.text(`,"removed":${JSON.stringify(removedAfter(index, change))}`);
  // 2 says that `info.base_url` counts (CEP 15); any other number is a writer's mistake.
  yield* out.text(`,"repodata_version":${hasBaseUrl(info) ? 2 : 1}`);
}

/** Bytes that `mergedPieces` gives in all. */
export function mergedSize(index: Repodata, change: IndexChange, layout?: Layout): number {
  let size = 0;
  for (const piece of mergedPieces(index, change, layout)) size += piece.length;
  return size;
}

/** The merged index in one buffer; for small ones. */
export function mergeRepodata(index: Repodata, change: IndexChange, layout?: Layout): Buffer {
  const pieces: Uint8Array[] = [];
  for (const piece of mergedPieces(index, change, layout)) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

/** How many records the index, or some of its maps, hold once the change is applied. */
export function countMerged(
  index: Repodata,
  change: Omit<IndexChange, "info">,
  maps: readonly RecordMap[] = RECORD_MAPS,
): number {
  return maps.reduce((sum, map) => sum + index.maps[map].count + editsIn(index, map, change).more, 0);
}

/** Whether the record that an index has of a file goes, or is replaced. */
export function isGone(change: IndexChange, fileName: string): boolean {
  return change.add.has(fileName) || change.remove?.has(fileName) === true || change.takenBack?.has(fileName) === true;
}

const PACKAGE = /^.+-[^-]+-[^-]+\.(?:conda|tar\.bz2)$/s;

/** The names in `removed` once the change is applied. */
export function removedAfter(index: Repodata, change: IndexChange): string[] {
  const removed = new Set(index.removed.filter((fileName) => PACKAGE.test(fileName) && !change.add.has(fileName)));
  for (const fileName of change.takenBack ?? []) if (PACKAGE.test(fileName)) removed.add(fileName);
  return [...removed].sort();
}

/** Names in `removed` that are no package's: one of them, and rattler reads nothing of the whole index. A merge drops them. */
export function malformedRemoved(index: Repodata): string[] {
  return index.removed.filter((fileName) => !PACKAGE.test(fileName));
}

/** Keys that are no package's name: one of them, and rattler reads nothing of the whole index. */
export function malformedKeys(index: Repodata): string[] {
  const found: string[] = [];
  for (const map of RECORD_MAPS) {
    const entries = index.maps[map];
    for (let i = 0; i < entries.count; i++) {
      const fileName = fileNameOf(map, keyAt(index.bytes, entries, i));
      if (!PACKAGE.test(fileName)) found.push(fileName);
    }
  }
  return found;
}

/** The records that the index holds once the change is applied, map after map. */
export function* recordsAfter(
  index: Repodata,
  change: IndexChange,
): Generator<IndexRecord & { readonly map: RecordMap }> {
  for (const r of eachRecord(index)) if (!isGone(change, r.fileName)) yield r;
  for (const [fileName, { record, v3 }] of change.add) yield { map: mapOf(fileName, v3 === true), fileName, record };
}

function hasBaseUrl(info: Uint8Array): boolean {
  const value = JSON.parse(Buffer.from(info).toString("utf8")) as { base_url?: unknown } | null;
  return typeof value?.base_url === "string";
}

function* mergedV3(out: Joiner, index: Repodata, change: IndexChange): Generator<Uint8Array> {
  const { maps, otherV3 } = index;
  const added = [...change.add.values()].some((r) => r.v3);
  if (!added && otherV3.length === 0 && maps["v3.conda"].count === 0 && maps["v3.tar.bz2"].count === 0) return;
  yield* out.text(',"v3":{');
  let separator = "";
  for (const map of ["v3.conda", "v3.tar.bz2"] as const) {
    yield* out.text(`${separator}"${map.slice(3)}":{`);
    yield* mergedMap(out, index, map, change);
    yield* out.text("}");
    separator = ",";
  }
  for (const [key, value] of otherV3) {
    yield* out.text(`,${JSON.stringify(key)}:`);
    yield* out.bytes(value);
  }
  yield* out.text("}");
}

function* mergedMap(out: Joiner, index: Repodata, map: RecordMap, change: IndexChange): Generator<Uint8Array> {
  const { bytes } = index;
  const entries = index.maps[map];
  const { spans } = entries;
  let first = true;
  let i = 0;
  function* until(end: number): Generator<Uint8Array> {
    if (entries.dense && i < end) {
      if (!first && !out.takesComma(bytes)) yield* out.text(",");
      yield* out.span(bytes, spans[i * SPAN] as number, spans[end * SPAN - SPAN + 3] as number);
      first = false;
      i = end;
    }
    for (; i < end; i++) {
      const at = nth(entries, i) * SPAN;
      const keyEnd = spans[at + 1] as number;
      const valueStart = spans[at + 2] as number;
      const valueEnd = spans[at + 3] as number;
      if (!first && !out.takesComma(bytes)) yield* out.text(",");
      if (keyEnd + 1 === valueStart) {
        if (!out.extend(bytes, spans[at] as number, valueEnd)) yield* out.span(bytes, spans[at] as number, valueEnd);
      } else {
        yield* out.span(bytes, spans[at] as number, keyEnd);
        yield* out.text(":");
        yield* out.span(bytes, valueStart, valueEnd);
      }
      first = false;
    }
  }
  const { places, goes, comes } = editsIn(index, map, change);
  for (let n = 0; n < places.length; n++) {
    const at = places[n] as number;
    if (i < at) yield* until(at);
    if (goes[n] === 1) i++;
    const one = comes.get(n);
    if (!one) continue;
    yield* out.text(`${first ? "" : ","}${JSON.stringify(one.key)}:`);
    yield* out.bytes(one.record);
    first = false;
  }
  yield* until(entries.count);
}

/**
 * Joins pieces: neighbours in one buffer become one span, short spans are copied together, long ones handed on as they
 * are. Half a million records that stand one behind the other cost one span.
 */
class Joiner {
  #buffer = Buffer.allocUnsafe(CHUNK);
  #fill = 0;
  #from: Uint8Array | undefined;
  #start = 0;
  #end = 0;

  /** Makes the pending span longer, where the given one follows it. */
  extend(from: Uint8Array, start: number, end: number): boolean {
    if (this.#from !== from || this.#end !== start) return false;
    this.#end = end;
    return true;
  }
  /** A comma between two records of the source lies between them there as well: then it is part of the span. */
  takesComma(from: Uint8Array): boolean {
    if (this.#from !== from || from[this.#end] !== 44) return false;
    this.#end++;
    return true;
  }
  *span(from: Uint8Array, start: number, end: number): Generator<Uint8Array> {
    if (this.extend(from, start, end)) return;
    yield* this.#flushSpan();
    this.#from = from;
    this.#start = start;
    this.#end = end;
  }
  *text(text: string): Generator<Uint8Array> {
    yield* this.bytes(Buffer.from(text));
  }
  *bytes(bytes: Uint8Array): Generator<Uint8Array> {
    yield* this.#flushSpan();
    yield* this.#copy(bytes);
  }
  *end(): Generator<Uint8Array> {
    yield* this.#flushSpan();
    yield* this.#flushBuffer();
  }
  *#flushSpan(): Generator<Uint8Array> {
    if (!this.#from) return;
    const span = this.#from.subarray(this.#start, this.#end);
    this.#from = undefined;
    yield* this.#copy(span);
  }
  *#copy(bytes: Uint8Array): Generator<Uint8Array> {
    if (bytes.length > CHUNK / 4) {
      yield* this.#flushBuffer();
      yield bytes;
      return;
    }
    if (this.#fill + bytes.length > CHUNK) yield* this.#flushBuffer();
    this.#buffer.set(bytes, this.#fill);
    this.#fill += bytes.length;
  }
  *#flushBuffer(): Generator<Uint8Array> {
    if (this.#fill === 0) return;
    yield this.#buffer.subarray(0, this.#fill);
    this.#fill = 0;
  }
}
