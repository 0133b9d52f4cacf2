import type { IndexEvent } from "../events.ts";
import { indexChannel } from "../index-channel.ts";
import type { IndexFlags } from "./index-flags.ts";
import { indexJson, indexText } from "./render.ts";
import { logFailure, openSession, s3Settings } from "./session.ts";

/** `index`: parse, call the library, print. Gives the exit code. */
export async function indexCommand(channel: string, flags: IndexFlags): Promise<number> {
  const { log, progress, signal, close } = openSession(flags, "indexing what was read");
  const onEvent = (e: IndexEvent) => {
    progress.indexing(e);
    if (e.type === "warning") log.warn(e.message);
    else if (e.type === "published" && e.written.length > 0)
      log.debug(`${e.subdir}: ${e.records} records, wrote ${e.written.join(", ")}`);
    else if (e.type === "read" && e.error) logFailure(log, e.error, flags.verbose === true);
    else if (e.type === "read") log.trace(`read ${e.subdir}/${e.fileName}`);
  };
  try {
    const report = await indexChannel({
      channel,
      subdirs: flags.subdir ?? [],
      ...(flags.config === undefined ? {} : { config: flags.config }),
      ...(flags.patch === undefined ? {} : { patch: flags.patch }),
      ...(flags.threads === undefined ? {} : { threads: flags.threads }),
      settings: {
        write_zst: flags.zst,
        write_bz2: flags.bz2,
        write_shards: flags.shards,
        write_current_repodata: flags.currentRepodata,
        write_run_exports: flags.runExports,
        write_channeldata: flags.channeldata,
        write_html: flags.html,
        base_url: flags.baseUrl,
        zstd_level: flags.zstdLevel,
        shard_grace_days: flags.shardGraceDays,
        ...s3Settings(flags),
      },
      signal,
      onEvent,
    });
    progress.stop();
    if (flags.json) process.stdout.write(`${indexJson(report)}\n`);
    else if (!flags.quiet) process.stdout.write(`${indexText(report)}\n`);
    return report.exitCode;
  } finally {
    close();
  }
}
