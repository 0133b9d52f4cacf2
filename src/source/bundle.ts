import { hash } from "node:crypto";
import { badBundle } from "../bundle/bad-bundle.ts";
import { type Bundle, openBundle, readBundleIndex, verifyBundle } from "../bundle/read-bundle.ts";
import { pathOf } from "../conda/file-url.ts";
import { SourceError } from "../errors.ts";
import { findRecord, lookUp, mapOf, type Repodata, readRepodata } from "../index/repodata.ts";
import { openFile } from "../transfer/open-file.ts";
import { openPart } from "../transfer/part.ts";
import type { Place } from "../transfer/place.ts";
import type { PackageRef, Source } from "./source.ts";

/**
 * The channel that a bundle brings about. It is read from end to end and every hash compared before anything is offered.
 * What an earlier bundle brought is on offer too, so that the target is compared with the whole channel; its bytes can
 * only be those that the target has.
 */
export function bundleSource(text: string): Source {
  const file = pathOf(text);
  return {
    what: file,
    async *packages(signal) {
      const bundle = await openBundle(file);
      await verifyBundle(bundle, signal);
      let subdir: string | undefined;
      let recordOf: (fileName: string) => Pick<PackageRef, "record" | "v3"> | undefined = () => undefined;
      for (const entry of bundle.manifest.entries.values()) {
        if (entry.subdir !== subdir) {
          subdir = entry.subdir;
          recordOf = await recordsOf(bundle, subdir);
        }
        const { fileName, size, sha256, md5, here } = entry;
        const carried = recordOf(fileName);
        if (carried?.record && hash("sha256", carried.record) !== entry.record)
          throw badBundle(file, `${subdir}/${fileName} has another record than its manifest says`);
        if (here && !carried?.record) throw badBundle(file, `it has no record of ${subdir}/${fileName}`);
        const known = { fileName, subdir, size, sha256, md5, key: `bundle:${sha256}` };
        yield {
          ...placeIn(bundle, `${subdir}/${fileName}`),
          ...known,
          ...(carried ? { ...carried, current: true } : {}),
        };
      }
    },
  };
}

async function recordsOf(bundle: Bundle, subdir: string) {
  const bytes = await readBundleIndex(bundle, subdir);
  if (!bytes) return () => undefined;
  let index: Repodata;
  try {
    index = readRepodata(bytes);
  } catch (e) {
    throw badBundle(bundle.file, `the index of ${subdir} can't be read: ${(e as Error).message}`, e);
  }
  return (fileName: string) => {
    const v3 = lookUp(index, mapOf(fileName, true), fileName);
    const record = v3 ?? findRecord(index, fileName);
    return record && { record: Uint8Array.from(record), v3: v3 !== undefined };
  };
}

function placeIn({ file, members, manifest }: Bundle, path: string): Place {
  const member = members.get(path);
  const origin = `${file}: ${path}`;
  if (!member) {
    return {
      origin,
      open: async () => {
        throw new SourceError("NOT_FOUND", {
          what: `${path}: not in this bundle`,
          why: `${file} holds what changed since the manifest ${manifest.since?.slice(0, 12)}…, and the target lacks what was there before`,
          next: "apply the bundles that were made before this one first, or make a full one",
        });
      },
    };
  }
  const part = { start: member.start, length: member.size };
  return { origin, address: { path: file, part }, open: openPart(openFile(file), part, origin) };
}
