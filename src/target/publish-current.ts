import { loadVersions } from "../conda/version.ts";
import { currentRepodata, recordsByName } from "../index/current-repodata.ts";
import { removedAfter } from "../index/merge.ts";
import { type SubdirJob, writeDerived } from "./subdir-job.ts";

/** Writes `current_repodata.json`, the small index of conda's classic solver, from the records that the index has now. */
export async function publishCurrent(job: SubdirJob): Promise<void> {
  const { index, change, options, subdir } = job;
  const versions = await loadVersions();
  await writeDerived(job, "current_repodata.json", () => {
    const others = index.others.filter(([key]) => key !== "info");
    const info = change.info ?? new Map(index.others).get("info") ?? Buffer.from("{}");
    const made = currentRepodata({
      records: recordsByName(index, change),
      top: { others: [["info", info], ...others], removed: removedAfter(index, change) },
      versions,
      warn: (fileName, why) => options.warn(`${subdir}/${fileName}: left out of current_repodata.json: ${why}`),
    });
    return [made];
  });
}
