import { createHash } from "node:crypto";
import type { Proven } from "../auth/prove.ts";
import { parseFileName } from "../conda/file-name.ts";
import { type RecordFacts, recordFacts } from "../conda/record-facts.ts";
import { TransferError } from "../errors.ts";
import { decompressIndex } from "../index/compress.ts";
import { findRecord, readRepodata } from "../index/repodata.ts";
import type { Present } from "../plan/plan.ts";
import type { Place } from "../transfer/place.ts";
import { readAll } from "../transfer/read-all.ts";
import { redactUrl } from "../transfer/redact.ts";
import { withRetries } from "../transfer/retry.ts";

import type { TargetContext } from "./kinds.ts";
import { retryOf } from "./service.ts";

/** What a service has, as clients of its channel see it. */
export interface ServiceIndex {
  /** What its index lists. Each subdir's index is read once. */
  listed(subdir: string, fileName: string, signal: AbortSignal): Promise<Present | undefined>;
  /**
   * What it really has: by its index as it is now if that says what is `expected`, else by the bytes of the file, since an
   * index may be late. Undefined where neither is to be had.
   */
  now(subdir: string, fileName: string, expected: string, signal: AbortSignal): Promise<Present | undefined>;
}

const MAX_INDEX = 1024 * 1024 * 1024;

type LookUp = (fileName: string) => RecordFacts | undefined;

/**
 * @param at how a file of the channel is asked for, by its path inside.
 * @param key who has to be let in, and how (`Refusals.key`).
 */
export function channelIndex(at: (path: string) => Promise<Proven>, key: string, context: TargetContext): ServiceIndex {
  const { http } = context;
  const retry = retryOf(context);
  const subdirs = new Map<string, Promise<LookUp>>();

  const placeOf = async (path: string): Promise<Place> => {
    const address = await at(path);
    return { origin: redactUrl(address.url), open: (request, s) => http.get(address, request, s) };
  };
  /** Undefined where there is none, or it is not for us to see. */
  const attempt = async <T>(path: string, take: (place: Place) => Promise<T>, signal: AbortSignal) => {
    try {
      const place = await placeOf(path);
      return await withRetries(() => take(place), { ...retry, signal });
    } catch (e) {
      if (!(e instanceof TransferError)) throw e;
      const unknown = e.code === "REFUSED" && /\b401\b/.test(e.why);
      if (e.code === "NOT_FOUND" || (e.code === "REFUSED" && !unknown)) return undefined;
      if (!unknown) throw e;
      throw new TransferError("REFUSED", { what: e.what, why: e.why, next: key, cause: e }, { mayPass: false });
    }
  };
  const read = async (subdir: string, signal: AbortSignal): Promise<LookUp> => {
    for (const suffix of [".zst", ""]) {
      const bytes = await attempt(`${subdir}/repodata.json${suffix}`, (p) => readAll(p, MAX_INDEX, signal), signal);
      if (!bytes) continue;
      const index = readRepodata(suffix === "" ? bytes : await decompressIndex(bytes));
      return (fileName) => {
        const record = findRecord(index, fileName);
        return record && recordFacts(record);
      };
    }
    return () => undefined;
  };
  const told = (subdir: string, fileName: string, facts: RecordFacts | undefined): Present | undefined =>
    facts && { subdir, fileName, recorded: facts, fileSize: facts.size ?? 0 };

  return {
    async listed(subdir, fileName, signal) {
      let looked = subdirs.get(subdir);
      if (!looked) {
        looked = read(subdir, signal);
        subdirs.set(subdir, looked);
      }
      return told(subdir, fileName, (await looked)(fileName));
    },
    async now(subdir, fileName, expected, signal) {
      parseFileName(fileName);
      const facts = (await read(subdir, signal))(fileName);
      if (facts?.sha256 === expected) return told(subdir, fileName, facts);
      const digest = await attempt(`${subdir}/${encodeURIComponent(fileName)}`, (p) => digestOf(p, signal), signal);
      return told(subdir, fileName, digest ?? facts);
    },
  };
}

async function digestOf(place: Place, signal: AbortSignal): Promise<RecordFacts | undefined> {
  const stream = await place.open({}, signal);
  if (stream === "unchanged") return undefined;
  const sha256 = createHash("sha256");
  let size = 0;
  for await (const chunk of stream.chunks) {
    sha256.update(chunk);
    size += chunk.length;
  }
  if (stream.size !== undefined && size !== stream.size) {
    throw new TransferError(
      "CUT",
      { what: place.origin, why: `the connection ended after ${size} of ${stream.size} bytes`, next: "run again" },
      { mayPass: true },
    );
  }
  return { sha256: sha256.digest("hex"), size };
}
