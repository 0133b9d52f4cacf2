import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Needed } from "./channel-deps.ts";
import { type ChoiceOptions, type Rules, readRules } from "./choose/rules.ts";
import { openClients, s3Of } from "./clients.ts";
import type { PartialSettings, Settings } from "./config/settings.ts";
import { asMirrorError, type MirrorError, UsageError } from "./errors.ts";
import type { MirrorEvent } from "./events.ts";
import { unopened } from "./lost.ts";
import type { OnConflict } from "./plan/plan.ts";
import { type Removal, type RemovalOptions, readRemoval } from "./removal.ts";
import { channelAddress } from "./source/channel-address.ts";
import type { ArtifactMemory } from "./source/ci/artifact-memory.ts";
import type { CiFilter } from "./source/ci/filter.ts";
import { openSource, type SourceContext } from "./source/kinds.ts";
import type { Source } from "./source/source.ts";
import { sourceContext } from "./source-context.ts";
import { openStaging, type Staging } from "./staging.ts";
import { noAttestations, readAttestations } from "./target/attestations.ts";
import {
  checkAttestations,
  checkKey,
  checkRemoval,
  checkSince,
  openTarget,
  type TargetContext,
} from "./target/kinds.ts";
import type { Target } from "./target/target.ts";
import type { AnswerMemory } from "./transfer/answers.ts";
import { type Receivers, startReceivers } from "./transfer/receivers.ts";
import { redactUrl } from "./transfer/redact.ts";
import { type Clock, type RetryOptions, systemClock } from "./transfer/retry.ts";
import { scratchFolder } from "./transfer/scratch.ts";

export type { CiFilter };

export interface MirrorOptions extends ChoiceOptions, RemovalOptions {
  /** URLs of packages, files, folders or globs. */
  readonly sources: readonly string[];
  /** The type of all sources; inferred from each when absent. */
  readonly sourceType?: string;
  /** A regular expression: which members of an archive or artifact, by their whole inner path; every match is taken. */
  readonly sourcePath?: string;
  /** Which builds and artifacts of CI systems, and which pull requests. */
  readonly ci?: CiFilter;
  /** Where packages go: a channel's folder or address. Several: each package is fetched once. */
  readonly target: string | readonly string[];
  /** The type of all targets; inferred from each when absent. */
  readonly targetType?: string;
  /** The key of the upload service that is the target, or one of them. Default: what the environment and the credentials have. */
  readonly apiKey?: string;
  /** Files of Sigstore bundles that are passed along with the packages that they are about, where the target takes them. */
  readonly attestations?: readonly string[];
  /** What to do about a file of the same name and other bytes. Default: "error". */
  readonly onConflict?: OnConflict;
  /** Make the plan, change nothing. */
  readonly dryRun?: boolean;
  /** "URL=URL": what lies below the first can be had below the second too. */
  readonly mirrorOf?: readonly string[];
  /**
   * A channel's name, URL or folder: what the packages need to be installed is taken from it as well. `true`: from the channels
   * that are the sources.
   */
  readonly withDeps?: string | true;
  /** Platforms of lock files that are taken, and that `withDeps` solves for, such as "linux-64"; all of them when absent. */
  readonly platforms?: readonly string[];
  /** Environments (or categories) of lock files that are taken; all when absent. */
  readonly environments?: readonly string[];
  /** A bundle as target is to be the difference to this manifest: its path, or that of the bundle with it. */
  readonly sinceManifest?: string;
  /** Subdirs to take, such as "linux-64"; all when absent. */
  readonly subdirs?: readonly string[];
  /** Tell why packages are taken or left out, and do nothing else: a file's name, a name or a MatchSpec. */
  readonly explain?: string;
  /** Settings that are stronger than those of the environment and the file. */
  readonly settings?: PartialSettings;
  /** A configuration file. */
  readonly config?: string;
  /** Ends the run early: transfers stop, what was finished is indexed. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: MirrorEvent) => void;
  /** Default: process.env */
  readonly env?: NodeJS.ProcessEnv;
  /** Default: the system's clock. */
  readonly clock?: Clock;
  /** Answers of services that an earlier run got: what has not changed since is not fetched again. */
  readonly answers?: AnswerMemory;
  /** What an earlier run found in artifacts of CI systems. */
  readonly artifacts?: ArtifactMemory;
}

/** Threads that bring packages: each fetches, hashes, reads and writes, so that one for every core keeps it busy. */
const MOST_THREADS = 4;

/** Everything that one run holds open. */
export interface Run {
  /** All that were named, also those that were lost. */
  readonly targets: readonly Target[];
  /** Of several targets those that can't go on, and why: `living` are the others. */
  readonly lost: Map<Target, MirrorError>;
  /** How many packages in a row could not get to a target that does not answer. */
  readonly setbacks: Map<Target, number>;
  readonly sourceContext: SourceContext;
  readonly sources: readonly Source[];
  readonly signal: AbortSignal;
  readonly settings: Settings;
  readonly retry: Omit<RetryOptions, "signal">;
  readonly receivers: Receivers;
  /** Whether packages are brought; a dry run only tells. */
  readonly receives: boolean;
  readonly onConflict: OnConflict;
  /** Which packages are wanted; all when absent. */
  readonly rules: Rules | undefined;
  /** Set where targets follow their sources in what those no longer have. */
  readonly removal: Removal | undefined;
  /** Set where what packages of channels need is taken from the same channels: for these platforms, or for those they have. */
  readonly ownDeps: { readonly platforms: readonly string[] } | undefined;
  /** What they need, once it is known. */
  readonly needed?: Needed;
  /** Subdirs that are followed; all when absent. */
  readonly subdirs: readonly string[] | undefined;
  readonly emit: (event: MirrorEvent) => void;
  readonly staging: Staging;
  /** A new name in the staging folder. */
  stagedPath(): Promise<string>;
  close(): Promise<void>;
}

/**
 * Opens everything that a run works with. What was opened when something fails is closed again.
 * @throws UsageError, TargetError
 */
export async function openRun(options: MirrorOptions, settings: Settings): Promise<Run> {
  // What was opened last is closed first.
  const held = new AsyncDisposableStack();
  try {
    return await opened(options, settings, held);
  } catch (e) {
    await held.disposeAsync();
    throw e;
  }
}

async function opened(options: MirrorOptions, settings: Settings, held: AsyncDisposableStack): Promise<Run> {
  const signal = options.signal ?? new AbortController().signal;
  const clock = options.clock ?? systemClock;
  const env = options.env ?? process.env;
  const rules = await readRules(options, clock.now());
  const removal = readRemoval(options);
  const totalTimeoutMs = settings.timeout_seconds * 1000;
  const retry = { attempts: settings.retry_attempts, longestWaitMs: totalTimeoutMs, clock };
  const emit = options.onEvent ?? (() => undefined);
  const warn = (message: string) => emit({ type: "warning", message });
  const clients = await openClients(settings, { env, now: () => clock.now(), warn });
  held.defer(() => clients.close());
  // Whoever only asks why needs no target.
  const { targets, lost } =
    options.explain !== undefined && options.target.length === 0
      ? { targets: [], lost: new Map<Target, MirrorError>() }
      : await openTargets(options, removal, {
          ...clients,
          env,
          apiKey: options.apiKey,
          attestations: options.attestations?.length ? await readAttestations(options.attestations) : noAttestations,
          retryAttempts: settings.retry_attempts,
          longestWaitMs: totalTimeoutMs,
          concurrency: settings.max_concurrent_downloads,
          clock,
          s3: s3Of(settings),
          sinceManifest: options.sinceManifest,
          warn,
        });
  held.defer(async () => void (await Promise.all(targets.map((target) => target.close()))));
  for (const [target, error] of lost) emit({ type: "lost", target: redactUrl(target.where), error });
  const staging = openStaging({ targets, lost });
  // A dry run leaves the target as it is.
  const scratch = scratchFolder(options.dryRun ? undefined : staging.folder);
  held.defer(() => scratch.remove());
  const context = sourceContext(options, settings, {
    ...clients,
    retry,
    env,
    scratch: scratch.folder,
    warn,
    onCheck: (check) => emit({ type: "check", check }),
    onRead: (told) => emit({ type: "reading", ...told }),
  });
  const sources = await Promise.all(options.sources.map((text) => openSource(text, options.sourceType, context)));
  const ownDeps = wantsOwnDeps(options, sources) ? { platforms: options.platforms ?? [] } : undefined;
  // Last, when nothing can fail any more: a thread keeps the process alive until it is ended. Who only tells receives nothing.
  const receives = !options.dryRun && options.explain === undefined;
  const threads = receives ? Math.min(MOST_THREADS, availableParallelism()) : 0;
  // Whether channels have anything new shows only when they are read: a thread may not be needed at all.
  const atOnce = sources.filter((s) => !s.channel).length;
  const receivers = startReceivers(threads, atOnce, { http: clients.requests, prove: clients.prove }, signal);
  held.defer(() => receivers.close());
  let staged = 0;
  return {
    staging,
    stagedPath: async () => join(await staging.folder(), String(staged++)),
    targets,
    lost,
    setbacks: new Map(),
    sourceContext: context,
    signal,
    retry,
    receivers,
    receives,
    settings,
    sources,
    onConflict: options.onConflict ?? "error",
    rules,
    removal,
    ownDeps,
    subdirs: options.subdirs,
    emit,
    close: () => held.disposeAsync(),
  };
}

/** Whether dependencies come from the channels that are the sources. */
function wantsOwnDeps({ withDeps }: MirrorOptions, sources: readonly Source[]): boolean {
  if (withDeps === undefined) return false;
  const channels = sources.flatMap((s) => s.channel ?? []);
  if (withDeps !== true) {
    const base = JSON.stringify(channelAddress(withDeps)?.base);
    return channels.length === sources.length && channels.every((c) => JSON.stringify(c.address.base) === base);
  }
  if (channels.length === sources.length) return true;
  throw new UsageError("BAD_FLAG", {
    what: "--with-deps without a channel",
    why: "not every source is a channel that could have what the packages need",
    next: "name the channel to take it from: --with-deps conda-forge",
  });
}

/**
 * Opens all targets. Of several, one that can't be opened is lost and the others are not; how it is called has to be right for
 * all of them.
 */
async function openTargets(
  options: MirrorOptions,
  removal: Removal | undefined,
  context: TargetContext,
): Promise<Pick<Run, "targets" | "lost">> {
  const given = typeof options.target === "string" ? [options.target] : options.target;
  // A cache goes without a path.
  const texts = given.length > 0 ? given : [""];
  const { targetType: type } = options;
  if (options.apiKey !== undefined) checkKey(texts, type);
  if (options.attestations?.length) checkAttestations(texts, type);
  if (removal) checkRemoval(texts, type, removal.keepFiles);
  if (options.sinceManifest !== undefined) checkSince(texts, type, options.sinceManifest);
  const targets: Target[] = [];
  const lost = new Map<Target, MirrorError>();
  try {
    for (const text of texts) {
      const target = await openTarget(text, type, context).catch((e) => {
        if (e instanceof UsageError) throw e;
        const error = asMirrorError(e, redactUrl(text));
        const none = unopened(redactUrl(text) || (type ?? ""), error);
        lost.set(none, error);
        return none;
      });
      if (targets.some((t) => t.where === target.where)) {
        await target.close();
        lost.delete(target);
      } else targets.push(target);
    }
    const [only] = lost.values();
    if (only && targets.length === 1) throw only;
  } catch (e) {
    await Promise.all(targets.map((target) => target.close()));
    throw e;
  }
  // Packages wait where they can be linked from.
  return { targets: targets.sort((a, b) => Number(b.folder !== undefined) - Number(a.folder !== undefined)), lost };
}
