import { loadVersions } from "../conda/version.ts";
import { currentRepodata, type RecordsByName } from "../index/current-repodata.ts";
import type { IndexRecord } from "../index/index-record.ts";
import { isGone, removedAfter } from "../index/merge.ts";
import { nameIn, type Place, placesByName, recordAt } from "../index/record-names.ts";
import { type SubdirJob, writeDerived } from "./subdir-job.ts";

/** Writes `current_repodata.json`, the small index of conda's classic solver, from the records that the index has now. */
export async function publishCurrent(job: SubdirJob): Promise<void> {
  const { index, change, options, subdir } = job;
  const versions = await loadVersions();
  await writeDerived(job, "current_repodata.json", () => {
    const others = index.others.filter(([key]) => key !== "info");
    const info = change.info ?? new Map(index.others).get("info") ?? Buffer.from("{}");
    const made = currentRepodata({
      records: recordsOf(job),
      top: { others: [["info", info], ...others], removed: removedAfter(index, change) },
      versions,
      warn: (fileName, why) => options.warn(`${subdir}/${fileName}: left out of current_repodata.json: ${why}`),
    });
    return [made];
  });
}

/** The records of the old maps once the job is done, looked up when they are asked for. */
function recordsOf({ index, change }: SubdirJob): RecordsByName {
  const added = new Map<string, IndexRecord[]>();
  for (const [fileName, { record, v3 }] of change.add) {
    const name = v3 ? undefined : nameIn(record);
    if (name !== undefined) added.set(name, [...(added.get(name) ?? []), { fileName, record }]);
  }
  let places: Map<string, Place[]> | undefined;
  const placesOf = () => {
    places ??= placesByName(index);
    return places;
  };
  return {
    names: () => new Set([...placesOf().keys(), ...added.keys()]),
    *of(name) {
      for (const place of placesOf().get(name) ?? []) {
        const one = recordAt(index, place);
        if (!one.map.startsWith("v3.") && !isGone(change, one.fileName)) yield one;
      }
      yield* added.get(name) ?? [];
    },
  };
}
