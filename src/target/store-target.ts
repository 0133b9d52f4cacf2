import { isSubdir } from "../conda/file-name.ts";
import { conflict, type Present, settle } from "../plan/plan.ts";
import { publish, wishesFor } from "./channel.ts";
import { findPresent } from "./find-present.ts";
import { openFollowed } from "./followed.ts";
import { readIndex } from "./read-index.ts";
import { openSeen } from "./seen.ts";
import { PreconditionFailed, type Store } from "./store.ts";
import type { Addition } from "./subdir-job.ts";
import type { Target } from "./target.ts";

/** A store of files that we index, as a target. */
export async function storeTarget(store: Store): Promise<Target> {
  const seen = await openSeen(store);
  /** Two sources of one run may hold the same name; the first to arrive has it. */
  const claimed = new Map<string, string>();
  return {
    where: store.where,
    ...(store.folder === undefined ? {} : { folder: store.folder }),
    seen,
    placeIn: async () => store.folder ?? (await store.placer?.()),
    present: (offers, signal) => findPresent(store, new Set(offers.map((o) => o.fileName)), signal),
    placeOf: (subdir, fileName) => store.placeOf(`${subdir}/${fileName}`),
    staging: () => store.staging(),
    async take(received, present, { onConflict, origin, signal }) {
      const { fileName, subdir, sha256, md5, size, record, v3, runExports, stagedPath } = received;
      const staged = { stagedPath, facts: { sha256, md5, size } };
      const addition: Addition = { subdir, fileName, record, sha256, v3, runExports };
      const path = `${subdir}/${fileName}`;
      const earlier = claimed.get(path);
      if (earlier === sha256) return { outcome: "kept" };
      if (earlier !== undefined) throw conflict(fileName, { subdir, recorded: { sha256: earlier } }, origin, sha256);
      claimed.set(path, sha256);
      if (received.placed) return { outcome: "added", addition };
      const there = await withHash(
        present.find((p) => p.subdir === subdir),
        path,
      );
      const replacing = { outcome: "replaced", addition: { ...addition, replaceWith: staged } } as const;
      const decision = settle(received, there, onConflict, origin);
      if (decision === "keep") return { outcome: "kept" };
      if (decision === "skip") return { outcome: "skipped" };
      if (decision === "replace") return replacing;
      try {
        await store.put(path, staged, "absent", signal);
        return { outcome: "added", addition };
      } catch (e) {
        if (!(e instanceof PreconditionFailed)) throw e;
      }
      // A file that no index lists: left by a run that was killed, or just put there by another one.
      const unlisted = await store.digest(path, signal);
      if (unlisted?.sha256 === sha256) return { outcome: "added", addition: { ...addition, ensure: staged } };
      if (onConflict === "replace") return replacing;
      if (onConflict === "skip") return { outcome: "skipped" };
      throw conflict(fileName, { subdir, recorded: unlisted }, origin, sha256);
    },
    index: {
      subdirs: async (signal) => (await store.folders(signal)).filter(isSubdir),
      read: async (subdir, signal) => {
        const { index, jsonVersion } = await readIndex(store, subdir, signal);
        return { index, version: jsonVersion };
      },
      version: async (subdir, signal) => (await store.stat(`${subdir}/repodata.json`, signal))?.version,
      notices: {
        read: async () => (await store.get("notices.json"))?.bytes,
        async write(bytes) {
          if (bytes) await store.put("notices.json", bytes, "any");
          else await store.remove("notices.json");
        },
      },
      followed: await openFollowed(store),
    },
    ...(store.anyFile
      ? {
          sidecars: {
            read: async (path) => (await store.get(path))?.bytes,
            async write(path, bytes) {
              await store.put(path, bytes, "any");
            },
          },
        }
      : {}),
    async publish(additions, options, removals) {
      const published = await publish(store, wishesFor(additions, removals), options);
      await seen.save(store).catch((e: Error) => options.warn(`what was seen could not be remembered: ${e.message}`));
      return published;
    },
    close: () => store.close(),
  };

  /** Old indexes list files without hashes: then the file itself tells. */
  async function withHash(there: Present | undefined, path: string): Promise<Present | undefined> {
    const { sha256, md5 } = there?.recorded ?? {};
    if (!there?.recorded || sha256 !== undefined || md5 !== undefined || there.fileSize === undefined) return there;
    return { ...there, recorded: await store.digest(path) };
  }
}
