import { basename } from "node:path";
import { isSubdir } from "../conda/file-name.ts";
import { pathOf } from "../conda/file-url.ts";
import { asMirrorError, SourceError } from "../errors.ts";
import { choosePackages, type LockChoice } from "../lock/choose.ts";
import { baseName } from "../lock/fields.ts";
import type { LockedPackage, Skipped } from "../lock/lock-file.ts";
import type { HttpClient } from "../transfer/http.ts";
import { openFile } from "../transfer/open-file.ts";
import { pool } from "../transfer/pool.ts";
import { redactUrl } from "../transfer/redact.ts";
import type { RetryOptions } from "../transfer/retry.ts";
import type { ChannelLookup } from "./channel-lookup.ts";
import { loadLock } from "./lock/load.ts";
import { locate } from "./lock/location.ts";
import type { PackageRef, Source } from "./source.ts";
import { knownFrom, type MirrorOf, type PackageUrl, urlRef } from "./url.ts";

interface LockContext {
  readonly http: HttpClient;
  readonly retry: Omit<RetryOptions, "signal">;
  readonly env: NodeJS.ProcessEnv;
  readonly channels: ChannelLookup;
  readonly mirrors: readonly MirrorOf[];
  readonly lock: LockChoice;
  readonly warn: (message: string) => void;
}

/** Channels are asked for so many records at once. */
const LOOK_UPS = 16;

/**
 * The packages that a lock file names: pixi.lock, conda-lock.yml, an `@EXPLICIT` list, or the `conda-meta` folder of an
 * environment. Its hashes bind. The record that is published is the one that the package's channel has today, where that
 * agrees with the lock file's hashes; else it is made from the package.
 */
export function lockSource(text: string, context: LockContext): Source {
  const what = redactUrl(text);
  const from = pathOf(text);
  return {
    what,
    async *packages(signal) {
      const { lock, base } = await loadLock(from, what, context, signal);
      const { packages, skipped } = choosePackages(lock, context.lock, what);
      tellSkipped(skipped, what, context.warn);
      const failed = new Set<string>();
      const refs: PackageRef[] = [];
      const refOf = async ([i, one]: readonly [number, LockedPackage]): Promise<void> => {
        const at = locate(one, base, what, context.env);
        if ("path" in at) refs[i] = fromPath(at.path, one);
        else refs[i] = await (one.orElse === undefined ? fromUrl : fromList)(at, one, failed, context, signal);
      };
      for await (const _ of pool(packages.entries(), LOOK_UPS, refOf, signal));
      if (!signal.aborted) yield* refs;
    },
  };
}

function promises({ sha256, md5, size }: LockedPackage): Pick<PackageRef, "sha256" | "md5" | "size"> {
  return {
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(md5 === undefined ? {} : { md5 }),
    ...(size === undefined ? {} : { size }),
  };
}

function fromPath(path: string, one: LockedPackage): PackageRef {
  const subdir = one.subdir === undefined ? {} : { subdir: one.subdir };
  const file = { origin: path, key: `file:${path}`, address: { path }, open: openFile(path) };
  return { ...file, fileName: basename(path), ...promises(one), ...subdir };
}

async function fromUrl(
  at: PackageUrl,
  one: LockedPackage,
  failed: Set<string>,
  context: LockContext,
  signal: AbortSignal,
): Promise<PackageRef> {
  const { url, fileName } = at;
  const folder = new URL(".", url).toString();
  const last = folder.split("/").at(-2) ?? "";
  const subdir = one.subdir ?? (isSubdir(last) ? last : undefined);
  const own = { ...promises(one), ...(subdir === undefined ? {} : { subdir }) };
  let record: Uint8Array | undefined;
  try {
    if (!failed.has(folder)) record = await context.channels.recordOf(url, fileName, signal);
  } catch (e) {
    signal.throwIfAborted();
    if (!failed.has(folder)) {
      const { why } = asMirrorError(e, folder);
      context.warn(
        `${redactUrl(folder)}: records are made from the packages, since the channel's index can't be read (${why})`,
      );
    }
    failed.add(folder);
  }
  if (!record) return urlRef(at, own, context);
  const known = knownFrom(record);
  if (differ(own, known)) {
    context.warn(`${fileName}: its channel has other bytes today than the lock file promises; the lock file binds`);
    return urlRef(at, own, context);
  }
  const both = { ...known, ...own };
  return urlRef(at, both.subdir === undefined ? both : { ...both, current: true }, context);
}

/** A package of which only its channel tells in which format it is, and its hash. */
async function fromList(
  at: PackageUrl,
  one: LockedPackage,
  failed: Set<string>,
  context: LockContext,
  signal: AbortSignal,
): Promise<PackageRef> {
  const other = { url: one.orElse as string, fileName: baseName(one.orElse as string) };
  for (const place of [at, other]) {
    const ref = await fromUrl(place, one, failed, context, signal);
    if (ref.record) return ref;
  }
  const open = async () => {
    throw new SourceError("NOT_FOUND", {
      what: `${at.fileName}: its channel does not list it`,
      why: "conda list --json tells no hash and no format, and the channel's index has neither .conda nor .tar.bz2 of that name",
      next: "use conda list --explicit --sha256 instead, or check that the channel can be read",
    });
  };
  return { origin: redactUrl(at.url), fileName: at.fileName, key: at.url, open };
}

function differ(
  a: Pick<PackageRef, "sha256" | "md5" | "size">,
  b: Pick<PackageRef, "sha256" | "md5" | "size">,
): boolean {
  return (["sha256", "md5", "size"] as const).some((k) => a[k] !== undefined && b[k] !== undefined && a[k] !== b[k]);
}

const KINDS = {
  pypi: "PyPI packages are no conda packages",
  source: "source packages have to be built first",
  "no-url": "packages have no URL",
} satisfies Record<Skipped["kind"], string>;

function tellSkipped(skipped: readonly Skipped[], what: string, warn: (message: string) => void): void {
  for (const [kind, why] of Object.entries(KINDS)) {
    const names = skipped.filter((s) => s.kind === kind).map((s) => redactUrl(s.location));
    if (names.length === 0) continue;
    const some = names.slice(0, 3).join(", ");
    warn(`${what}: ${names.length} left out, since ${why}: ${some}${names.length > 3 ? ", …" : ""}`);
  }
}
