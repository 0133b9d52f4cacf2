import { isDeepStrictEqual } from "node:util";
import { infoValue } from "../index/index-info.ts";
import { keyAt, nth, RECORD_MAPS, type Repodata, SPAN } from "../index/repodata.ts";

/** Members that are hashes: text in one form of an index, raw bytes in another. */
const HASHES = ["md5", "sha256", "legacy_bz2_md5", "attestations_sha256"];

/** Whether two records say the same, however they are written. */
export function sameRecord(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0 || isDeepStrictEqual(said(a), said(b));
}

/** The same for one of current_repodata.json, where writers add the MD5 of the `.tar.bz2` of the same build, or null. */
export function sameCurrent(listed: Uint8Array, current: Uint8Array): boolean {
  if (Buffer.compare(listed, current) === 0) return true;
  const [a, b] = [said(listed), said(current)];
  if (!("legacy_bz2_md5" in a)) delete b["legacy_bz2_md5"];
  return isDeepStrictEqual(a, b);
}

function said(record: Uint8Array): Record<string, unknown> {
  const fields = JSON.parse(Buffer.from(record.buffer, record.byteOffset, record.length).toString("utf8"));
  for (const key of HASHES) if (typeof fields[key] === "string") fields[key] = fields[key].toLowerCase();
  return fields as Record<string, unknown>;
}

/** Whether two indexes say the same; in words what the first difference is. */
export function difference(a: Repodata, b: Repodata): string | undefined {
  for (const map of RECORD_MAPS) {
    const [left, right] = [a.maps[map], b.maps[map]];
    if (left.count !== right.count) return `it has ${right.count} records in ${map}, repodata.json ${left.count}`;
    for (let i = 0; i < left.count; i++) {
      const [x, y] = [nth(left, i), nth(right, i)];
      const [key, other] = [keyAt(a.bytes, left, x), keyAt(b.bytes, right, y)];
      if (key !== other) return `it has ${other} where repodata.json has ${key}`;
      const record = ({ bytes }: Repodata, spans: Uint32Array, at: number) =>
        bytes.subarray(spans[at * SPAN + 2], spans[at * SPAN + 3]);
      if (!sameRecord(record(a, left.spans, x), record(b, right.spans, y))) return `its record of ${key} is another`;
    }
  }
  if (!isDeepStrictEqual(infoValue(a), infoValue(b))) return 'its "info" is another';
  const same = isDeepStrictEqual([...new Set(a.removed)].sort(), [...new Set(b.removed)].sort());
  return same ? undefined : 'its "removed" is another';
}
