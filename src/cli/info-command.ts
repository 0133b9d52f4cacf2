import { info } from "../info.ts";
import type { InfoFlags } from "./info-flags.ts";
import { infoText } from "./info-text.ts";
import { ciFilter } from "./mirror-command.ts";
import { logFailure, openSession } from "./session.ts";

/** `info`: parse, call the library, print. Gives the exit code. */
export async function infoCommand(source: string | undefined, flags: InfoFlags): Promise<number> {
  const { log, signal, close } = openSession(flags, "stopping");
  const given = <K extends keyof InfoFlags>(key: K) => (flags[key] === undefined ? {} : { [key]: flags[key] });
  try {
    const report = await info({
      ...(source === undefined ? {} : { source }),
      ...given("github"),
      ...given("azure"),
      ...given("buildId"),
      ...given("pr"),
      ...given("nameFilter"),
      ...given("descriptionFilter"),
      ...given("config"),
      ci: ciFilter(flags),
      mirrorOf: flags.mirrorOf ?? [],
      platforms: flags.platform ?? [],
      environments: flags.environment ?? [],
      ...(flags.srcType === undefined ? {} : { sourceType: flags.srcType }),
      ...(flags.srcPath === undefined ? {} : { sourcePath: flags.srcPath }),
      ...(flags.subdir === undefined ? {} : { subdirs: flags.subdir }),
      excludeExpired: flags.excludeExpired ?? false,
      settings: {
        max_concurrent_downloads: flags.maxConcurrentDownloads,
        retry_attempts: flags.retryAttempts,
        timeout_seconds: flags.timeoutSeconds,
      },
      signal,
      onWarning: (message) => log.warn(message),
    });
    const encoding = flags.json ? "json" : (flags.encode ?? (process.stdout.isTTY ? "table" : "yaml"));
    process.stdout.write(`${await infoText(report, encoding, Date.now())}\n`);
    for (const row of report.rows) if ("error" in row && row.error) logFailure(log, row.error, flags.verbose === true);
    if (report.error) logFailure(log, report.error, flags.verbose === true);
    return report.exitCode;
  } finally {
    close();
  }
}
