import { readFile, rename, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { isSubdir } from "../conda/file-name.ts";
import { knownSubdirs } from "../conda/subdirs.ts";
import { PackageError, TransferError } from "../errors.ts";
import { makeFolder } from "../make-folder.ts";
import type { OciLayout, OciPlace } from "../oci/layout.ts";
import {
  type Blob,
  type Descriptor,
  type FoundManifest,
  MANIFEST,
  type Manifest,
  type Registry,
} from "../oci/registry.ts";
import { digestOfFile } from "../transfer/digest.ts";
import { pool } from "../transfer/pool.ts";
import type { Clock } from "../transfer/retry.ts";
import type { Unpackers } from "../unpack/unpackers.ts";
import { OWN_FOLDER } from "./folder.ts";
import { gather } from "./gather.ts";
import { makeIncoming, removeIncoming } from "./incoming.ts";
import { blobOf, bytesBlob, fileBlob } from "./oci-blob.ts";
import {
  NotRemovable,
  type Precondition,
  PreconditionFailed,
  type StagedFile,
  type Store,
  type StoredFile,
} from "./store.ts";

/** Subdirs that are looked for at the same time. */
const AT_ONCE = 16;

/** How many times as long as writing an index took is waited for another writer to show, within limits in milliseconds. */
const QUIET = 5;
const SHORTEST_QUIET_MS = 100;
const LONGEST_QUIET_MS = 5000;

const TITLE = "org.opencontainers.image.title";
const MD5 = "org.conda.md5";
const NEVER = new AbortController().signal;

export interface OciStoreOptions {
  readonly where: string;
  readonly registry: Registry;
  readonly layout: OciLayout;
  /** The channel's path in the registry. */
  readonly channel: string;
  readonly unpackers: Unpackers;
  readonly clock: Clock;
  /** For what is remembered of the channel; undefined where nothing can be. */
  readonly corner: string | undefined;
}

/** A subdir's index: one image, all forms of `repodata.json` its layers, so that they change together. */
interface IndexImage {
  /** What this run merges into. */
  readonly base: FoundManifest | undefined;
  readonly layers: Map<string, Descriptor>;
  changed: boolean;
}

/**
 * A channel in a registry, by the paths of a channel: packages are images, their index is one. Each manifest is written when
 * all that it names is there. Registries know no conditional writes: the index is looked at again right before it is written and a
 * while after, and a race that shows is run again (docs/decisions/020-oci.md).
 */
export function ociStore(options: OciStoreOptions): Store {
  const { registry, layout, channel, clock, corner } = options;
  const images = new Map<string, Promise<IndexImage>>();
  /** Both formats of a build are one image: its manifest is changed by one at a time. */
  const queues = new Map<string, Promise<unknown>>();
  let staging: Promise<string> | undefined;
  let temporaries = 0;

  const theStaging = (): Promise<string> => {
    staging ??= makeIncoming(corner ?? join(tmpdir(), `meso-forge-mirror-${process.getuid?.() ?? "user"}`));
    return staging;
  };
  const split = (path: string): [subdir: string, name: string] => {
    const slash = path.indexOf("/");
    return [path.slice(0, slash), path.slice(slash + 1)];
  };
  const ownPath = (path: string) =>
    path.startsWith(`${OWN_FOLDER}/`) && corner !== undefined
      ? join(corner, path.slice(OWN_FOLDER.length + 1))
      : undefined;
  const indexPlace = (path: string): OciPlace | undefined => {
    const [subdir, name] = split(path);
    return isSubdir(subdir) ? layout.index(channel, subdir, name) : undefined;
  };
  const packagePlace = (path: string): OciPlace | undefined => {
    const [subdir, name] = split(path);
    return isSubdir(subdir) && /\.(?:conda|tar\.bz2)$/.test(name) ? layout.package(channel, subdir, name) : undefined;
  };
  /** Undefined for a name, in an index that others wrote, that no registry can hold. */
  const heldPlace = (path: string): OciPlace | undefined => {
    try {
      return packagePlace(path);
    } catch (e) {
      if (e instanceof PackageError) return undefined;
      throw e;
    }
  };
  const imageOf = (subdir: string, signal: AbortSignal): Promise<IndexImage> => {
    let image = images.get(subdir);
    if (!image) {
      image = readImage(subdir, signal);
      images.set(subdir, image);
      image.catch(() => images.delete(subdir));
    }
    return image;
  };
  const readImage = async (subdir: string, signal: AbortSignal): Promise<IndexImage> => {
    const { repository, tag } = layout.index(channel, subdir, "repodata.json") as OciPlace;
    const base = await registry.manifest(repository, tag, signal);
    // Forms that we don't write, such as an index of shards, would tell of a state that is gone: they go when it changes.
    const known = base?.manifest.layers.filter((l) => layout.indexTypes.has(l.mediaType)) ?? [];
    return { base, layers: new Map(known.map((l) => [l.mediaType, l])), changed: false };
  };
  const packageLayer = async (path: string, signal: AbortSignal): Promise<Descriptor | undefined> => {
    const place = packagePlace(path);
    const found = place && (await registry.manifest(place.repository, place.tag, signal));
    return found?.manifest.layers.find((l) => l.mediaType === place?.mediaType);
  };
  const layerAt = async (path: string, signal: AbortSignal): Promise<Descriptor | undefined> => {
    const place = indexPlace(path);
    if (place) return (await imageOf(split(path)[0], signal)).layers.get(place.mediaType);
    return packageLayer(path, signal);
  };
  const created = (): string => {
    const iso = new Date(clock.now()).toISOString();
    return iso.slice(0, 16).replace(/[-T:]/g, ".");
  };
  const send = async (
    place: OciPlace,
    blob: Blob,
    mediaType: string,
    said: Record<string, string>,
    signal: AbortSignal,
  ) => {
    await registry.putBlob(place.repository, blob, signal);
    const annotations = { ...said, creationTime: created(), size: String(blob.size) };
    return { mediaType, digest: blob.digest, size: blob.size, annotations } satisfies Descriptor;
  };
  const manifestOf = async (place: OciPlace, layers: readonly Descriptor[], signal: AbortSignal): Promise<Manifest> => {
    const empty = bytesBlob(Buffer.from("{}"));
    await registry.putBlob(place.repository, empty, signal);
    const config = { mediaType: layout.config, digest: empty.digest, size: empty.size };
    return { schemaVersion: 2, mediaType: MANIFEST, config, layers };
  };

  const putPackage = async (
    path: string,
    place: OciPlace,
    staged: StagedFile,
    expect: Precondition,
    signal: AbortSignal,
  ) => {
    const { stagedPath } = staged;
    const facts = staged.facts ?? (await digestOfFile(stagedPath));
    const [, fileName] = split(path);
    const found = await registry.manifest(place.repository, place.tag, signal);
    const there = found?.manifest.layers.find((l) => l.mediaType === place.mediaType);
    if (expect === "absent" ? there : expect !== "any" && there?.digest !== expect.version)
      throw new PreconditionFailed(path);
    const { archive, index } = await options.unpackers.info(stagedPath, fileName, signal);
    const stem = fileName.replace(/\.conda$|\.tar\.bz2$/, "");
    const blob = fileBlob(stagedPath, facts.size, facts.sha256);
    const own = [
      await send(place, blob, place.mediaType, { [TITLE]: fileName, [MD5]: facts.md5 }, signal),
      await send(place, bytesBlob(archive), layout.infoArchive, { [TITLE]: `${stem}/info.tar.gz` }, signal),
      await send(place, bytesBlob(index), layout.infoIndex, { [TITLE]: `${stem}/info/index.json` }, signal),
    ];
    const ours = new Set(own.map((l) => l.mediaType));
    const others = found?.manifest.layers.filter((l) => !ours.has(l.mediaType)) ?? [];
    const manifest = await manifestOf(place, [...own, ...others], signal);
    await registry.putManifest(place.repository, place.tag, manifest, signal);
    return blob.digest;
  };

  /**
   * Removes a package that no index lists: its image, or where that holds the other format of the build too, what the image says
   * of it.
   */
  const removePackage = async (path: string, place: OciPlace, signal: AbortSignal): Promise<void> => {
    const found = await registry.manifest(place.repository, place.tag, signal);
    const others = found?.manifest.layers.filter((l) => l.mediaType !== place.mediaType) ?? [];
    if (!found || others.length === found.manifest.layers.length) return;
    const [subdir] = split(path);
    const { repository, tag } = layout.index(channel, subdir, "repodata.json") as OciPlace;
    // Another writer may have listed it again.
    const ours = (await imageOf(subdir, signal)).base;
    if ((await registry.manifest(repository, tag, signal))?.digest !== ours?.digest) throw lost(subdir, path);
    if (others.some((l) => layout.packageTypes.has(l.mediaType)))
      await registry.putManifest(place.repository, place.tag, { ...found.manifest, layers: others }, signal);
    try {
      await registry.removeManifest(place.repository, found.digest, signal);
    } catch (e) {
      // What may pass has been tried often enough, and says nothing of what is allowed.
      throw e instanceof TransferError && !e.mayPass ? new NotRemovable(e.why) : e;
    }
  };

  /** Each image is changed by one at a time. */
  const inTurn = <T>({ repository, tag }: OciPlace, work: () => Promise<T>): Promise<T> => {
    const key = `${repository}:${tag}`;
    const mine = (queues.get(key) ?? Promise.resolve()).then(work);
    queues.set(
      key,
      mine.catch(() => undefined),
    );
    return mine;
  };

  /** Writes the image of a subdir's index: first under the time's tag, then as the newest. */
  const commit = async (subdir: string, signal: AbortSignal): Promise<void> => {
    const image = await imageOf(subdir, signal);
    if (!image.changed) return;
    const place = layout.index(channel, subdir, "repodata.json") as OciPlace;
    const path = `${subdir}/repodata.json`;
    const manifest = await manifestOf(place, [...image.layers.values()], signal);
    await registry.putManifest(place.repository, created(), manifest, signal);
    const began = clock.now();
    const now = await registry.manifest(place.repository, place.tag, signal);
    if (now?.digest !== image.base?.digest) throw lost(subdir, path);
    const digest = await registry.putManifest(place.repository, place.tag, manifest, signal);
    // Whoever looked before we wrote writes within about the time that this took us, and then shows.
    const took = clock.now() - began;
    await clock.sleep(Math.min(LONGEST_QUIET_MS, Math.max(SHORTEST_QUIET_MS, QUIET * took)), signal);
    const written = await registry.manifest(place.repository, place.tag, signal);
    if (written?.digest !== digest) throw lost(subdir, path);
    images.set(subdir, Promise.resolve({ base: written, layers: image.layers, changed: false }));
  };
  const lost = (subdir: string, path: string) => {
    images.delete(subdir);
    return new PreconditionFailed(path);
  };

  return {
    where: options.where,
    async folders(signal = NEVER) {
      const found: string[] = [];
      const look = async (subdir: string) => {
        if ((await imageOf(subdir, signal)).base) found.push(subdir);
      };
      for await (const _ of pool(knownSubdirs(), AT_ONCE, look, signal));
      return found.sort();
    },
    async stat(path, signal = NEVER) {
      const layer = await layerAt(path, signal);
      return layer && { path, size: layer.size, version: layer.digest };
    },
    async find(folder, fileNames, signal = NEVER) {
      const there = new Map<string, StoredFile>();
      const look = async (fileName: string) => {
        const path = `${folder}/${fileName}`;
        const layer = heldPlace(path) && (await packageLayer(path, signal));
        if (layer) there.set(fileName, { path, size: layer.size, version: layer.digest });
      };
      for await (const _ of pool(fileNames, AT_ONCE, look, signal));
      return there;
    },
    async *list() {
      // Registries list no names that one may rely on; nothing asks for them here.
    },
    async get(path, signal = NEVER) {
      const own = ownPath(path);
      if (own !== undefined) {
        const bytes = await readFile(own).catch(() => undefined);
        return bytes && { bytes, version: String(bytes.length) };
      }
      const place = indexPlace(path);
      const layer = place && (await imageOf(split(path)[0], signal)).layers.get(place.mediaType);
      if (!place || !layer) return undefined;
      return { bytes: await registry.blob(place.repository, layer, signal), version: layer.digest };
    },
    async digest(path, signal = NEVER) {
      const layer = await packageLayer(path, signal);
      const sha256 = layer?.digest.slice("sha256:".length);
      return layer && { sha256: sha256 as string, md5: layer.annotations?.[MD5] ?? "", size: layer.size };
    },
    async put(path, body, expect, signal = NEVER, after) {
      const own = ownPath(path);
      if (own !== undefined && body instanceof Uint8Array) {
        await makeFolder(dirname(own));
        const temporary = join(await theStaging(), `own-${temporaries++}`);
        await writeFile(temporary, body);
        await rename(temporary, own);
        return String(body.length);
      }
      const package_ = packagePlace(path);
      if (package_ && "stagedPath" in body)
        return inTurn(package_, () => putPackage(path, package_, body, expect, signal));
      const place = indexPlace(path);
      if (!place || "stagedPath" in body) return "";
      const [subdir, name] = split(path);
      const gathered = await gather(body instanceof Uint8Array ? [body] : body, async () =>
        join(await theStaging(), `index-${temporaries++}`),
      );
      const blob = blobOf(gathered);
      try {
        const image = await imageOf(subdir, signal);
        const there = image.layers.get(place.mediaType);
        if (expect === "absent" ? there : expect !== "any" && there?.digest !== expect.version)
          throw lost(subdir, path);
        const layer = await send(place, blob, place.mediaType, { [TITLE]: name }, signal);
        await after;
        image.layers.set(place.mediaType, layer);
        image.changed = true;
      } finally {
        await gathered.drop();
      }
      // The other forms wait for this one, which says what they must say.
      if (name === "repodata.json") await commit(subdir, signal);
      return blob.digest;
    },
    async putNew() {
      // Shards have no place in this layout.
    },
    async remove(path, signal = NEVER) {
      const package_ = heldPlace(path);
      if (package_) return inTurn(package_, () => removePackage(path, package_, signal));
      const place = indexPlace(path);
      if (!place) return;
      const image = await imageOf(split(path)[0], signal);
      if (image.layers.delete(place.mediaType)) image.changed = true;
    },
    staging: theStaging,
    corner: async () => corner,
    placeOf: () => undefined,
    async exclusive(work, signal = NEVER) {
      // Whatever was seen while packages came is looked at anew.
      images.clear();
      const done = await work();
      for (const subdir of [...images.keys()]) await commit(subdir, signal);
      return done;
    },
    async close() {
      if (staging) await removeIncoming(staging);
      staging = undefined;
    },
  };
}
