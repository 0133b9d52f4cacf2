import type { PruneEvent } from "../events.ts";
import { prune } from "../prune.ts";
import { choiceOptions, explanationText } from "./choice-flags.ts";
import { openOutput } from "./output.ts";
import type { PruneFlags } from "./prune-flags.ts";
import { pruneJson, pruneLines } from "./prune-text.ts";
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
    const out = openOutput(process.stdout);
    if (flags.json) {
      for (const piece of pruneJson(report)) await out.write(piece);
      await out.line("");
    } else if (report.explanations) await out.line(explanationText(report.explanations, "the channel does not list"));
    else if (report.plan || !flags.quiet) for (const line of pruneLines(report)) await out.line(line);
    await out.flush();
    return report.exitCode;
  } finally {
    close();
  }
}
