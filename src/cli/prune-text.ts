import type { PruneReport } from "../events.ts";
import { bytesText, counted, secondsText } from "./render.ts";

/** The report of `prune` as the one JSON document of --json, piece by piece: a plan may be long. */
export function* pruneJson({ plan, ...report }: PruneReport): Generator<string> {
  const rest = JSON.stringify(report);
  if (!plan) {
    yield rest;
    return;
  }
  yield `${rest.slice(0, -1)},"plan":[`;
  let comma = "";
  for (const step of plan) {
    yield comma + JSON.stringify(step);
    comma = ",";
  }
  yield "]}";
}

/** What a run came to in one line; of a dry run the plan, a line a package. */
export function* pruneLines(report: PruneReport): Generator<string> {
  const { kept, keptBytes, removed, removedBytes, freed, waiting, plan, channel } = report;
  const files = [
    ...(freed.packages > 0 ? [counted(freed.packages, "package")] : []),
    ...(freed.shards > 0 ? [counted(freed.shards, "shard")] : []),
    ...(freed.leftovers > 0 ? [counted(freed.leftovers, "leftover file")] : []),
  ].join(", ");
  if (plan) {
    for (const s of plan)
      yield `remove  ${s.subdir}/${s.fileName}  ${s.bytes === undefined ? "?" : bytesText(s.bytes)}`;
    const counts = [
      ...(removed > 0 ? [`${removed} remove (${bytesText(removedBytes)})`] : []),
      ...(kept > 0 ? [`${kept} keep (${bytesText(keptBytes)})`] : []),
      ...(files === "" ? [] : [`${files} to clean up (${bytesText(freed.bytes)})`]),
    ].join(", ");
    if (report.losing)
      yield `${counted(report.losing, "package")} that would stay ${report.losing === 1 ? "loses" : "lose"} a dependency; --with-deps keeps what they need`;
    yield `plan: ${counts || "nothing to do"}; nothing was changed`;
    return;
  }
  const counts = [
    ...(removed + kept > 0
      ? [`${removed} removed (${bytesText(removedBytes)}), ${kept} kept (${bytesText(keptBytes)})`]
      : []),
    files === "" ? "nothing freed" : `${bytesText(freed.bytes)} freed (${files})`,
    ...(waiting > 0 ? [`${counted(waiting, "file")} ${waiting === 1 ? "waits" : "wait"} for the grace period`] : []),
  ].join("; ");
  yield `${counts} in ${secondsText(report.milliseconds)} → ${channel}`;
}
