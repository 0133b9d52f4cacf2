import { fieldsAt, wanting } from "./choose/fields.ts";
import { dependencyName } from "./choose/rules.ts";
import { loadVersions } from "./conda/version.ts";
import { nameOf } from "./following.ts";
import { letGo } from "./index/let-go.ts";
import { placesByName, recordAt } from "./index/record-names.ts";
import { fileNameOf, keyAt, RECORD_MAPS, type Repodata, SPAN } from "./index/repodata.ts";
import { type Need, readNeed } from "./solve/need.ts";

/** A dependency that packages have which stay, on a name of which something goes. */
interface Asked {
  readonly text: string;
  readonly need: Need;
  /** Subdirs that have something for it which stays, or which goes. */
  readonly staying: Set<string>;
  readonly going: Set<string>;
}

/**
 * Counts the packages that stay and lose a dependency: something in the channel did for it, and nothing that stays does. Indexes are
 * read one after the other, twice; records are looked into where their name is asked for alone.
 * @param gone what goes, by subdir; of the others everything stays.
 */
export async function countLosing(
  subdirs: readonly string[],
  gone: ReadonlyMap<string, ReadonlySet<string>>,
  read: (subdir: string) => Promise<Repodata>,
  signal: AbortSignal,
): Promise<number> {
  const names = new Set<string>();
  for (const files of gone.values()) for (const fileName of files) names.add(nameOf(fileName));
  const stays = (subdir: string, fileName: string) => gone.get(subdir)?.has(fileName) !== true;
  const versions = await loadVersions();
  const asked = new Map<string, Asked | undefined>();
  /** By subdir: what each package asks for, none where nothing of it goes. */
  const packages = new Map<string, Asked[][]>();
  const ask = (text: string): Asked | undefined => {
    const name = dependencyName(text);
    if (name === undefined || !names.has(name)) return undefined;
    if (!asked.has(text)) {
      let need: Need | undefined;
      try {
        need = readNeed(text, versions);
      } catch {
        // No client can read it either.
      }
      asked.set(text, need && { text, need, staying: new Set(), going: new Set() });
    }
    return asked.get(text);
  };
  for (const subdir of subdirs) {
    signal.throwIfAborted();
    const index = await read(subdir);
    const all: Asked[][] = [];
    for (const depends of dependsOf(index, (fileName) => stays(subdir, fileName))) {
      const its = depends.flatMap((text) => ask(text) ?? []);
      if (its.length > 0) all.push(its);
    }
    packages.set(subdir, all);
    letGo(index.bytes);
  }
  const byName = new Map<string, Asked[]>();
  for (const one of asked.values()) if (one) byName.set(one.need.name, [...(byName.get(one.need.name) ?? []), one]);
  for (const subdir of subdirs) {
    signal.throwIfAborted();
    const index = await read(subdir);
    for (const [name, places] of placesByName(index, new Set(byName.keys())))
      for (const place of places) {
        const { fileName, record } = recordAt(index, place);
        const fields = JSON.parse(Buffer.from(record).toString("utf8")) as Record<string, unknown>;
        const into = stays(subdir, fileName) ? "staying" : "going";
        for (const one of byName.get(name) ?? [])
          if (!one[into].has(subdir) && one.need.matches(fields)) one[into].add(subdir);
      }
    letGo(index.bytes);
  }
  const platforms = subdirs.filter((s) => s !== "noarch");
  const isLost = ({ staying, going }: Asked, platform: string): boolean => {
    const has = (some: ReadonlySet<string>) => some.has(platform) || some.has("noarch");
    return has(going) && !has(staying);
  };
  let count = 0;
  for (const [subdir, all] of packages) {
    const on = subdir === "noarch" && platforms.length > 0 ? platforms : [subdir];
    for (const its of all) if (its.some((one) => on.some((platform) => isLost(one, platform)))) count++;
  }
  return count;
}

/** What the packages of an index depend on for whose names that holds. */
function* dependsOf(index: Repodata, only: (fileName: string) => boolean): Generator<string[]> {
  const { bytes, maps } = index;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const wanted = wanting(["depends"]);
  for (const map of RECORD_MAPS) {
    const entries = maps[map];
    for (let entry = 0; entry < entries.count; entry++) {
      if (!only(fileNameOf(map, keyAt(bytes, entries, entry)))) continue;
      const { depends } = fieldsAt(text, entries.spans[entry * SPAN + 2] as number, wanted);
      if (Array.isArray(depends)) yield depends.filter((one): one is string => typeof one === "string");
    }
  }
}
