import { appendFile, readFile, rm, stat, writeFile } from "node:fs/promises";
import { EOL } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { formatOf } from "../conda/file-name.ts";
import { factsOf, type RecordFacts } from "../conda/record-facts.ts";
import { PackageError } from "../errors.ts";
import { edit } from "../index/edit-record.ts";
import { type OnConflict, type Present, sameBytes } from "../plan/plan.ts";
import type { Received } from "../transfer/worker-messages.ts";
import { openUnpackers } from "../unpack/unpackers.ts";
import { defaultPkgs } from "./conda-pkgs-place.ts";
import { openFolder } from "./folder.ts";
import type { TargetContext } from "./kinds.ts";
import { openSeen } from "./seen.ts";
import { PreconditionFailed } from "./store.ts";
import { takePlace, untilPlaced } from "./take-place.ts";
import type { Target } from "./target.ts";
import { makeTwins } from "./twins.ts";

/** What the cache says of an unpacked package. */
type Kept = RecordFacts & { readonly fn: string };

/**
 * A package cache of conda and mamba (`pkgs_dirs`): the archives, each unpacked beside it with `info/repodata_record.json` in it,
 * and `urls.txt`, which makes a folder a cache. Laid flat, where both look.
 * @param path the folder; empty for the one that conda or mamba would write to.
 */
export async function openCondaPkgs(path: string, context: TargetContext): Promise<Target> {
  const pkgs = path === "" ? await defaultPkgs(context) : resolve(path);
  const store = await openFolder(pkgs);
  const seen = await openSeen(store);
  const unpackers = openUnpackers();
  const twins = makeTwins();
  let count = 0;
  const scratch = async () => join(await store.staging(), `entry-${count++}`);

  const decide = (
    kept: Kept | undefined,
    { fileName, ...received }: Received,
    onConflict: OnConflict,
    origin: string,
  ) => {
    const same = kept && sameBytes(kept, received);
    if (kept === undefined || same === undefined) return "add";
    if (same && kept.fn === fileName) return "keep";
    if (onConflict !== "error") return onConflict;
    throw new PackageError("CONFLICT", {
      what: `${fileName}: the cache has another package in its place`,
      why: `it keeps one of each name, version and build, unpacked: ${kept.fn}, ${kept.sha256 ?? kept.md5}; ${origin} is ${received.sha256}`,
      next: "nothing was changed; choose with --on-conflict skip or --on-conflict replace",
    });
  };

  return {
    where: pkgs,
    seen,
    async present(offers) {
      twins.note(offers);
      const found = new Map<string, Present[]>();
      const names = [...new Set(offers.map((o) => o.fileName))];
      for (let i = 0; i < names.length; i += 64) {
        await Promise.all(
          names.slice(i, i + 64).map(async (fileName) => {
            const kept = await readKept(pkgs, stemOf(fileName));
            if (kept?.fn !== fileName) return;
            const file = await stat(join(pkgs, fileName)).catch(() => undefined);
            // `conda clean --tarballs` leaves what is unpacked, and conda is content with that.
            const unpacked = file ? {} : ({ unpacked: true } as const);
            const { subdir = "", ...recorded } = kept;
            found.set(fileName, [{ subdir, fileName, recorded, fileSize: file?.size, ...unpacked }]);
          }),
        );
      }
      twins.addTo(found, offers);
      return found;
    },
    placeOf: () => undefined,
    staging: () => store.staging(),
    async take(received, there, { onConflict, origin, warn, signal }) {
      const { fileName, stagedPath, subdir, record, sha256 } = received;
      const addition = { subdir, fileName, record, sha256 };
      if (twins.has(fileName)) return { outcome: "skipped" };
      const stem = stemOf(fileName);
      /** An archive that was cut does not count as being there, whatever is unpacked beside it. */
      const cut = there.some((p) => p.fileSize !== undefined && p.fileSize !== received.size);
      const early = decide(await readKept(pkgs, stem), received, onConflict, origin);
      if (early === "skip") return { outcome: "skipped" };
      if (early === "keep" && !cut) return { outcome: "kept", addition };
      const unpacked = await scratch();
      try {
        const { warnings } = await unpackers.unpack(stagedPath, fileName, unpacked, signal);
        for (const w of warnings) warn(w);
        await writeRecord(unpacked, received, urlOf(origin));
        const put = async () => {
          const decision = decide(await readKept(pkgs, stem), received, onConflict, origin);
          if (decision === "skip" || (decision === "keep" && !cut)) return decision;
          await putArchive(received, decision === "replace" || cut, onConflict, origin);
          const aside = await scratch();
          if (takePlace(unpacked, join(pkgs, stem), aside)) await rm(aside, { recursive: true, force: true });
          await appendFile(join(pkgs, "urls.txt"), `${urlOf(origin)}${EOL}`);
          return decision === "replace" ? "replace" : "add";
        };
        // Runs of ours wait for each other; conda and mamba know no lock here.
        const outcome = await store.exclusive(() => untilPlaced(put), signal);
        if (outcome === "keep") return { outcome: "kept", addition };
        if (outcome === "skip") return { outcome: "skipped" };
        return { outcome: outcome === "replace" ? "replaced" : "added", addition };
      } finally {
        await rm(unpacked, { recursive: true, force: true });
      }
    },
    async publish(_additions, { warn }) {
      await seen.save(store).catch((e: Error) => warn(`what was seen could not be remembered: ${e.message}`));
      return [];
    },
    async close() {
      await unpackers.close();
      await store.close();
    },
  };

  async function putArchive(received: Received, over: boolean, onConflict: OnConflict, origin: string): Promise<void> {
    const { fileName, stagedPath, sha256 } = received;
    try {
      await store.put(fileName, { stagedPath }, over || onConflict === "replace" ? "any" : "absent");
    } catch (e) {
      if (!(e instanceof PreconditionFailed)) throw e;
      const there = await store.digest(fileName);
      if (there?.sha256 === sha256) return;
      throw new PackageError("CONFLICT", {
        what: `${fileName}: the cache has other bytes under this name`,
        why: `${join(pkgs, fileName)} is ${there?.sha256}, ${origin} is ${sha256}`,
        next: "nothing was changed; choose with --on-conflict replace, or remove the file",
        cause: e,
      });
    }
  }
}

function stemOf(fileName: string): string {
  return fileName.slice(0, -((formatOf(fileName)?.length ?? 0) + 1));
}

/** What is unpacked under a name, by its own record; undefined where there is none, which mamba does not take either. */
async function readKept(pkgs: string, stem: string): Promise<Kept | undefined> {
  try {
    const text = await readFile(join(pkgs, stem, "info", "repodata_record.json"), "utf8");
    const value = JSON.parse(text) as Record<string, unknown>;
    return typeof value["fn"] === "string" ? { ...factsOf(value), fn: value["fn"] } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Writes `info/repodata_record.json`: the package's record, the archive's hashes and size, and where it came from (conda
 * `PackageCacheData`, mamba `package_fetcher`).
 */
async function writeRecord(folder: string, received: Received, url: string): Promise<void> {
  const { fileName, md5, sha256, size, subdir } = received;
  const channel = url.slice(0, -(basename(url).length + 1)).replace(new RegExp(`/${subdir}$`), "");
  const facts = { md5, sha256, size, subdir, fn: fileName, url, channel };
  const bytes = edit(
    received.record,
    Object.entries(facts).map(([key, value]) => ({ key, change: () => Buffer.from(JSON.stringify(value)) })),
  );
  const path = join(folder, "info", "repodata_record.json");
  // No package may bring one; if it is a link, it must not be written through.
  await rm(path, { recursive: true, force: true });
  await writeFile(path, bytes, { flag: "wx" });
}

/** An origin as a URL. Secrets were taken out of it; what stands for them goes too. */
function urlOf(origin: string): string {
  if (!/^[a-z][a-z0-9+.-]+:\/\//i.test(origin)) return pathToFileURL(resolve(origin)).href;
  return origin.replace("/t/…", "").replace(/\?…$/, "");
}
