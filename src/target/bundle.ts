import { copyFile, link, rename, rmdir, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { indexPath, MANIFEST } from "../bundle/layout.ts";
import { type BundleEntry, type Manifest, writeManifest } from "../bundle/manifest.ts";
import { type Bundle, openBundle, readManifestFrom } from "../bundle/read-bundle.ts";
import { type ContentOf, fileReader, writeBundle } from "../bundle/write-bundle.ts";
import { pathOf } from "../conda/file-url.ts";
import { asMirrorError, MirrorError, TargetError, unwritable } from "../errors.ts";
import { mergedPieces } from "../index/merge.ts";
import { conflict, type Present, settle } from "../plan/plan.ts";
import { openFile } from "../transfer/open-file.ts";
import { openPart } from "../transfer/part.ts";
import type { Received } from "../transfer/worker-messages.ts";
import { type Held, type NextBundle, nextBundle } from "./bundle-content.ts";
import { makeIncoming, removeIncoming } from "./incoming.ts";
import { noSeen } from "./seen.ts";
import type { Addition } from "./subdir-job.ts";
import type { Removals, Target } from "./target.ts";

/**
 * A channel in one file, to be carried where no network goes. What an earlier run put into the file stays in it; what the
 * channel of `since` has is not packed again. The file is written anew when all is there, and takes its name in one step.
 * @param since path of a manifest, or of the bundle with it: only the difference to it is packed.
 * @throws SourceError BAD_BUNDLE for `since`; TargetError UNWRITABLE where something else has the file's name
 */
export async function bundleTarget(text: string, since?: string): Promise<Target> {
  const file = resolve(pathOf(text, "BAD_TARGET"));
  const own = join(dirname(file), `.${basename(file)}.meso-forge-mirror`);
  const base = since === undefined ? undefined : await readManifestFrom(since);
  let version = await versionOf(file);
  const old = await openOld(file);
  const held = heldBefore(base, old);
  const byName = new Map<string, Held[]>();
  for (const one of held.values()) {
    const { fileName } = one.entry;
    byName.set(fileName, [...(byName.get(fileName) ?? []), one]);
  }
  /** Packages that came in this run: by place, where they wait. */
  const taken = new Map<string, { readonly received: Received; readonly path: string }>();
  let staging: Promise<string> | undefined;
  const stage = () => {
    staging ??= makeIncoming(own).catch((e) => {
      throw refuse(file, e);
    });
    return staging;
  };

  /** Places that packages of this run have, by what they are: the first to arrive has it. */
  const claimed = new Map<string, string>();
  let kept = 0;
  const keep = async (received: Received): Promise<void> => {
    const path = join(await stage(), `package-${kept++}`);
    // Other targets of the run may still need the staged file.
    await link(received.stagedPath, path).catch(() => copyFile(received.stagedPath, path));
    taken.set(`${received.subdir}/${received.fileName}`, { received, path });
  };

  const contentOf = (next: NextBundle): ContentOf => {
    const read = fileReader();
    return (path) => {
      if (path === MANIFEST) return [writeManifest(next.manifest)];
      const came = taken.get(path);
      if (came) return read(came.path, { start: 0, size: came.received.size });
      for (const [subdir, { index, change }] of next.indexes)
        if (path === indexPath(subdir)) return mergedPieces(index, change);
      const member = old?.members.get(path);
      return member ? read(file, member) : [];
    };
  };

  return {
    where: file,
    bundle: true,
    seen: noSeen,
    *held() {
      for (const { entry } of held.values()) yield entry;
    },
    async present(offers) {
      const found = new Map<string, Present[]>();
      for (const { fileName } of offers) {
        const there = byName.get(fileName);
        if (there) found.set(fileName, there.map(presentOf));
      }
      return found;
    },
    placeOf(subdir, fileName) {
      const member = old?.members.get(`${subdir}/${fileName}`);
      if (!member) return undefined;
      const part = { start: member.start, length: member.size };
      const origin = `${file}: ${member.path}`;
      return { origin, address: { path: file, part }, open: openPart(openFile(file), part, origin) };
    },
    staging: stage,
    async take(received, present, { onConflict, origin }) {
      const { fileName, subdir, sha256, record, v3, runExports } = received;
      const addition: Addition = { subdir, fileName, record, sha256, v3, runExports };
      const earlier = claimed.get(`${subdir}/${fileName}`);
      if (earlier === sha256) return { outcome: "kept" };
      if (earlier !== undefined) throw conflict(fileName, { subdir, recorded: { sha256: earlier } }, origin, sha256);
      claimed.set(`${subdir}/${fileName}`, sha256);
      const there = present.find((p) => p.subdir === subdir);
      const decision = settle(received, there, onConflict, origin);
      if (decision === "keep") return { outcome: "kept" };
      if (decision === "skip") return { outcome: "skipped" };
      await keep(received);
      return { outcome: decision === "add" ? "added" : "replaced", addition };
    },
    async publish(additions, { warn }, removals) {
      try {
        const next = await nextBundle({
          base,
          old,
          held,
          additions,
          taken: new Map([...taken].map(([p, t]) => [p, t.received])),
          gone: placesIn(removals),
        });
        for (const path of next.dropped)
          warn(
            `${path} was left out: its bytes are in none of the files at hand; name the manifest of the bundle that has them with --since-manifest`,
          );
        const bytes = writeManifest(next.manifest);
        const changed = !old || Buffer.compare(bytes, writeManifest(old.manifest)) !== 0;
        if (changed) {
          const temporary = join(await stage(), "bundle");
          await writeBundle(temporary, next.manifest, contentOf(next));
          // What another run put there since is not in ours.
          if ((await versionOf(file)) !== version) throw overtaken(file);
          await rename(temporary, file);
          version = await versionOf(file);
        }
        const beside = manifestPath(file);
        if (changed || !(await stat(beside).catch(() => undefined))) {
          const temporary = join(await stage(), "manifest");
          await writeFile(temporary, bytes);
          await rename(temporary, beside);
        }
        return next.subdirs.map(({ subdir, records, version }) => ({
          subdir,
          records,
          version,
          written: changed ? [file] : [],
        }));
      } catch (e) {
        throw e instanceof MirrorError ? e : refuse(file, e);
      }
    },
    async close() {
      if (!staging) return;
      await removeIncoming(staging);
      staging = undefined;
      await rmdir(own).catch(() => undefined);
    },
  };
}

/** Where the manifest of a bundle is kept for the next one. */
function manifestPath(file: string): string {
  return file.replace(/\.tar$/i, "").concat(".manifest.json");
}

/** Changes when another file takes the name; undefined where there is none. */
async function versionOf(file: string): Promise<string | undefined> {
  const s = await stat(file).catch(() => undefined);
  return s && `${s.size}-${s.mtimeMs}-${s.ino}`;
}

function overtaken(file: string): TargetError {
  return new TargetError("LOST_RACE", {
    what: `${file}: the bundle was not written`,
    why: "another run wrote it while this one was at it",
    next: "nothing of the other run was lost; run again to add to what it made",
  });
}

async function openOld(file: string): Promise<Bundle | undefined> {
  const found = await stat(file).catch(() => undefined);
  if (!found) return undefined;
  try {
    return await openBundle(file);
  } catch (e) {
    const why = asMirrorError(e, file).why;
    throw new TargetError("UNWRITABLE", {
      what: `${file}: the bundle can't be written`,
      why: `what has that name is no bundle that could be added to (${why})`,
      next: "choose another --target-path, or remove the file",
      cause: e,
    });
  }
}

/** What the channel of the bundle has before this run: what the manifest to start from tells, and what lies in the file. */
function heldBefore(base: Manifest | undefined, old: Bundle | undefined): ReadonlyMap<string, Held> {
  const held = new Map<string, Held>();
  for (const [path, entry] of base?.entries ?? []) held.set(path, { entry, at: "base" });
  for (const [path, entry] of old?.manifest.entries ?? []) {
    const known = held.get(path)?.entry;
    if (entry.here && known?.sha256 !== entry.sha256) held.set(path, { entry, at: "old" });
    else if (known?.sha256 === entry.sha256) held.set(path, { entry: { ...known, record: entry.record }, at: "base" });
  }
  return held;
}

function placesIn(removals: Removals | undefined): ReadonlySet<string> {
  const places = new Set<string>();
  for (const [subdir, { remove = [], takenBack = [] }] of removals ?? [])
    for (const fileName of [...remove, ...takenBack]) places.add(`${subdir}/${fileName}`);
  return places;
}

function presentOf({ entry }: { readonly entry: BundleEntry }): Present {
  const { subdir, fileName, sha256, md5, size } = entry;
  return { subdir, fileName, recorded: { sha256, md5, size }, fileSize: size };
}

function refuse(file: string, e: unknown): TargetError {
  return unwritable(`${file}: the bundle can't be written`, e, "choose another --target-path");
}
