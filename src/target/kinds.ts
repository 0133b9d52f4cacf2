import type { CredentialStore } from "../auth/credential-store.ts";
import { isBundlePath } from "../bundle/path.ts";
import { pathOf } from "../conda/file-url.ts";
import { UsageError } from "../errors.ts";
import type { S3Wishes } from "../s3/address.ts";
import type { ApiClient } from "../transfer/api.ts";
import type { HttpClient, HttpSettings } from "../transfer/http.ts";
import { redactUrl } from "../transfer/redact.ts";
import type { Clock } from "../transfer/retry.ts";
import type { Attestations } from "./attestations.ts";
import { openFolder } from "./folder.ts";
import { isAnaconda, isArtifactory, isCloudsmith, isGitea, isPrefixDev, isQuetz } from "./service-addresses.ts";
import type { Store } from "./store.ts";
import { storeTarget } from "./store-target.ts";
import type { Target } from "./target.ts";

/** What targets are opened with. */
export interface TargetContext {
  readonly env: NodeJS.ProcessEnv;
  /** Requests to services. */
  readonly api: ApiClient;
  /** What a target that opens connections of its own makes them with. */
  readonly requests: HttpSettings;
  readonly credentials: CredentialStore;
  /** Packages and large files. */
  readonly http: HttpClient;
  /** A key for the one service among the targets, as the caller gives it; stronger than all others. */
  readonly apiKey: string | undefined;
  readonly attestations: Attestations;
  /** Repetitions after the first try of a request. */
  readonly retryAttempts: number;
  /** Who asks for a longer pause than this many milliseconds is given up. */
  readonly longestWaitMs: number;
  /** Transfers that run at the same time. */
  readonly concurrency: number;
  readonly clock: Clock;
  readonly s3: S3Wishes;
  /** A manifest, or a bundle with one, to which bundles are to be the difference. */
  readonly sinceManifest?: string | undefined;
  readonly warn: (message: string) => void;
}

/**
 * One kind of target: a new one is a file of its own and a line in `TARGET_KINDS`. One that is a store of files has
 * `openStore`, and can be indexed too; the others have `open`.
 */
type TargetKind = {
  /** Other names it goes by. */
  readonly aliases: readonly string[];
  /** Whether a path or URL, as typed, is of this kind; asked in the order of the table. */
  readonly recognises: (text: string) => boolean;
  /** Whether it goes without a path. */
  readonly pathless?: boolean;
  /** Whether a key that the caller gives is for it. */
  readonly keyed?: boolean;
  /** Whether it takes attestations with packages. */
  readonly attested?: boolean;
  /** Whether it can lose what its sources lose, as stores of files do; "whole": no file of it is there without its record. */
  readonly follows?: boolean | "whole";
} & (
  | { readonly openStore: (text: string, context: TargetContext) => Promise<Store> }
  | { readonly open: (text: string, context: TargetContext) => Promise<Target> }
);

const TARGET_KINDS = {
  cache: {
    aliases: [],
    recognises: (text) => text.startsWith("cache:"),
    pathless: true,
    open: async (text, context) =>
      (await import("./rattler-cache.ts")).openRattlerCache(text.replace(/^cache:/, ""), context),
  },
  "conda-pkgs": {
    aliases: [],
    recognises: (text) => text.startsWith("conda-pkgs:"),
    pathless: true,
    open: async (text, context) =>
      (await import("./conda-pkgs.ts")).openCondaPkgs(text.replace(/^conda-pkgs:/, ""), context),
  },
  bundle: {
    aliases: [],
    recognises: isBundlePath,
    follows: "whole",
    open: async (text, { sinceManifest }) => (await import("./bundle.ts")).bundleTarget(text, sinceManifest),
  },
  local: {
    aliases: ["file"],
    recognises: (text) =>
      /^file:/i.test(text) || /^[A-Za-z]:[\\/]/.test(text) || !/^[a-z][a-z0-9+.-]+:\/\//i.test(text),
    openStore: (text) => openFolder(pathOf(text, "BAD_TARGET")),
  },
  s3: {
    aliases: ["minio"],
    recognises: (text) => /^(?:s3|minio):\/\//i.test(text),
    openStore: async (text, context) => (await import("./s3.ts")).openS3(text, context),
  },
  oci: {
    aliases: [],
    recognises: (text) => /^oci:\/\//i.test(text),
    follows: true,
    open: async (text, context) => (await import("./oci.ts")).openOci(text, context),
  },
  "prefix-dev": {
    aliases: ["prefix"],
    recognises: isPrefixDev,
    keyed: true,
    attested: true,
    open: async (text, context) => (await import("./prefix-dev.ts")).openPrefixDev(text, context),
  },
  quetz: {
    aliases: [],
    recognises: isQuetz,
    keyed: true,
    open: async (text, context) => (await import("./quetz.ts")).openQuetz(text, context),
  },
  artifactory: {
    aliases: [],
    recognises: isArtifactory,
    keyed: true,
    open: async (text, context) => (await import("./artifactory.ts")).openArtifactory(text, context),
  },
  anaconda: {
    aliases: [],
    recognises: isAnaconda,
    keyed: true,
    open: async (text, context) => (await import("./anaconda.ts")).openAnaconda(text, context),
  },
  cloudsmith: {
    aliases: [],
    recognises: isCloudsmith,
    keyed: true,
    open: async (text, context) => (await import("./cloudsmith.ts")).openCloudsmith(text, context),
  },
  gitea: {
    aliases: ["forgejo"],
    recognises: isGitea,
    keyed: true,
    open: async (text, context) => (await import("./gitea.ts")).openGitea(text, context),
  },
} satisfies Record<string, TargetKind>;

/** Every name a target type goes by. */
const TARGET_TYPES: readonly string[] = Object.entries(TARGET_KINDS).flatMap(([name, kind]) => [name, ...kind.aliases]);

const CHOICES = "--target-path FOLDER (a channel in a folder, --target-type local)";

/**
 * Opens a target as typed.
 * @throws UsageError NO_TARGET, BAD_TARGET or NOT_YET; TargetError when it can't be used
 */
export async function openTarget(
  path: string | undefined,
  type: string | undefined,
  context: TargetContext,
): Promise<Target> {
  const kind = kindOf(path, type);
  const text = path ?? "";
  return "openStore" in kind ? storeTarget(await kind.openStore(text, context)) : kind.open(text, context);
}

/**
 * Opens a channel whose files we index.
 * @throws UsageError BAD_TARGET when it indexes itself; else as `openTarget`
 */
export async function openStore(path: string, type: string | undefined, context: TargetContext): Promise<Store> {
  const kind = kindOf(path, type);
  if ("openStore" in kind) return kind.openStore(path, context);
  throw new UsageError("BAD_TARGET", {
    what: `${redactUrl(path)}: not a channel that can be indexed`,
    why: "it has no index of ours to write",
    next: "name a folder or another store of files",
  });
}

/**
 * Which of the targets a key that the caller gives is for.
 * @throws UsageError BAD_FLAG where it is none, or more than one: a key goes to one server
 */
export function checkKey(paths: readonly string[], type: string | undefined): void {
  const keyed = paths.filter((path) => kindOf(path, type).keyed);
  if (keyed.length === 1) return;
  throw new UsageError("BAD_FLAG", {
    what: "--api-key: it is not clear which target it is for",
    why: keyed.length === 0 ? "none of the targets takes a key" : `${keyed.length} targets take keys`,
    next: "leave it out, and give keys in the environment or by pixi auth login",
  });
}

/** @throws UsageError BAD_FLAG where none of the targets takes attestations: they would be lost unseen */
export function checkAttestations(paths: readonly string[], type: string | undefined): void {
  if (paths.some((path) => kindOf(path, type).attested)) return;
  throw new UsageError("BAD_FLAG", {
    what: "--attestation: none of the targets takes attestations",
    why: "only prefix.dev does so far",
    next: "leave it out, or name a channel of prefix.dev as a target too",
  });
}

/**
 * Whether all of the targets can follow their sources in what those no longer have: where that would do nothing, it is not begun.
 * @param keepFiles files are to stay when their records go.
 * @throws UsageError BAD_FLAG
 */
export function checkRemoval(paths: readonly string[], type: string | undefined, keepFiles: boolean): void {
  for (const path of paths) {
    const kind = kindOf(path, type);
    const where = redactUrl(path) || type;
    if (!("openStore" in kind) && !kind.follows)
      throw new UsageError("BAD_FLAG", {
        what: `--delete: ${where} can't follow its sources`,
        why: "its index is not made of files that we write",
        next: "leave --delete out, or choose a target that is a folder, a bucket, a registry or a bundle",
      });
    if (keepFiles && kind.follows === "whole")
      throw new UsageError("BAD_FLAG", {
        what: `--keep-removed: ${where} can't keep a file without its record`,
        why: "a bundle holds what its index lists, and nothing else",
        next: "leave --keep-removed out for it, or run it by itself; the bundles of before still have the file",
      });
  }
}

/** @throws UsageError BAD_FLAG where none of the targets is a bundle: nothing else is made as a difference */
export function checkSince(paths: readonly string[], type: string | undefined, sinceManifest: string): void {
  if (paths.some((path) => kindOf(path, type) === TARGET_KINDS.bundle)) return;
  throw new UsageError("BAD_FLAG", {
    what: `--since-manifest ${sinceManifest}`,
    why: "no target is a bundle",
    next: "name one, such as --target-path bundle.tar, or leave the flag out",
  });
}

function kindOf(path: string | undefined, type: string | undefined): TargetKind {
  const kinds: readonly [string, TargetKind][] = Object.entries(TARGET_KINDS);
  const named = kinds.find(([name, kind]) => name === type || kind.aliases.includes(type ?? ""))?.[1];
  if (type !== undefined && !named) {
    throw new UsageError("BAD_TARGET", {
      what: `--target-type ${type}`,
      why: "there is no such target type",
      next: `choose one of: ${TARGET_TYPES.join(", ")}`,
    });
  }
  if ((path === undefined || path === "") && !named?.pathless) {
    throw new UsageError("NO_TARGET", {
      what: "no target",
      why: "mirror was not told where the packages shall go",
      next: `give ${CHOICES}`,
    });
  }
  const chosen = named ?? kinds.find(([, kind]) => kind.recognises(path ?? ""))?.[1];
  if (chosen) return chosen;
  throw new UsageError("NOT_YET", {
    what: `${redactUrl(path ?? "")}: not a target this version can write`,
    why: "it is no folder, and no address that tells which service it belongs to",
    next: `name its type with --target-type (${TARGET_TYPES.join(", ")}), or give ${CHOICES}`,
  });
}
