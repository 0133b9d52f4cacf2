import { isPackageName } from "../conda/file-name.ts";
import { decompressBz2, decompressIndex } from "../index/compress.ts";
import { infoValue, liesElsewhere } from "../index/index-info.ts";
import { malformedRemoved } from "../index/merge.ts";
import { type Repodata, readRepodata } from "../index/repodata.ts";
import { filesLeaving, openIndexState } from "../target/index-state.ts";
import type { Store } from "../target/store.ts";
import { SHARD_INDEX } from "../target/subdir-job.ts";
import { finding, words } from "./audit.ts";
import type { Finding } from "./finding.ts";

/** A subdir's index as it is at one moment. */
export interface View {
  readonly subdir: string;
  /** Undefined where there is none, or none that can be read. */
  readonly index: Repodata | undefined;
  /** The version of `repodata.json`; undefined when there is none. */
  readonly version: string | undefined;
  /** What is wrong with the index itself. */
  readonly findings: readonly Finding[];
  /** Whether packages lie elsewhere, by what the index says (CEP 15). */
  readonly elsewhere: boolean;
  /** Packages that no index lists any more: they wait for the end of their grace period, or stay for lock files. */
  readonly leaving: ReadonlySet<string>;
}

const FORMS = [
  ["repodata.json", async (bytes: Uint8Array) => bytes],
  ["repodata.json.zst", (bytes: Uint8Array) => decompressIndex(bytes)],
  ["repodata.json.bz2", (bytes: Uint8Array) => decompressBz2(bytes)],
] as const;

/** Reads a subdir's index: `repodata.json`, where that is missing its `.zst` or `.bz2`. */
export async function readView(store: Store, subdir: string, signal: AbortSignal): Promise<View> {
  const state = (await openIndexState(store)).get(subdir);
  const leaving = new Set([...filesLeaving(state).keys(), ...(state?.kept?.names ?? [])]);
  const none = { subdir, index: undefined, version: undefined, elsewhere: false, leaving };
  let missing: Finding | undefined;
  for (const [file, unpacked] of FORMS) {
    const stored = await store.get(`${subdir}/${file}`, signal);
    if (!stored) continue;
    if (file !== "repodata.json") missing = finding("INDEX_MISSING", subdir, "repodata.json", `${file} is there`);
    const version = missing ? undefined : stored.version;
    try {
      const refused = new Map<string, string>();
      const index = readRepodata(await unpacked(stored.bytes), refused);
      const elsewhere = liesElsewhere(subdir, infoValue(index)["base_url"]);
      const findings = [...(missing ? [missing] : []), ...unusable(subdir, index, refused)];
      return { ...none, index, version, elsewhere, findings };
    } catch (e) {
      const unreadable = finding("INDEX_UNREADABLE", subdir, file, words(e));
      return { ...none, version, findings: [...(missing ? [missing] : []), unreadable] };
    }
  }
  if (await store.stat(`${subdir}/${SHARD_INDEX}`, signal))
    return { ...none, findings: [finding("INDEX_MISSING", subdir, "repodata.json", "there are only shards of it")] };
  const clientsAsk =
    subdir === "noarch" ? [finding("INDEX_MISSING", subdir, "repodata.json", "CEP 26 asks for it")] : [];
  return { ...none, findings: clientsAsk };
}

/** Records and names that readers fail on, or don't agree on. */
function unusable(subdir: string, index: Repodata, refused: ReadonlyMap<string, string>): Finding[] {
  const found = [...refused].map(([fileName, why]) => finding("RECORD_UNUSABLE", subdir, fileName, why));
  for (const name of malformedRemoved(index))
    found.push(finding("REMOVED_UNUSABLE", subdir, name, "repodata.json names it"));
  return found;
}

/** Whether a record's file name may be looked for: only such a name becomes a path. */
export function isPath(fileName: string): boolean {
  return isPackageName(fileName);
}
