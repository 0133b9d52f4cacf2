import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Clients, openClients, s3Of } from "./clients.ts";
import { isSubdir } from "./conda/file-name.ts";
import { loadSettings } from "./config/load.ts";
import type { Settings } from "./config/settings.ts";
import { TargetError, UsageError } from "./errors.ts";
import type { MirrorOptions } from "./run.ts";
import { noAttestations } from "./target/attestations.ts";
import { openStore } from "./target/kinds.ts";
import type { Store } from "./target/store.ts";
import { type Clock, systemClock } from "./transfer/retry.ts";

export interface ChannelOptions extends Pick<MirrorOptions, "settings" | "config" | "env"> {
  /** The channel: a folder, or the address of a store of files that we index. */
  readonly channel: string;
}

/** A channel that a command works on, and what it works with. */
export interface OpenedChannel {
  readonly env: NodeJS.ProcessEnv;
  readonly settings: Settings;
  readonly clients: Clients;
  readonly store: Store;
}

/**
 * Opens a channel that is there, as `mirror` opens its target.
 * @param held what is opened is closed with it.
 * @throws UsageError for wrong configuration, TargetError when the channel can't be reached, or when there is no such folder
 */
export async function openChannel(
  { channel, settings: flags = {}, config: file, env = process.env }: ChannelOptions,
  held: AsyncDisposableStack,
  warn: (message: string) => void,
  clock: Clock = systemClock,
): Promise<OpenedChannel> {
  const settings = await loadSettings({ file, env, flags });
  const clients = await openClients(settings, { env, now: () => clock.now(), warn });
  held.defer(() => clients.close());
  const store = await openStore(channel, undefined, {
    ...clients,
    env,
    apiKey: undefined,
    attestations: noAttestations,
    retryAttempts: settings.retry_attempts,
    longestWaitMs: clients.requests.totalTimeoutMs,
    concurrency: settings.max_concurrent_downloads,
    clock,
    s3: s3Of(settings),
    warn,
  });
  held.defer(() => store.close());
  if (store.folder !== undefined && !existsSync(store.folder)) throw noChannel(store.where);
  return { env, settings, clients, store };
}

export function noChannel(where: string, why = "there is no folder of that name"): TargetError {
  return new TargetError("NOT_FOUND", {
    what: `${where}: no such channel`,
    why,
    next: "check the path; mirror makes a channel where there is none",
  });
}

/** Where notes on what was read of packages lie; undefined where they have no place. */
export async function cachePath(store: Store): Promise<string | undefined> {
  const corner = await store.corner();
  return corner === undefined ? undefined : join(corner, "files.db");
}

/** @throws UsageError BAD_FLAG for a subdir that is asked for and not there */
export function checkAsked(asked: readonly string[], there: readonly string[]): void {
  for (const subdir of asked) {
    if (there.includes(subdir)) continue;
    throw new UsageError("BAD_FLAG", {
      what: `--subdir ${subdir}`,
      why: isSubdir(subdir) ? "the channel has no such folder" : "a subdir is noarch or <os>-<arch>",
      next: `this channel has: ${there.join(", ") || "none yet"}`,
    });
  }
}
