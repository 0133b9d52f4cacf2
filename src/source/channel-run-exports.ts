import { membersOf } from "../conda/json-bytes.ts";
import { normaliseRunExports } from "../conda/run-exports.ts";
import { SourceError, TransferError } from "../errors.ts";
import { decompressIndex } from "../index/compress.ts";
import { infoValue } from "../index/index-info.ts";
import { letGo, letGoIndex } from "../index/let-go.ts";
import { findRecord } from "../index/repodata.ts";
import { readRunExports } from "../index/run-exports.ts";
import type { ChannelFile, ChannelPlace } from "./channel-place.ts";

/** What a subdir's `run_exports.json` (CEP 12) says. It has 100 MB at conda-forge's size: to be asked, and then let go. */
export interface FoundRunExports {
  /**
   * A package's run exports as compact JSON, `{}` for none; undefined where the file says nothing of it that can be used. Equal
   * ones are one text, since many are kept.
   */
  of(fileName: string): string | undefined;
  /** Files that were asked about and whose entries can't be used. */
  readonly unusable: readonly string[];
  letGo(): void;
}

/** As of an index: no channel's comes near. */
const MAX_BYTES = 2 * 1024 ** 3;

/** The forms in which it is asked for. */
const FILES = ["run_exports.json.zst", "run_exports.json"];

/**
 * Reads a subdir's `run_exports.json`, compressed or not; undefined when there is none. Nothing in it is parsed until it is
 * asked for.
 * @throws SourceError BAD_INDEX, TransferError
 */
export async function findChannelRunExports(
  place: ChannelPlace,
  subdir: string,
  signal: AbortSignal,
): Promise<FoundRunExports | undefined> {
  for (const file of FILES) {
    const path = `${subdir}/${file}`;
    const found = await readIfThere(place, path, signal);
    if (!found) continue;
    try {
      const bytes = file.endsWith(".zst") ? await decompressIndex(found.bytes, MAX_BYTES) : found.bytes;
      if (bytes !== found.bytes) letGo(found.bytes);
      return answering(bytes, subdir);
    } catch (e) {
      throw new SourceError("BAD_INDEX", {
        what: `${place.address.name}: ${path} can't be read`,
        why: (e as Error).message,
        next: "tell the channel's owner",
        cause: e,
      });
    }
  }
  return undefined;
}

async function readIfThere(place: ChannelPlace, path: string, signal: AbortSignal): Promise<ChannelFile | undefined> {
  try {
    const found = await place.read(path, MAX_BYTES, signal);
    return found === "unchanged" ? undefined : found;
  } catch (e) {
    // 403 is what S3 answers for a missing key where listing is not allowed.
    if (e instanceof TransferError && e.code === "REFUSED") return undefined;
    throw e;
  }
}

function answering(bytes: Uint8Array, subdir: string): FoundRunExports {
  const refused = new Map<string, string>();
  const index = readRunExports(bytes, refused);
  const told = infoValue(index)["subdir"];
  if (told !== undefined && told !== subdir) throw new Error(`it says that it is of ${JSON.stringify(told)}`);
  /** By the text of an entry: the builds of a version have the same. Undefined where it can't be used. */
  const read = new Map<string, string | undefined>();
  const unusable: string[] = [];
  return {
    unusable,
    letGo: () => letGoIndex(index),
    of(fileName) {
      const entry = refused.has(fileName) ? undefined : findRecord(index, fileName);
      if (!entry && !refused.has(fileName)) return undefined;
      let value: string | undefined;
      if (entry) {
        const text = Buffer.from(entry.buffer, entry.byteOffset, entry.length).toString("latin1");
        if (!read.has(text)) read.set(text, valueIn(entry));
        value = read.get(text);
      }
      if (value === undefined) unusable.push(fileName);
      return value;
    },
  };
}

/** What an entry says; undefined where that is no run exports. */
function valueIn(entry: Uint8Array): string | undefined {
  try {
    const member = membersOf(entry).get("run_exports");
    if (!member) return undefined;
    const { runExports, problems } = normaliseRunExports(member);
    return problems.length > 0 ? undefined : Buffer.from(runExports).toString();
  } catch {
    return undefined;
  }
}
