import { isSubdir } from "./conda/file-name.ts";
import { knownSubdirs } from "./conda/subdirs.ts";
import { isInterruption, TargetError, TransferError, unwritable } from "./errors.ts";
import { checkAsked, noChannel, openChannel } from "./open-channel.ts";
import { isChannelFolder } from "./source/channel-address.ts";
import { openSource } from "./source/kinds.ts";
import { sourceContext } from "./source-context.ts";
import { PreconditionFailed, type Store } from "./target/store.ts";
import { systemClock } from "./transfer/retry.ts";
import { scratchFolder } from "./transfer/scratch.ts";
import type { Audit, Counts } from "./verify/audit.ts";
import type { Checkers } from "./verify/checkers.ts";
import { type Finding, tell } from "./verify/finding.ts";
import { restoreIndex } from "./verify/quarantine.ts";
import { type AuditedSubdir, auditSubdir } from "./verify/subdir.ts";
import type { VerifyOptions } from "./verify.ts";
import { type Mending, mend } from "./verify-repair.ts";
import { FindingTally, type ReportedFinding, type VerifyReport } from "./verify-report.ts";
import type { Fate } from "./verify-sources.ts";

/** What `verify` does, once its threads are on their way. */
export async function verifyWith(options: VerifyOptions, checkers: Checkers): Promise<VerifyReport> {
  const began = performance.now();
  const clock = options.clock ?? systemClock;
  const signal = options.signal ?? new AbortController().signal;
  const emit = options.onEvent ?? (() => undefined);
  const warn = (message: string) => emit({ type: "warning", message });
  const held = new AsyncDisposableStack();
  try {
    const { env, settings, clients, store } = await openChannel(options, held, warn, clock);
    const subdirs = await subdirsOf(store, options.subdirs ?? []);
    const scratch = scratchFolder();
    held.defer(() => scratch.remove());
    const { totalTimeoutMs } = clients.requests;
    const retry = { attempts: settings.retry_attempts, longestWaitMs: totalTimeoutMs, clock };
    const silent = { onCheck: () => undefined, onRead: () => undefined };
    const context = sourceContext({}, settings, { ...clients, retry, env, scratch: scratch.folder, warn, ...silent });
    const sources = await Promise.all((options.from ?? []).map((text) => openSource(text, channelType(text), context)));
    const counts: Counts = { packages: 0, bytes: 0, unhashed: 0, elsewhere: 0, arriving: 0 };
    const audit: Audit = {
      store,
      quick: options.quick ?? false,
      signal,
      concurrency: settings.max_concurrent_downloads,
      clock,
      retry,
      checkers,
      scratch: scratch.folder,
      counts,
      news: {
        reading: (subdir, packages, bytes) => emit({ type: "checking", subdir, packages, bytes }),
        read: (packages, bytes) => emit({ type: "checked", packages, bytes }),
      },
    };
    const mending: Mending = {
      audit,
      sources,
      clients,
      settings,
      dryRun: options.dryRun ?? false,
      removeBroken: options.removeBroken ?? false,
      maxDelete: options.maxDelete,
      now: clock.now(),
      warn,
      written: [],
      quarantined: [],
    };
    const tally = new FindingTally();
    const report = (found: Finding, fate?: Fate) => {
      const one: ReportedFinding = { ...tell(found), ...asReported(fate) };
      tally.add(one);
      emit({ type: "finding", finding: one });
    };
    const audited: { subdir: string; records: number; findings: number }[] = [];
    const toMend: Finding[] = [];
    for (const subdir of subdirs) {
      const one = await unlessInterrupted(
        options.repair ? auditedReadable(subdir, mending, report) : auditSubdir(subdir, audit),
        signal,
      );
      if (!one) break;
      const { records, findings } = one;
      if (options.repair) for (const found of findings) toMend.push(found);
      else for (const found of findings) report(found);
      audited.push({ subdir, records, findings: findings.length });
      emit({ type: "audited", subdir, records, findings: findings.length });
    }
    const fates = new Map<Finding, Fate>();
    try {
      if (!signal.aborted && toMend.length > 0) await mend(toMend, mending, fates);
    } finally {
      // What was found and done is told also where it goes no further.
      for (const found of toMend) report(found, fates.get(found));
    }
    return {
      channel: store.where,
      quick: audit.quick,
      dryRun: mending.dryRun,
      subdirs: audited,
      ...counts,
      found: tally.found,
      mended: tally.mended,
      counts: tally.counts,
      findings: tally.kept,
      quarantined: mending.quarantined,
      written: mending.written,
      milliseconds: Math.round(performance.now() - began),
      interrupted: signal.aborted,
      exitCode: signal.aborted ? 130 : tally.found > (mending.dryRun ? 0 : tally.mended) ? 1 : 0,
    };
  } catch (e) {
    throw asTold(e, options.channel);
  } finally {
    // What was opened last is closed first.
    await held.disposeAsync();
  }
}

/** A folder that is a channel is taken for one: its records tell what it has. */
function channelType(text: string): "channel" | undefined {
  return isChannelFolder(text, knownSubdirs()) ? "channel" : undefined;
}

function asReported(fate: Fate | undefined): Pick<ReportedFinding, "mended" | "left"> {
  if (!fate) return {};
  return "how" in fate ? { mended: fate.how } : { left: fate.why };
}

/** An index that can't be read hides everything else: it is restored first, where a form of it is whole. */
async function auditedReadable(
  subdir: string,
  { audit, now, dryRun, quarantined, written }: Mending,
  report: (found: Finding, fate: Fate) => void,
): Promise<AuditedSubdir> {
  const one = await auditSubdir(subdir, audit);
  const unreadable = one.findings.find((f) => f.code === "INDEX_UNREADABLE");
  const restored = unreadable && (await restoreIndex(audit, subdir, now, dryRun));
  if (!unreadable || !restored) return one;
  const { from, quarantined: kept } = restored;
  if (dryRun) {
    report(unreadable, { how: `would be taken from ${from}` });
    return { ...one, findings: one.findings.filter((f) => f !== unreadable) };
  }
  if (kept !== undefined) quarantined.push(kept);
  written.push(`${subdir}/repodata.json`);
  report(unreadable, { how: `taken from ${from}, the damaged one is in quarantine` });
  return auditSubdir(subdir, audit);
}

/** The subdirs to look at, and noarch, which clients insist on (CEP 26). */
async function subdirsOf(store: Store, asked: readonly string[]): Promise<string[]> {
  const there = (await store.folders()).filter(isSubdir);
  if (there.length === 0) throw noChannel(store.where, "it has no subdir (noarch or <os>-<arch>)");
  checkAsked(
    asked.filter((subdir) => subdir !== "noarch"),
    there,
  );
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

/** A package that can't be fetched says nothing of the channel: the run ends. */
function asTold(e: unknown, channel: string): unknown {
  if (e instanceof PreconditionFailed) {
    return new TargetError("LOST_RACE", {
      what: `${channel}: could not be repaired`,
      why: e.message,
      next: "what was mended before stays; run again when the other writer is done",
      cause: e,
    });
  }
  if ((e as NodeJS.ErrnoException).code === "EISDIR")
    return unwritable(`${channel}: a file of its index can't be read`, e);
  if (!(e instanceof TransferError)) return e;
  const code = e.code === "REFUSED" ? "REFUSED" : "UNREACHABLE";
  return new TargetError(code, { what: e.what, why: e.why, next: e.next, cause: e });
}
