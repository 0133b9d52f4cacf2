import { loadVersions } from "../conda/version.ts";
import { bz2Pieces, decodedPieces, decompressBz2, decompressIndex } from "../index/compress.ts";
import { currentRepodata, recordsByName } from "../index/current-repodata.ts";
import { letGo, letGoIndex } from "../index/let-go.ts";
import { eachRecord, findRecord, lookUp, type Repodata, readRepodata } from "../index/repodata.ts";
import { RUN_EXPORTS, UNPATCHED } from "../target/ahead.ts";
import { type Audit, finding, words } from "./audit.ts";
import { difference, sameCurrent } from "./compare.ts";
import type { Finding } from "./finding.ts";
import { shardFindings } from "./shards.ts";
import type { View } from "./view.ts";

/**
 * What the other files of a subdir's index say against `repodata.json`: none has to be there, and each that is must agree. One
 * of them is in memory at a time, beside the index.
 */
export async function formFindings(view: View, audit: Audit): Promise<Finding[]> {
  const { subdir, index } = view;
  if (!index) return [];
  const found: Finding[] = [];
  const check = async (name: string, why: (bytes: Uint8Array) => Promise<string | undefined>): Promise<void> => {
    audit.signal.throwIfAborted();
    const stored = await audit.store.get(`${subdir}/${name}`, audit.signal);
    if (!stored) return;
    try {
      const differs = await why(stored.bytes);
      if (differs !== undefined) found.push(finding("FORM_DIFFERS", subdir, name, differs));
    } catch (e) {
      audit.signal.throwIfAborted();
      found.push(finding("FORM_UNREADABLE", subdir, name, words(e)));
    }
    // Its memory is given back before the next one comes.
    letGo(stored.bytes);
  };
  if (view.version !== undefined) {
    await check("repodata.json.zst", (bytes) =>
      compressed(index, used(decodedPieces(bytes)), () => decompressIndex(bytes)),
    );
    await check("repodata.json.bz2", (bytes) => compressed(index, bz2Pieces(bytes), () => decompressBz2(bytes)));
  }
  const parsed = (why: (form: Repodata) => Promise<string | undefined>) => async (bytes: Uint8Array) => {
    const form = readRepodata(bytes);
    const differs = await why(form);
    letGoIndex(form);
    return differs;
  };
  await check(
    UNPATCHED,
    parsed(async (form) => lacks(index, form)),
  );
  await check(
    RUN_EXPORTS,
    parsed(async (form) => lacks(index, form)),
  );
  await check(
    "current_repodata.json",
    parsed((form) => currentDiffers(index, form, audit.quick)),
  );
  found.push(...(await shardFindings(view, audit)));
  return found;
}

/** The same pieces; each is given back once it was looked at, or hundreds of them would wait to be collected. */
async function* used(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    yield piece;
    letGo(piece);
  }
}

/** Larger indexes that are not the same bytes count as different: two of them at once would take too much memory. */
const COMPARED = 64 * 1024 * 1024;

/** Holds a compressed form against the index, piece by piece; one of other bytes may still say the same. */
async function compressed(
  index: Repodata,
  pieces: AsyncIterable<Uint8Array>,
  whole: () => Promise<Uint8Array>,
): Promise<string | undefined> {
  let at = 0;
  let same = true;
  // To the end, since only there it shows whether it can be read.
  for await (const piece of pieces) {
    same &&= Buffer.compare(index.bytes.subarray(at, at + piece.length), piece) === 0;
    at += piece.length;
    if (at > 2 * index.bytes.length + COMPARED) return "it is much larger";
  }
  if (same && at === index.bytes.length) return undefined;
  if (index.bytes.length > COMPARED) return "its content is another";
  return difference(index, readRepodata(await whole()));
}

/** Which packages of the index have no entry in a file that has one of each. */
function lacks(index: Repodata, form: Repodata): string | undefined {
  let [count, first] = [0, ""];
  for (const { map, fileName } of eachRecord(index)) {
    if (lookUp(form, map, fileName) ?? findRecord(form, fileName)) continue;
    if (count++ === 0) first = fileName;
  }
  return count === 0 ? undefined : `it has nothing of ${count} packages, such as ${first}`;
}

/** Every record of it must be the index's, and what the classic solver is to see must be there. */
async function currentDiffers(index: Repodata, form: Repodata, quick: boolean): Promise<string | undefined> {
  for (const { fileName, record } of eachRecord(form)) {
    const listed = findRecord(index, fileName);
    if (!listed) return `it has ${fileName}, which repodata.json does not have`;
    if (!sameCurrent(listed, record)) return `its record of ${fileName} is another`;
  }
  if (quick) return undefined;
  const made = readRepodata(
    currentRepodata({
      records: recordsByName(index),
      top: { others: index.others, removed: index.removed },
      versions: await loadVersions(),
    }),
  );
  for (const { fileName } of eachRecord(made)) if (!findRecord(form, fileName)) return `it lacks ${fileName}`;
  return undefined;
}
