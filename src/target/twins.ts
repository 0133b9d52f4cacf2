import { formatOf } from "../conda/file-name.ts";
import type { Offer, Present } from "../plan/plan.ts";

/** Packages that stay out of a cache, which keeps a build once, since the `.conda` of the same build is on offer: clients prefer it. */
export interface Twins {
  /** Notes what is on offer. */
  note(offers: readonly Offer[]): void;
  has(fileName: string): boolean;
  /** Tells of each as if it were there, since what stands for it is, or will be; not of those whose bytes must be seen first. */
  addTo(found: Map<string, Present[]>, offers: readonly Offer[]): void;
}

export function makeTwins(): Twins {
  const twins = new Set<string>();
  return {
    note(offers) {
      const condas = new Map<string, string | undefined>();
      for (const o of offers)
        if (formatOf(o.fileName) === "conda") condas.set(o.fileName.slice(0, -".conda".length), o.subdir);
      for (const o of offers) {
        if (formatOf(o.fileName) !== "tar.bz2") continue;
        const stem = o.fileName.slice(0, -".tar.bz2".length);
        if (condas.has(stem) && condas.get(stem) === o.subdir) twins.add(o.fileName);
      }
    },
    has: (fileName) => twins.has(fileName),
    addTo(found, offers) {
      for (const { fileName, subdir, sha256, md5, size } of offers) {
        if (!twins.has(fileName) || subdir === undefined) continue;
        const recorded = Object.fromEntries(Object.entries({ sha256, md5, size }).filter(([, v]) => v !== undefined));
        found.set(fileName, [{ subdir, fileName, recorded, fileSize: undefined, unpacked: true }]);
      }
    },
  };
}
