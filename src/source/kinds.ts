import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { CredentialStore } from "../auth/credential-store.ts";
import { formatOf } from "../conda/file-name.ts";
import { knownSubdirs } from "../conda/subdirs.ts";
import { UsageError } from "../errors.ts";
import type { LockChoice } from "../lock/choose.ts";
import type { ApiClient } from "../transfer/api.ts";
import type { HttpClient } from "../transfer/http.ts";
import { redactUrl } from "../transfer/redact.ts";
import type { RetryOptions } from "../transfer/retry.ts";
import { archiveSource, namesArchive } from "./archive.ts";
import { channelSource } from "./channel.ts";
import { channelAddress, isChannelFolder, isChannelName } from "./channel-address.ts";
import type { ChannelLookup } from "./channel-lookup.ts";
import { localSource } from "./local.ts";
import { isLock, lockSource } from "./lock.ts";
import type { Source } from "./source.ts";
import { type MirrorOf, urlSource } from "./url.ts";

/** What sources are opened with. */
export interface SourceContext {
  /** Packages and large files. */
  readonly http: HttpClient;
  /** Requests to services. */
  readonly api: ApiClient;
  readonly credentials: CredentialStore;
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
  readonly githubApiUrl: string;
  readonly azureDevopsUrl: string;
  /** A folder of this run for what can't be read where it lies; it is removed at the run's end. */
  readonly scratch: () => Promise<string>;
  readonly warn: (message: string) => void;
}

/** One kind of source: a new one is a file of its own and a line in `SOURCE_KINDS`. */
interface SourceKind {
  /** Whether a text, as typed, is of this kind; asked in the order of the table. */
  readonly recognises: (text: string) => boolean;
  readonly open: (text: string, context: SourceContext) => Source;
}

export const SOURCE_KINDS = {
  url: { recognises: (text) => /^https?:\/\//i.test(text) && formatOf(pathOf(text)) !== undefined, open: urlSource },
  lock: { recognises: isLock, open: lockSource },
  zip: { recognises: (text) => namesArchive(text, "zip", "here"), open: archiveSource },
  "zip-url": { recognises: (text) => namesArchive(text, "zip", "url"), open: archiveSource },
  tgz: { recognises: (text) => namesArchive(text, "tgz", "here"), open: archiveSource },
  "tgz-url": { recognises: (text) => namesArchive(text, "tgz", "url"), open: archiveSource },
  local: { recognises: isLocal, open: localSource },
  channel: {
    // What has an address, and is nothing that stands above.
    recognises: (text) =>
      /^(?:https?|s3|oci):\/\//i.test(text) || /^file:/i.test(text) || channelAddress(text) !== undefined,
    open: channelSource,
  },
} satisfies Record<string, SourceKind>;

export type SourceType = keyof typeof SOURCE_KINDS;

export const SOURCE_TYPES = Object.keys(SOURCE_KINDS) as SourceType[];

/** Kinds that docs/cli names and that are still to come. */
const PLANNED = ["github", "azure", "pr"];

/**
 * Opens a source as typed.
 * @param type one of SOURCE_TYPES; inferred from the text when absent.
 * @throws UsageError BAD_SOURCE or NOT_YET
 */
export function openSource(text: string, type: string | undefined, context: SourceContext): Source {
  const kinds: Record<string, SourceKind> = SOURCE_KINDS;
  const chosen = type ?? SOURCE_TYPES.find((t) => kinds[t]?.recognises(text));
  if (chosen === undefined) {
    throw new UsageError("BAD_SOURCE", {
      what: `${redactUrl(text)}: not a source that is known`,
      why: "it is neither a package's or archive's URL nor a path",
      next: `name its type with --src-type: ${SOURCE_TYPES.join(", ")}`,
    });
  }
  const kind = kinds[chosen];
  if (kind) return kind.open(text, context);
  if (PLANNED.includes(chosen)) {
    throw new UsageError("NOT_YET", {
      what: `--src-type ${chosen}`,
      why: "this version can't read such sources yet",
      next: `today it reads: ${SOURCE_TYPES.join(", ")}`,
    });
  }
  throw new UsageError("BAD_SOURCE", {
    what: `--src-type ${chosen}`,
    why: "there is no such source type",
    next: `choose one of: ${SOURCE_TYPES.join(", ")}`,
  });
}

/** A path, unless it is a channel's name that no file has, or a `file://` URL of a channel. */
function isLocal(text: string): boolean {
  if (/^file:/i.test(text)) return !isChannelFolder(fileURLToPath(text), knownSubdirs());
  if (/^[a-z][a-z0-9+.-]+:/i.test(text)) return false;
  return !(isChannelName(text) && !existsSync(text));
}

function pathOf(url: string): string {
  try {
    return new URL(url).pathname;
  } catch {
    return "";
  }
}
