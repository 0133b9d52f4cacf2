import { formatOf } from "../../conda/file-name.ts";
import { SourceError } from "../../errors.ts";
import type { Artifact } from "../ci/artifact.ts";
import { packagesInArtifacts } from "../ci/artifact-packages.ts";
import { badAnswer, type Foreign, numberOf, shownOf, textOf, timeOf, toldOn } from "../ci/foreign-json.ts";
import { namesText } from "../ci/names-text.ts";
import type { SourceContext } from "../kinds.ts";
import type { Offered } from "../offered.ts";
import type { PackageRef } from "../source.ts";
import type { GitHubAddress } from "./address.ts";
import type { GitHubApi } from "./api.ts";
import { nameOf, pathOf } from "./artifacts.ts";

type Release = Extract<GitHubAddress, { what: "release" }>;

/** A file of a release. */
export interface Asset extends Artifact {
  readonly id: number;
  /** What GitHub says of it. */
  readonly record: Foreign;
  readonly sha256?: string;
  /** Milliseconds since 1970. */
  readonly created?: number;
}

/** The files of a release, in GitHub's order. */
export async function assetsOf(github: GitHubApi, of: Release, signal: AbortSignal): Promise<Asset[]> {
  const at = `${pathOf(of)}/releases`;
  const tag = of.tag === undefined ? undefined : encodeURIComponent(of.tag);
  const release = await github.get(tag === undefined ? `${at}/latest` : `${at}/tags/${tag}`, signal);
  const id = numberOf(release, "id");
  if (id === undefined) throw badAnswer(nameOf(of), "the release has no id");
  const assets: Asset[] = [];
  // The release itself names no more than the first of many.
  for await (const item of github.all(`${at}/${id}/assets`, undefined, signal)) {
    const asset = assetFrom(github, of, item);
    if (of.asset === undefined || asset.name === of.asset) assets.push(asset);
  }
  return assets;
}

/** Packages among the files of a release, and in archives among them. */
export async function* releasePackages(
  github: GitHubApi,
  of: Release,
  named: (name: string) => boolean,
  context: SourceContext,
  signal: AbortSignal,
): AsyncGenerator<PackageRef> {
  const what = `${nameOf(of)}/releases/${of.tag === undefined ? "latest" : `tag/${of.tag}`}`;
  const assets = await assetsOf(github, of, signal);
  const chosen = assets.filter((a) => named(a.name) && mayHoldPackages(a.name));
  if (chosen.length === 0) {
    const names = assets.map((a) => a.name);
    throw new SourceError("NOT_FOUND", {
      what: `${what}: nothing to take`,
      why:
        names.length === 0
          ? "the release has no files"
          : `no package or archive is among its files: ${namesText(names)}`,
      next: "check the tag, --name-filter and the release's page",
    });
  }
  for (const asset of chosen) {
    if (formatOf(asset.name) === undefined) continue;
    yield {
      ...asset.place,
      fileName: asset.name,
      key: asset.key,
      ...(asset.size === undefined ? {} : { size: asset.size }),
      ...(asset.sha256 === undefined ? {} : { sha256: asset.sha256 }),
    };
  }
  const archives = chosen.filter((a) => formatOf(a.name) === undefined);
  if (archives.length > 0) yield* packagesInArtifacts(archives, what, context, signal, archives.length < chosen.length);
}

/** What `info` tells of a release's file. */
export function offeredAsset(of: Release, { id, name, size, created, record }: Asset): Offered {
  const source = `${nameOf(of)}/releases/${of.tag === undefined ? "latest" : `tag/${of.tag}`}`;
  const exact = `^${name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}$`;
  return {
    kind: "release-asset",
    id: String(id),
    name,
    record,
    ...(size === undefined ? {} : { size }),
    ...(created === undefined ? {} : { created: new Date(created).toISOString() }),
    ...(mayHoldPackages(name) ? { take: [source, "--name-filter", exact] } : {}),
  };
}

/** Whether a name is that of a package or of an archive that may hold some. */
function mayHoldPackages(name: string): boolean {
  return formatOf(name) !== undefined || /\.(?:zip|tgz|tar\.gz)$/i.test(name);
}

function assetFrom(github: GitHubApi, of: Release, item: Foreign): Asset {
  const id = numberOf(item, "id");
  const name = shownOf(item, "name");
  if (id === undefined || name === undefined) throw badAnswer(nameOf(of), "a file of the release has no id or no name");
  const page = textOf(item, "browser_download_url") ?? `${github.web}/${nameOf(of)}/releases`;
  const size = numberOf(item, "size");
  const created = timeOf(item, "created_at");
  const sha256 = /^sha256:([0-9a-f]{64})$/.exec(textOf(item, "digest") ?? "")?.[1];
  return {
    id,
    name,
    record: toldOn(item),
    page,
    key: `${github.web}/${nameOf(of)}/releases/assets/${id}`,
    place: github.file(`${pathOf(of)}/releases/assets/${id}`, page),
    ...(size === undefined ? {} : { size }),
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(created === undefined ? {} : { created }),
  };
}
