import type { Logger } from "pino";
import { UsageError } from "../errors.ts";
import type { MirrorEvent, Outcome } from "../events.ts";
import { mirror } from "../mirror.ts";
import { logLevel, makeLogger, useColor } from "./log.ts";
import type { MirrorFlags } from "./program.ts";
import { makeProgress } from "./progress.ts";
import { bytesText, planText, reportJson, summaryText } from "./render.ts";

/** `mirror`: parse, call the library, print. Gives the exit code. */
export async function mirrorCommand(sources: readonly string[], flags: MirrorFlags): Promise<number> {
  const { env, stderr } = process;
  if ((flags.targetPath?.length ?? 0) > 1) {
    throw new UsageError("NOT_YET", {
      what: "several targets",
      why: "this version writes one target a run",
      next: "run mirror once for each --target-path",
    });
  }
  const when = flags.progress === false || flags.quiet ? "never" : flags.progress;
  const bars = when === "always" || (when === "auto" && stderr.isTTY === true && flags.logFormat === "pretty");
  const progress = makeProgress(
    when === "never" ? "off" : bars ? "bars" : flags.logFormat === "json" ? "off" : "lines",
    stderr,
  );
  const log = makeLogger(
    { level: logLevel(flags, env), format: flags.logFormat, color: useColor(flags, env, stderr.isTTY === true) },
    progress,
  );

  const stopping = new AbortController();
  const onSignal = () => {
    if (stopping.signal.aborted) process.exit(130);
    stopping.abort();
    log.warn("interrupted: indexing what is finished; once more to stop at once");
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  const onEvent = (e: MirrorEvent) => {
    progress.event(e);
    switch (e.type) {
      case "warning":
        log.warn(e.message);
        break;
      case "retrying": {
        const again = e.waitMs > 0 ? `again in ${(e.waitMs / 1000).toFixed(1)} s` : e.origin;
        log.info({ why: e.error.why }, `${e.fileName}: trying ${again}`);
        break;
      }
      case "published":
        if (e.written.length > 0) log.debug(`${e.subdir}: ${e.records} records, wrote ${e.written.join(", ")}`);
        break;
      case "finished":
        logOutcome(log, e.result, flags.verbose === true);
    }
  };
  try {
    const report = await mirror({
      sources,
      target: flags.targetPath?.[0] ?? "",
      ...(flags.srcType === undefined ? {} : { sourceType: flags.srcType }),
      ...(flags.targetType === undefined ? {} : { targetType: flags.targetType }),
      ...(flags.config === undefined ? {} : { config: flags.config }),
      onConflict: flags.onConflict,
      dryRun: flags.dryRun ?? false,
      mirrorOf: flags.mirrorOf ?? [],
      settings: {
        max_concurrent_downloads: flags.maxConcurrentDownloads,
        retry_attempts: flags.retryAttempts,
        timeout_seconds: flags.timeoutSeconds,
      },
      signal: stopping.signal,
      onEvent,
    });
    progress.stop();
    if (flags.json) process.stdout.write(`${reportJson(report)}\n`);
    else if (report.plan) process.stdout.write(`${planText(report.plan)}\n`);
    else if (!flags.quiet) process.stdout.write(`${summaryText(report)}\n`);
    return report.exitCode;
  } finally {
    progress.stop();
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

function logOutcome(log: Logger, result: Outcome, verbose: boolean): void {
  if (result.outcome === "failed") {
    const { what, why, next, code, family, stack } = result.error;
    if (family === "interrupted") return;
    const frames = stack?.split("\n").filter((l) => /^\s+at /.test(l));
    log.error({ code, why, next, ...(verbose && frames ? { stack: frames.join("\n") } : {}) }, what);
  } else {
    const unverified = "verified" in result && !result.verified ? ", no hash to check it against" : "";
    const size = "bytes" in result ? ` (${bytesText(result.bytes)}${unverified})` : "";
    log.debug(`${result.outcome} ${result.subdir}/${result.fileName}${size}`);
  }
}
