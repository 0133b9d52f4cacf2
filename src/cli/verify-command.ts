import { verify } from "../verify.ts";
import type { VerifyEvent } from "../verify-report.ts";
import { openSession, s3Settings } from "./session.ts";
import type { VerifyFlags } from "./verify-flags.ts";
import { findingText, verifyText } from "./verify-text.ts";

/** `verify`: parse, call the library, print. Gives the exit code. */
export async function verifyCommand(channel: string, flags: VerifyFlags): Promise<number> {
  const { log, progress, signal, close } = openSession(flags, "telling what was looked at");
  const onEvent = (e: VerifyEvent) => {
    progress.verifying(e);
    if (e.type === "warning") log.warn(e.message);
    else if (e.type === "audited") log.debug(`${e.subdir}: ${e.records} records, ${e.findings} findings`);
    else if (e.type === "finding" && !flags.json && !flags.quiet) {
      // As they come: there may be a million.
      progress.write("");
      process.stdout.write(`${findingText(e.finding, flags.verbose === true)}\n`);
    }
  };
  try {
    const report = await verify({
      channel,
      subdirs: flags.subdir ?? [],
      ...(flags.config === undefined ? {} : { config: flags.config }),
      ...(flags.quick === undefined ? {} : { quick: flags.quick }),
      ...(flags.threads === undefined ? {} : { threads: flags.threads }),
      ...(flags.repair === undefined ? {} : { repair: flags.repair }),
      ...(flags.removeBroken === undefined ? {} : { removeBroken: flags.removeBroken }),
      ...(flags.maxDelete === undefined ? {} : { maxDelete: flags.maxDelete }),
      ...(flags.dryRun === undefined ? {} : { dryRun: flags.dryRun }),
      from: flags.from ?? [],
      settings: s3Settings(flags),
      signal,
      onEvent,
    });
    progress.stop();
    if (flags.json) {
      const { VERIFY_SCHEMA_URL } = await import("../config/verify-schema.ts");
      process.stdout.write(`${JSON.stringify({ $schema: VERIFY_SCHEMA_URL, ...report })}\n`);
    } else if (!flags.quiet) process.stdout.write(`${verifyText(report)}\n`);
    return report.exitCode;
  } finally {
    close();
  }
}
