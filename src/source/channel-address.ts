import { existsSync } from "node:fs";
import { join } from "node:path";
import { isSubdir } from "../conda/file-name.ts";
import { pathOf } from "../conda/file-url.ts";
import { isKnownSubdir } from "../conda/subdirs.ts";
import { redactUrl } from "../transfer/redact.ts";

/** Where a channel is. Its subdirs lie right below. */
export type ChannelBase =
  /** Ends in "/"; http(s), or a scheme that another room reads (`s3:`, `oci:`). May hold credentials. */
  { readonly url: string } | { readonly folder: string };

export interface ChannelAddress {
  /** As people know it: a name where it has one, else its URL or folder; secrets removed. */
  readonly name: string;
  readonly base: ChannelBase;
  /** The one subdir that was named with it. */
  readonly subdir?: string;
}

/** What stands before a bare name where nothing else is set (conda's `channel_alias`). */
const CHANNEL_ALIAS = "https://conda.anaconda.org";

/** Names that conda knows to lie elsewhere than at the alias (conda `base/constants.py`, DEFAULT_CUSTOM_CHANNELS). */
const CUSTOM = ["pkgs/main", "pkgs/r", "pkgs/msys2", "pkgs/pro", "pkgs/free"];
const REPO = "https://repo.anaconda.com";

/** A channel's name: `conda-forge`, `conda-forge/label/dev`; maybe with a subdir behind it. */
const NAME = /^[A-Za-z0-9][\w.-]*(?:\/label\/[\w.-]+)?$/;

/**
 * Where a channel is, as typed: a name (`conda-forge`, `conda-forge/label/dev`, `pkgs/main`), an address without its scheme
 * (`conda.anaconda.org/conda-forge`), a URL, also that of a channel's web page or of one of its index files, a `file://` URL or
 * a folder. A subdir at the end narrows it down. Undefined when it is nothing of the kind.
 * @param alias what stands before bare names.
 */
export function channelAddress(text: string, alias: string = CHANNEL_ALIAS): ChannelAddress | undefined {
  if (/^file:/i.test(text)) return inFolder(pathOf(text));
  if (/^(?:\.{1,2}$|\.{0,2}[\\/]|[A-Za-z]:[\\/])/.test(text)) return inFolder(text);
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === "http" || scheme === "https") return atUrl(text, undefined);
  if (scheme === "s3" || scheme === "oci") return withoutSubdir(text, undefined);
  if (scheme !== undefined) return undefined;
  const { rest, subdir } = splitSubdir(text);
  const named = subdir === undefined ? {} : { subdir };
  if (CUSTOM.includes(rest)) return { name: rest, base: { url: `${REPO}/${rest}/` }, ...named };
  if (NAME.test(rest)) return { name: rest, base: { url: `${alias.replace(/\/+$/, "")}/${rest}/` }, ...named };
  // A host has a dot in its name, or a port.
  if (/^[\w-]+(?:\.[\w-]+)+(?::\d+)?\/./.test(text)) return atUrl(`https://${text}`, undefined);
  return undefined;
}

/** Whether a text is a channel's bare name. */
export function isChannelName(text: string): boolean {
  const { rest } = splitSubdir(text);
  return CUSTOM.includes(rest) || NAME.test(rest);
}

/** Whether a folder is a channel: one of its subdirs has an index. */
export function isChannelFolder(folder: string, subdirs: readonly string[]): boolean {
  return subdirs.some((subdir) =>
    ["repodata.json", "repodata.json.zst"].some((name) => existsSync(join(folder, subdir, name))),
  );
}

function inFolder(folder: string): ChannelAddress {
  const parts = /^(.*[\\/])([^\\/]+)[\\/]*$/.exec(folder);
  const last = parts?.[2] ?? "";
  const above = parts?.[1]?.replace(/[\\/]+$/, "");
  if (above && isKnownSubdir(last) && existsSync(join(folder, "repodata.json")))
    return { name: above, base: { folder: above }, subdir: last };
  return { name: folder, base: { folder } };
}

function atUrl(text: string, name: string | undefined): ChannelAddress | undefined {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return undefined;
  }
  url.hash = "";
  url.search = "";
  // The pages that people copy; packages are served elsewhere.
  if (url.hostname === "anaconda.org") {
    url.hostname = "conda.anaconda.org";
    url.pathname = url.pathname.replace(/^\/channels\//, "/").replace(/\/(?:repo|files)\/?$/, "/");
  } else if (url.hostname === "prefix.dev") {
    url.hostname = "repo.prefix.dev";
    url.pathname = url.pathname.replace(/^\/channels\//, "/");
  }
  url.pathname = url.pathname.replace(/\/(?:repodata|current_repodata|repodata_shards)\.[\w.]+$/, "/");
  return withoutSubdir(url.toString(), name);
}

function withoutSubdir(url: string, name: string | undefined): ChannelAddress {
  const { rest, subdir } = splitSubdir(url.replace(/\/+$/, ""));
  return {
    name: name ?? redactUrl(rest),
    base: { url: `${rest}/` },
    ...(subdir === undefined ? {} : { subdir }),
  };
}

/** Cuts a platform folder from the end, where there is one for sure. */
function splitSubdir(text: string): { rest: string; subdir: string | undefined } {
  const slash = text.lastIndexOf("/");
  const last = text.slice(slash + 1);
  if (slash > 0 && isSubdir(last) && isKnownSubdir(last)) return { rest: text.slice(0, slash), subdir: last };
  return { rest: text, subdir: undefined };
}
