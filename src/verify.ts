import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { openClients, s3Of } from "./clients.ts";
import { isSubdir } from "./conda/file-name.ts";
import { loadSettings } from "./config/load.ts";
import { isInterruption, TargetError, TransferError, UsageError } from "./errors.ts";
import type { MirrorOptions } from "./run.ts";
import { noAttestations } from "./target/attestations.ts";
import { openStore } from "./target/kinds.ts";
import type { Store } from "./target/store.ts";
import { systemClock } from "./transfer/retry.ts";
import { scratchFolder } from "./transfer/scratch.ts";
import type { Audit, Counts } from "./verify/audit.ts";
import { openCheckers } from "./verify/checkers.ts";
import { tell } from "./verify/finding.ts";
import { type AuditedSubdir, auditSubdir } from "./verify/subdir.ts";
import { FindingTally, type VerifyEvent, type VerifyReport } from "./verify-report.ts";

export interface VerifyOptions extends Pick<MirrorOptions, "settings" | "config" | "env" | "clock"> {
  /** The channel: a folder, or the address of a bucket. */
  readonly channel: string;
  /** Subdirs to look at; all that are there when absent. */
  readonly subdirs?: readonly string[];
  /** Presence and size of packages alone: nothing of them is read. */
  readonly quick?: boolean;
  /** Threads that read packages; as many as the machine has processors when absent. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: VerifyEvent) => void;
}

/**
 * Holds a channel against its index: every package, and every file that clients read. Changes nothing, not even notes of ours.
 * @throws UsageError for wrong options or configuration; TargetError when the channel can't be read, LOST_RACE when other
 *   writers kept changing it
 */
export async function verify(options: VerifyOptions): Promise<VerifyReport> {
  const began = performance.now();
  const env = options.env ?? process.env;
  const clock = options.clock ?? systemClock;
  const signal = options.signal ?? new AbortController().signal;
  const emit = options.onEvent ?? (() => undefined);
  const warn = (message: string) => emit({ type: "warning", message });
  const held = new AsyncDisposableStack();
  try {
    // First, since threads take a while to begin.
    const checkers = openCheckers(options.threads ?? availableParallelism());
    held.defer(() => checkers.close());
    if (!options.quick) checkers.prepare();
    const settings = await loadSettings({ file: options.config, env, flags: options.settings ?? {} });
    const clients = await openClients(settings, { env, now: () => clock.now(), warn });
    held.defer(() => clients.close());
    const { totalTimeoutMs } = clients.requests;
    const store = await openStore(options.channel, undefined, {
      ...clients,
      env,
      apiKey: undefined,
      attestations: noAttestations,
      retryAttempts: settings.retry_attempts,
      longestWaitMs: totalTimeoutMs,
      concurrency: settings.max_concurrent_downloads,
      clock,
      s3: s3Of(settings),
      warn,
    });
    held.defer(() => store.close());
    const subdirs = await subdirsOf(store, options.subdirs ?? []);
    const scratch = scratchFolder();
    held.defer(() => scratch.remove());
    const counts: Counts = { packages: 0, bytes: 0, unhashed: 0, elsewhere: 0, arriving: 0 };
    const audit: Audit = {
      store,
      quick: options.quick ?? false,
      signal,
      concurrency: settings.max_concurrent_downloads,
      clock,
      retry: { attempts: settings.retry_attempts, longestWaitMs: totalTimeoutMs, clock },
      checkers,
      scratch: scratch.folder,
      counts,
      news: {
        reading: (subdir, packages, bytes) => emit({ type: "checking", subdir, packages, bytes }),
        read: (packages, bytes) => emit({ type: "checked", packages, bytes }),
      },
    };
    const tally = new FindingTally();
    const audited: { subdir: string; records: number; findings: number }[] = [];
    for (const subdir of subdirs) {
      const one = await unlessInterrupted(auditSubdir(subdir, audit), signal);
      if (!one) break;
      const { records, findings } = one;
      for (const found of findings) {
        const told = tell(found);
        tally.add(told);
        emit({ type: "finding", finding: told });
      }
      audited.push({ subdir, records, findings: findings.length });
      emit({ type: "audited", subdir, records, findings: findings.length });
    }
    return {
      channel: store.where,
      quick: audit.quick,
      dryRun: false,
      subdirs: audited,
      ...counts,
      found: tally.found,
      mended: tally.mended,
      counts: tally.counts,
      findings: tally.kept,
      quarantined: [],
      written: [],
      milliseconds: Math.round(performance.now() - began),
      interrupted: signal.aborted,
      exitCode: signal.aborted ? 130 : tally.found > tally.mended ? 1 : 0,
    };
  } catch (e) {
    throw asUnreachable(e);
  } finally {
    // What was opened last is closed first.
    await held.disposeAsync();
  }
}

/** The subdirs to look at, and noarch, which clients insist on (CEP 26). */
async function subdirsOf(store: Store, asked: readonly string[]): Promise<string[]> {
  const there = (await store.folders()).filter(isSubdir);
  const isNone = store.folder !== undefined && !existsSync(store.folder);
  if (isNone || there.length === 0) {
    throw new TargetError("NOT_FOUND", {
      what: `${store.where}: no such channel`,
      why: isNone ? "there is no folder of that name" : "it has no subdir (noarch or <os>-<arch>)",
      next: "check the path; mirror and index make a channel where there is none",
    });
  }
  for (const subdir of asked) {
    if (there.includes(subdir) || subdir === "noarch") continue;
    throw new UsageError("BAD_FLAG", {
      what: `--subdir ${subdir}`,
      why: isSubdir(subdir) ? "the channel has no such folder" : "a subdir is noarch or <os>-<arch>",
      next: `this channel has: ${there.join(", ")}`,
    });
  }
  return [...new Set(asked.length > 0 ? asked : ["noarch", ...there])];
}

/** What comes of a work; undefined where an interruption ended it. */
async function unlessInterrupted(
  work: Promise<AuditedSubdir>,
  signal: AbortSignal,
): Promise<AuditedSubdir | undefined> {
  try {
    return await work;
  } catch (e) {
    if (isInterruption(e, signal)) return undefined;
    throw e;
  }
}

/** A package that can't be fetched says nothing of the channel: the audit ends. */
function asUnreachable(e: unknown): unknown {
  if (!(e instanceof TransferError)) return e;
  const code = e.code === "REFUSED" ? "REFUSED" : "UNREACHABLE";
  return new TargetError(code, { what: e.what, why: e.why, next: e.next, cause: e });
}
