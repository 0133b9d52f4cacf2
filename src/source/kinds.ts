import { existsSync } from "node:fs";
import type { CredentialStore } from "../auth/credential-store.ts";
import type { TokenSettings } from "../auth/credentials.ts";
import { isBundle } from "../bundle/path.ts";
import { formatOf } from "../conda/file-name.ts";
import { pathOf } from "../conda/file-url.ts";
import { knownSubdirs } from "../conda/subdirs.ts";
import { UsageError } from "../errors.ts";
import type { LockChoice } from "../lock/choose.ts";
import type { S3Wishes } from "../s3/address.ts";
import type { AnswerMemory } from "../transfer/answers.ts";
import type { ApiClient } from "../transfer/api.ts";
import type { HttpClient, HttpSettings } from "../transfer/http.ts";
import { redactUrl } from "../transfer/redact.ts";
import type { RetryOptions } from "../transfer/retry.ts";
import { namesArchive } from "./archive/names-archive.ts";
import type { ReadProgress } from "./archive/walk.ts";
import { channelAddress, isChannelFolder, isChannelName } from "./channel-address.ts";
import type { ChannelLookup } from "./channel-lookup.ts";
import type { ArtifactMemory } from "./ci/artifact-memory.ts";
import type { CheckState } from "./ci/checks.ts";
import type { CiFilter } from "./ci/filter.ts";
import { githubAddress, webOf } from "./github/address.ts";
import { pullAddress } from "./github/pull-address.ts";
import { localSource } from "./local.ts";
import { isLock } from "./lock/recognise.ts";
import type { Source } from "./source.ts";
import { type MirrorOf, urlSource } from "./url.ts";

/** What sources are opened with. */
export interface SourceContext {
  /** Packages and large files. */
  readonly http: HttpClient;
  /** Requests to services. */
  readonly api: ApiClient;
  readonly credentials: CredentialStore;
  /** What a source that opens connections of its own makes them with. */
  readonly requests: HttpSettings;
  readonly s3: S3Wishes;
  /** Told of connections that a source opens for itself: they end with the run. */
  readonly closing: (one: { close(): Promise<void> }) => void;
  readonly retry: Omit<RetryOptions, "signal">;
  readonly env: NodeJS.ProcessEnv;
  readonly channels: ChannelLookup;
  readonly mirrors: readonly MirrorOf[];
  /** Which members of an archive or artifact, by their whole inner path; all packages when absent. */
  readonly members: RegExp | undefined;
  /** Which parts of lock files. */
  readonly lock: LockChoice;
  /** Requests at the same time. */
  readonly concurrency: number;
  /** Of a channel, these subdirs; all when absent. */
  readonly subdirs: readonly string[] | undefined;
  /** What stands before a channel's bare name. */
  readonly channelAlias: string;
  /** A folder of this run for what can't be read where it lies; it is removed at the run's end. */
  readonly scratch: () => Promise<string>;
  /** The addresses of GitHub and Azure DevOps, and tokens for them. The clients send those by themselves. */
  readonly tokens: TokenSettings;
  /** Answers of services that can be asked for again at no cost. */
  readonly answers: AnswerMemory;
  /** What artifacts hold that were looked into before. */
  readonly artifacts: ArtifactMemory;
  /** Which builds, artifacts and pull requests are wanted. */
  readonly ci: CiFilter;
  readonly warn: (message: string) => void;
  /** Told what a CI system says of a pull request's commit. */
  readonly onCheck: (check: CheckState) => void;
  /** Told how far the reading of archives is whose content is not known yet. */
  readonly onRead: (told: ReadProgress) => void;
}

/**
 * One kind of source: a new one is a file of its own and a line in `SOURCE_KINDS`. Its code is loaded when it is first opened;
 * only what thousands may be named of in one run, a URL or a path, is there from the start.
 */
interface SourceKind {
  /** Whether a text, as typed, is of this kind; asked in the order of the table. */
  readonly recognises: (text: string, context: SourceContext) => boolean;
  readonly open: (text: string, context: SourceContext) => Source | Promise<Source>;
}

const openArchive = async (text: string, context: SourceContext) =>
  (await import("./archive.ts")).archiveSource(text, context);

const SOURCE_KINDS = {
  url: { recognises: (text) => /^https?:\/\//i.test(text) && formatOf(urlPath(text)) !== undefined, open: urlSource },
  lock: {
    recognises: isLock,
    open: async (text, context) => (await import("./lock.ts")).lockSource(text, context),
  },
  bundle: {
    recognises: isBundle,
    open: async (text) => (await import("./bundle.ts")).bundleSource(text),
  },
  zip: { recognises: (text) => namesArchive(text, "zip", "here"), open: openArchive },
  "zip-url": { recognises: (text) => namesArchive(text, "zip", "url"), open: openArchive },
  tgz: { recognises: (text) => namesArchive(text, "tgz", "here"), open: openArchive },
  "tgz-url": { recognises: (text) => namesArchive(text, "tgz", "url"), open: openArchive },
  local: { recognises: isLocal, open: localSource },
  pr: {
    recognises: namesPull,
    open: async (text, context) => (await import("./pull-request.ts")).pullRequestSource(text, context),
  },
  github: {
    // Files of repositories may be a channel.
    recognises: (text, { tokens: { github_api_url: api } }) =>
      isAt(text, webOf(api)) ? !/\/raw\//.test(text) : !isChannelName(text) && !!githubAddress(text, webOf(api), api),
    open: async (text, context) => (await import("./github.ts")).githubSource(text, context),
  },
  azure: {
    recognises: (text, { tokens }) => isAt(text, tokens.azure_devops_url),
    open: async (text, context) => (await import("./azure.ts")).azureSource(text, context),
  },
  channel: {
    // What has an address, and is nothing that stands above.
    recognises: (text) =>
      /^(?:https?|s3|oci):\/\//i.test(text) || /^file:/i.test(text) || channelAddress(text) !== undefined,
    open: async (text, context) => (await import("./channel.ts")).channelSource(text, context),
  },
} satisfies Record<string, SourceKind>;

export type SourceType = keyof typeof SOURCE_KINDS;

export const SOURCE_TYPES = Object.keys(SOURCE_KINDS) as SourceType[];

/** What a text, as typed, is taken for; undefined when it is nothing that is known. */
export function inferSourceType(text: string, context: SourceContext): SourceType | undefined {
  const kinds: Record<string, SourceKind> = SOURCE_KINDS;
  // What has no scheme and is nothing that is known would be a path that is not there.
  return SOURCE_TYPES.find((t) => kinds[t]?.recognises(text, context)) ?? (SCHEME.test(text) ? undefined : "local");
}

/**
 * Opens a source as typed.
 * @param type one of SOURCE_TYPES; inferred from the text when absent.
 * @throws UsageError BAD_SOURCE
 */
export async function openSource(text: string, type: string | undefined, context: SourceContext): Promise<Source> {
  const kinds: Record<string, SourceKind> = SOURCE_KINDS;
  const chosen = type ?? inferSourceType(text, context);
  if (chosen === undefined) {
    throw new UsageError("BAD_SOURCE", {
      what: `${redactUrl(text)}: not a source that is known`,
      why: "it is neither a package's or archive's URL nor a path, nor anything at GitHub or Azure DevOps",
      next: `name its type with --src-type: ${SOURCE_TYPES.join(", ")}`,
    });
  }
  const kind = Object.hasOwn(kinds, chosen) ? kinds[chosen] : undefined;
  if (kind) return kind.open(text, context);
  throw new UsageError("BAD_SOURCE", {
    what: `--src-type ${chosen}`,
    why: "there is no such source type",
    next: `choose one of: ${SOURCE_TYPES.join(", ")}`,
  });
}

const SCHEME = /^[a-z][a-z0-9+.-]+:/i;

/** A path that is there, or that could be nothing else; a `file://` URL, unless it is a channel's. */
function isLocal(text: string): boolean {
  if (/^file:/i.test(text)) return !isChannelFolder(pathOf(text), knownSubdirs());
  if (SCHEME.test(text)) return false;
  return /^[./~\\]|^[a-z]:|[*?[{\\]/i.test(text) || existsSync(text) || namesPackage(text);
}

/** A package's file, here or nowhere: not below a host, whose name has a dot. */
function namesPackage(text: string): boolean {
  return formatOf(text) !== undefined && !/^[^/]*[.:][^/]*\//.test(text);
}

/** Whether a text is an address at a service, with its scheme or without. What it means there, the kind of source tells. */
function isAt(text: string, service: string): boolean {
  const { origin, host } = new URL(service);
  const address = text.toLowerCase();
  return address.startsWith(`${origin}/`) || address.startsWith(`${host}/`);
}

/** A pull request; a repository too, where its pull requests are asked for. */
function namesPull(text: string, { ci, tokens }: SourceContext): boolean {
  const address = pullAddress(text, tokens.github_api_url);
  if (address?.number === undefined)
    return address !== undefined && (ci.author !== undefined || ci.label !== undefined);
  // "owner/repo#N" and a bare number could be something else.
  return /\/pull\/|^[^/]+#/.test(text);
}

function urlPath(url: string): string {
  try {
    return new URL(url).pathname;
  } catch {
    return "";
  }
}
