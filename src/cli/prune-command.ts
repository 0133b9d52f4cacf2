import type { PruneEvent } from "../events.ts";
import { prune } from "../prune.ts";
import { choiceOptions, explanationText } from "./choice-flags.ts";
import type { PruneFlags } from "./prune-flags.ts";
import { pruneJson, pruneText } from "./prune-text.ts";
import { openSession, s3Settings } from "./session.ts";

/** `prune`: parse, call the library, print. Gives the exit code. */
export async function pruneCommand(channel: string, flags: PruneFlags): Promise<number> {
  const { log, progress, signal, close } = openSession(flags, "stopping; the next run goes on");
  const onEvent = (e: PruneEvent) => {
    if (e.type === "warning") log.warn(e.message);
    else if (e.type === "chosen") log.debug(`${e.subdir}: ${e.removed} go, ${e.kept} stay`);
    else if (e.written.length > 0) log.debug(`${e.subdir}: ${e.records} records, wrote ${e.written.join(", ")}`);
  };
  try {
    const report = await prune({
      channel,
      ...choiceOptions(flags),
      ...(flags.config === undefined ? {} : { config: flags.config }),
      withDeps: flags.withDeps ?? false,
      dryRun: flags.dryRun ?? false,
      settings: {
        delete_grace_days: flags.deleteGraceDays,
        shard_grace_days: flags.shardGraceDays,
        ...s3Settings(flags),
      },
      signal,
      onEvent,
    });
    progress.stop();
    if (flags.json) process.stdout.write(`${pruneJson(report)}\n`);
    else if (report.explanations)
      process.stdout.write(`${explanationText(report.explanations, "the channel does not list")}\n`);
    else if (report.plan || !flags.quiet) process.stdout.write(`${pruneText(report)}\n`);
    return report.exitCode;
  } finally {
    close();
  }
}
