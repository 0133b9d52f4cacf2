import { hash } from "node:crypto";
import { join } from "node:path";
import { recordFacts } from "../conda/record-facts.ts";
import type { IndexRecord } from "../index/index-record.ts";
import type { Store } from "../target/store.ts";
import { type Audit, finding } from "./audit.ts";
import type { Finding } from "./finding.ts";
import { Outside, readInside, rootsOf } from "./inside.ts";
import { type Listing, sizeIn } from "./packages.ts";
import { isPath, type View } from "./view.ts";

/** No sidecar comes near this. */
export const MAX_SIDECAR = 4 * 1024 * 1024;

const MEMBER = Buffer.from("attestations_sha256");

/** The records that promise attestations (CEP 50). */
export function* promising(records: Iterable<IndexRecord>): Generator<IndexRecord> {
  for (const one of records) {
    const { buffer, byteOffset, length } = one.record;
    if (Buffer.from(buffer, byteOffset, length).includes(MEMBER)) yield one;
  }
}

/**
 * What is wrong with the attestations that records promise: under their hash, where they stay for ever, and under the name
 * that is written over. The hash becomes part of a path only when it is one.
 */
export async function sidecarFindings(
  { subdir, elsewhere }: View,
  records: Iterable<IndexRecord>,
  there: Listing,
  { store, quick, signal }: Audit,
): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const { fileName, record } of records) {
    const { attestations } = recordFacts(record);
    if (attestations === undefined || !isPath(fileName)) continue;
    if (typeof attestations !== "string" || !/^[0-9a-f]{64}$/.test(attestations)) {
      found.push(finding("RECORD_UNUSABLE", subdir, fileName, "its attestations_sha256 is no SHA-256"));
      continue;
    }
    for (const name of [`${fileName}.sigs.${attestations}`, `${fileName}.sigs`]) {
      const size = sizeIn(there, name);
      if (size === undefined) {
        if (!elsewhere) found.push(finding("SIDECAR_MISSING", subdir, name, `the record of ${fileName} names it`));
        continue;
      }
      if (quick) continue;
      try {
        const bytes = size <= MAX_SIDECAR ? await readSidecar(store, subdir, name, signal) : undefined;
        const got = bytes && hash("sha256", bytes, "hex");
        if (got === attestations) continue;
        const why = got === undefined ? `it has ${size} bytes` : `expected sha256 ${attestations}, got ${got}`;
        found.push(finding("SIDECAR_DAMAGED", subdir, name, why));
      } catch (e) {
        if (!(e instanceof Outside)) throw e;
        found.push(finding("SIDECAR_DAMAGED", subdir, name, e.message));
      }
    }
  }
  return found;
}

/** A sidecar as it is; undefined when there is none. @throws Outside where it is a link out of the channel */
export async function readSidecar(
  store: Store,
  subdir: string,
  name: string,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  if (store.folder !== undefined) return readInside(join(store.folder, subdir, name), rootsOf(store, subdir));
  return (await store.get(`${subdir}/${name}`, signal))?.bytes;
}
