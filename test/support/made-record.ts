import { parseFileName } from "../../src/conda/file-name.ts";
import { readPackage } from "../../src/package/read.ts";
import { readAtBuffer } from "../../src/package/read-at.ts";
import { type FileFacts, type MadeRecord, makeRecord } from "../../src/package/record.ts";

/** Reads a package and makes its record, as a run does. @param subdir that its place names */
export async function madeRecord(
  fileName: string,
  bytes: Uint8Array,
  facts: FileFacts,
  subdir?: string,
): Promise<MadeRecord> {
  const info = await readPackage(fileName, readAtBuffer(bytes), ["info/index.json"]);
  const indexJson = info.members.get("info/index.json") as Uint8Array;
  return makeRecord(fileName, indexJson, parseFileName(fileName), facts, subdir);
}
