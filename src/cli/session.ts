import type { Logger } from "pino";
import type { PartialSettings } from "../config/settings.ts";
import { framesOf, type MirrorError } from "../errors.ts";
import { letGo } from "./closed-pipes.ts";
import type { CommonFlags, S3Flags } from "./common-flags.ts";
import { logLevel, makeLogger, useColor } from "./log.ts";
import { makeProgress, type Progress } from "./progress.ts";

/** What every command that works for a while has: a log, progress, and a signal that Ctrl-C aborts. */
export interface Session {
  readonly log: Logger;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  close(): void;
}

/** @param interrupted what is told at the first Ctrl-C; the second ends the process at once. */
export function openSession(flags: CommonFlags, interrupted: string): Session {
  const { env, stderr } = process;
  letGo(stderr);
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
    log.warn(`interrupted: ${interrupted}; once more to stop at once`);
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  return {
    log,
    progress,
    signal: stopping.signal,
    close() {
      progress.stop();
      process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    },
  };
}

/** A failure in one log line: what, why, what next; the stack where it is asked for. */
export function logFailure(log: Logger, error: MirrorError, verbose: boolean): void {
  const { what, why, next, code, family } = error;
  if (family === "interrupted") return;
  log.error({ code, why, next, ...(verbose ? { stack: framesOf(error) } : {}) }, what);
}

/** What the flags say of S3. */
export function s3Settings(flags: S3Flags): PartialSettings {
  return {
    s3_region: flags.s3Region,
    s3_endpoint: flags.s3Endpoint,
    s3_addressing_style: flags.s3AddressingStyle,
    s3_anonymous: flags.s3Anonymous,
  };
}
