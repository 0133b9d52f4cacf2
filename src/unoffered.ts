import type { Following, Gone } from "./following.ts";
import { living } from "./lost.ts";
import type { Run } from "./run.ts";
import type { PackageRef } from "./source/source.ts";

/**
 * What goes from targets that have no index to compare with, but know what they hold (bundles): what no source offers.
 * @param others offers of sources that are no channels.
 */
export function noteUnoffered(following: Following, others: readonly PackageRef[], run: Run): void {
  if (!run.removal) return;
  const offered = new Set<string>();
  for (const refs of [others, following.refs])
    for (const { subdir, fileName } of refs) offered.add(subdir === undefined ? fileName : `${subdir}/${fileName}`);
  for (const target of living(run)) {
    if (!target.held) continue;
    const bySubdir = new Map<string, { gone: string[]; listed: number }>();
    for (const { subdir, fileName } of target.held()) {
      if (run.subdirs && !run.subdirs.includes(subdir)) continue;
      const own = bySubdir.get(subdir) ?? { gone: [], listed: 0 };
      bySubdir.set(subdir, own);
      own.listed++;
      if (!offered.has(fileName) && !offered.has(`${subdir}/${fileName}`)) own.gone.push(fileName);
    }
    const gone = [...bySubdir].map(
      ([subdir, own]): Gone => ({ subdir, ...own, takenBack: [], going: own.gone.length, listedTakenBack: 0 }),
    );
    following.gone.set(target, gone);
  }
}
