import type { PruneReport } from "../events.ts";
import { bytesText, secondsText } from "./render.ts";

/** The report of `prune` as the one JSON document of --json. */
export function pruneJson(report: PruneReport): string {
  return JSON.stringify(report);
}

/** What a run came to in one line; of a dry run the plan, a line a package. */
export function pruneText(report: PruneReport): string {
  const { kept, keptBytes, removed, removedBytes, freed, waiting, plan, channel } = report;
  const many = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`;
  const files = [
    ...(freed.packages > 0 ? [many(freed.packages, "package")] : []),
    ...(freed.shards > 0 ? [many(freed.shards, "shard")] : []),
    ...(freed.leftovers > 0 ? [many(freed.leftovers, "leftover file")] : []),
  ].join(", ");
  const ruled = removed + kept > 0;
  if (plan) {
    const lines = plan.map(
      (s) => `remove  ${s.subdir}/${s.fileName}  ${s.bytes === undefined ? "?" : bytesText(s.bytes)}`,
    );
    const counts = [
      ...(removed > 0 ? [`${removed} remove (${bytesText(removedBytes)})`] : []),
      ...(kept > 0 ? [`${kept} keep (${bytesText(keptBytes)})`] : []),
      ...(files === "" ? [] : [`${files} to clean up (${bytesText(freed.bytes)})`]),
    ].join(", ");
    return [...lines, `plan: ${counts || "nothing to do"}; nothing was changed`].join("\n");
  }
  const counts = [
    ...(ruled ? [`${removed} removed (${bytesText(removedBytes)}), ${kept} kept (${bytesText(keptBytes)})`] : []),
    files === "" ? "nothing freed" : `${bytesText(freed.bytes)} freed (${files})`,
    ...(waiting > 0 ? [`${many(waiting, "file")} ${waiting === 1 ? "waits" : "wait"} for the grace period`] : []),
  ].join("; ");
  return `${counts} in ${secondsText(report.milliseconds)} → ${channel}`;
}
