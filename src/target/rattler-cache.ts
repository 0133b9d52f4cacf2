import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { parseFileName } from "../conda/file-name.ts";
import { PackageError } from "../errors.ts";
import { makeFolder } from "../make-folder.ts";
import type { OnConflict, Present } from "../plan/plan.ts";
import type { Received } from "../transfer/worker-messages.ts";
import { openUnpackers } from "../unpack/unpackers.ts";
import { openArchiveFacts } from "./archive-facts.ts";
import { type CacheEntry, readEntry, writeEntryLock } from "./cache-entry.ts";
import { openCacheLock } from "./cache-lock.ts";
import { openFolder } from "./folder.ts";
import type { TargetContext } from "./kinds.ts";
import { type CachePlace, defaultPlace, placeAt } from "./rattler-cache-place.ts";
import { openSeen } from "./seen.ts";
import { takePlace, untilPlaced } from "./take-place.ts";
import type { Target } from "./target.ts";
import { makeTwins } from "./twins.ts";

/** How many entries are looked at before other work gets a turn. */
const ENTRIES_IN_A_ROW = 256;

/**
 * The package cache of rattler, pixi and all that stand on rattler: packages unpacked, with the hash of the archive beside
 * each (rattler_cache `PackageCache`). An entry is unpacked beside its place and gets its name in one step, under the lock
 * that installers hold.
 * @param path the folder of packages or a cache's root; empty for the one that pixi or rattler would use.
 */
export async function openRattlerCache(path: string, context: TargetContext): Promise<Target> {
  const place = path === "" ? await defaultPlace(context) : await placeAt(path);
  const { packages } = place;
  const tagged = path === "" || (await isNew(place.root));
  const store = await openFolder(packages);
  const [seen, archives] = await Promise.all([openSeen(store), openArchiveFacts(store)]);
  const unpackers = openUnpackers();
  const lock = openCacheLock(
    join(packages, ".cache.lock"),
    context.env,
    () => context.warn(`${packages}: waiting for an installer that uses the cache`),
    (work, signal) => store.exclusive(work, signal),
    () =>
      context.warn(
        `${packages}: neither flock, python3 nor perl is here to lock the cache with; don't replace packages in it while others install from it`,
      ),
  );
  const twins = makeTwins();
  let count = 0;
  let marked = !tagged;

  /** What is to be done about a package with this hash where the cache has `entry`. */
  const decide = (entry: CacheEntry, { fileName, sha256 }: Received, onConflict: OnConflict, origin: string) => {
    if (!entry.there || !entry.index || entry.sha256 === undefined) return "add";
    if (entry.sha256 === sha256) return "keep";
    if (onConflict !== "error") return onConflict;
    throw new PackageError("CONFLICT", {
      what: `${fileName}: the cache has another package in its place`,
      why: `it keeps one of each name, version and build: that of ${entry.sha256}, ${origin} is ${sha256}`,
      next: "nothing was changed; choose with --on-conflict skip or --on-conflict replace",
    });
  };
  const scratch = async () => join(await store.staging(), `entry-${count++}`);

  return {
    where: packages,
    seen,
    async present(offers) {
      twins.note(offers);
      const found = new Map<string, Present[]>();
      for (const [i, fileName] of [...new Set(offers.map((o) => o.fileName))].entries()) {
        if (i % ENTRIES_IN_A_ROW === 0) await setImmediate();
        const { there, sha256, index } = readEntry(packages, entryName(fileName));
        if (!there || sha256 === undefined || !index) continue;
        const recorded = { sha256, ...archives.get(sha256) };
        const subdir = index.subdir ?? "";
        found.set(fileName, [{ subdir, fileName, recorded, fileSize: undefined, unpacked: true }]);
      }
      twins.addTo(found, offers);
      return found;
    },
    placeOf: () => undefined,
    staging: () => store.staging(),
    async take(received, _there, { onConflict, origin, warn, signal }) {
      const { fileName, stagedPath, subdir, record, sha256, md5, size } = received;
      const addition = { subdir, fileName, record, sha256 };
      if (twins.has(fileName)) return { outcome: "skipped" };
      const name = entryName(fileName);
      const early = decide(readEntry(packages, name), received, onConflict, origin);
      if (early === "skip") return { outcome: "skipped" };
      archives.set(sha256, { md5, size });
      if (early === "keep") return { outcome: "kept", addition };
      const unpacked = await scratch();
      let outcome: "add" | "keep" | "skip" | "replace" | undefined;
      try {
        const { listsFiles, warnings } = await unpackers.unpack(stagedPath, fileName, unpacked, signal);
        for (const w of warnings) warn(w);
        if (!listsFiles) warn("it has no info/paths.json and no info/files: no client takes it from a cache");
        await mark(place);
        const install = () =>
          untilPlaced(async () => {
            // Another writer may have come first.
            const entry = readEntry(packages, name);
            const decision = decide(entry, received, onConflict, origin);
            if (decision !== "keep" && decision !== "skip") await putEntry(name, unpacked, entry, sha256);
            return decision;
          });
        outcome = await lock.run(install, signal);
      } finally {
        if (outcome !== "add" && outcome !== "replace") await rm(unpacked, { recursive: true, force: true });
      }
      if (outcome === "keep") return { outcome: "kept", addition };
      if (outcome === "skip") return { outcome: "skipped" };
      return { outcome: outcome === "replace" ? "replaced" : "added", addition };
    },
    async publish(_additions, { warn }) {
      const forget = (e: Error) => warn(`what was seen could not be remembered: ${e.message}`);
      await Promise.all([seen.save(store).catch(forget), archives.save(store).catch(forget)]);
      return [];
    },
    async close() {
      lock.close();
      await unpackers.close();
      await store.close();
    },
  };

  /**
   * Gives an unpacked package its name, under the lock. At no moment does a lock file name a hash that is not that of the
   * folder's content: before a folder changes, its hash is taken away.
   */
  async function putEntry(name: string, unpacked: string, entry: CacheEntry, sha256: string): Promise<void> {
    let { revision } = entry;
    if (entry.locked) writeEntryLock(packages, name, ++revision, undefined);
    const aside = await scratch();
    const had = takePlace(unpacked, join(packages, name), aside);
    writeEntryLock(packages, name, revision + 1, sha256);
    if (had) await rm(aside, { recursive: true, force: true });
  }

  /** Marks a cache of ours as one, so that backups leave it out (bford.info/cachedir). */
  async function mark({ root }: CachePlace): Promise<void> {
    if (marked) return;
    marked = true;
    const text = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of conda packages.\n";
    await makeFolder(root);
    await writeFile(join(root, "CACHEDIR.TAG"), text, { flag: "wx" }).catch((e: NodeJS.ErrnoException) => {
      if (e.code !== "EEXIST") throw e;
    });
  }
}

/** The name of a package's entry: without format, subdir or hash (rattler_cache `CacheKey`). */
function entryName(fileName: string): string {
  const { name, version, build } = parseFileName(fileName);
  return `${name.toLowerCase()}-${version}-${build}`;
}

async function isNew(folder: string): Promise<boolean> {
  const there = await readdir(folder).catch(() => []);
  return there.length === 0;
}
