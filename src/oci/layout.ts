import { type ArchiveFormat, parseFileName } from "../conda/file-name.ts";
import { PackageError } from "../errors.ts";
import { REPOSITORY } from "./address.ts";

/** Where something lies in a registry: a repository below the channel's path, and a tag in it. */
export interface OciPlace {
  readonly repository: string;
  readonly tag: string;
  /** The media type of its layer. */
  readonly mediaType: string;
}

/** How a conda channel is laid out in a registry. Names are not settled (conda/ceps 69, 70, 115): another layout is another one of these. */
export interface OciLayout {
  /** What it is called, also where one is chosen. */
  readonly name: string;
  /** @throws PackageError BAD_NAME where no registry takes what the name becomes */
  package(channel: string, subdir: string, fileName: string): OciPlace;
  /** An index file of a subdir; undefined for one that has no place in this layout. */
  index(channel: string, subdir: string, name: string): OciPlace | undefined;
  /** Media types of packages, of all formats. */
  readonly packageTypes: ReadonlySet<string>;
  /** Media types of all index files that have a place. */
  readonly indexTypes: ReadonlySet<string>;
  readonly infoArchive: string;
  readonly infoIndex: string;
  readonly config: string;
}

const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

const PACKAGE: Readonly<Record<ArchiveFormat, string>> = {
  "tar.bz2": "application/vnd.conda.package.v1",
  conda: "application/vnd.conda.package.v2",
};

const REPODATA = "application/vnd.conda.repodata.v1+json";
const INDEXES: Readonly<Record<string, string>> = {
  "repodata.json": REPODATA,
  "repodata.json.zst": `${REPODATA}+zst`,
  "repodata.json.bz2": `${REPODATA}+bz2`,
  "repodata.json.gz": `${REPODATA}+gzip`,
};

/** The layout of channel-mirrors (conda_oci_mirror), which rattler reads (rattler_networking `oci_middleware`). */
export const DEPLOYED: OciLayout = {
  name: "v1",
  package(channel, subdir, fileName) {
    const { name, version, build, format } = parseFileName(fileName);
    // No part of a repository's name may begin with an underscore.
    const image = name.startsWith("_") ? `zzz${name}` : name;
    const repository = `${channel}/${subdir}/${image}`;
    const tag = `${version}-${build}`.replaceAll("+", "__p__").replaceAll("!", "__e__").replaceAll("=", "__eq__");
    const bad = !REPOSITORY.test(repository) || repository.length > 255 ? repository : TAG.test(tag) ? undefined : tag;
    if (bad !== undefined) {
      throw new PackageError("BAD_NAME", {
        what: `${fileName}: no registry can hold it`,
        why: `it would be ${JSON.stringify(bad)} there, which is no name that registries take`,
        next: "leave it out with --exclude, or keep it in a channel of another kind",
      });
    }
    return { repository, tag, mediaType: PACKAGE[format] };
  },
  index(channel, subdir, name) {
    const mediaType = INDEXES[name];
    return mediaType === undefined
      ? undefined
      : { repository: `${channel}/${subdir}/repodata.json`, tag: "latest", mediaType };
  },
  packageTypes: new Set(Object.values(PACKAGE)),
  indexTypes: new Set(Object.values(INDEXES)),
  infoArchive: "application/vnd.conda.info.v1.tar+gzip",
  infoIndex: "application/vnd.conda.info.index.v1+json",
  config: "application/vnd.unknown.config.v1+json",
};
