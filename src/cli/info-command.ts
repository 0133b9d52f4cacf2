import { asMirrorError, type MirrorError } from "../errors.ts";
import { eachOffer, type InfoOptions } from "../info.ts";
import type { InfoFlags } from "./info-flags.ts";
import { infoWriter } from "./info-text.ts";

import { ciFilter } from "./mirror-command.ts";
import { openOutput } from "./output.ts";
import { logFailure, openSession } from "./session.ts";

/** `info`: parse, call the library, print. Gives the exit code. */
export async function infoCommand(source: string | undefined, flags: InfoFlags): Promise<number> {
  const { log, signal, close } = openSession(flags, "stopping");
  const given = <K extends keyof InfoFlags>(key: K) => (flags[key] === undefined ? {} : { [key]: flags[key] });
  try {
    const encoding = flags.json ? "json" : (flags.encode ?? (process.stdout.isTTY ? "table" : "yaml"));
    const out = openOutput(process.stdout);
    const writer = await infoWriter(encoding, Date.now(), out.line);
    const options: InfoOptions = {
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
    };
    const failures: MirrorError[] = [];
    let about = { source: "", type: "" };
    const told = await eachOffer(options, async (row, of) => {
      about = of;
      if ("error" in row && row.error) failures.push(row.error);
      await writer.row(row, of);
    }).catch((e: unknown) => {
      // What was begun is one whole document all the same.
      if (!writer.telling) throw e;
      const error = asMirrorError(e, about.source);
      return { ...about, error, exitCode: error.exitCode };
    });
    await writer.end(told);
    await out.flush();
    for (const one of [...failures, ...(told.error ? [told.error] : [])]) logFailure(log, one, flags.verbose === true);
    return told.exitCode;
  } finally {
    close();
  }
}
