import { type Round, watch } from "../watch.ts";
import { mirrorOptions, tellReport } from "./mirror-command.ts";
import type { MirrorFlags } from "./program.ts";
import { errorJson } from "./render.ts";
import { logFailure, openSession } from "./session.ts";

/** `watch`: parse, call the library, print what each round came to. Ends when it is interrupted; gives the exit code. */
export async function watchCommand(
  sources: readonly string[],
  flags: MirrorFlags,
  intervalMs: number,
): Promise<number> {
  const session = openSession(flags, "indexing what is finished");
  const { log, progress, signal, close } = session;
  const onRound = (round: Round): void => {
    progress.reset();
    if ("error" in round) {
      logFailure(log, round.error, flags.verbose === true);
      if (flags.json) process.stdout.write(`${JSON.stringify({ error: errorJson(round.error) })}\n`);
      return;
    }
    const { added, replaced, failed, plan, kept } = round.report;
    // Most rounds find nothing new, and say so to those who want to know all.
    if (flags.json || plan || added + replaced + failed > 0) tellReport(round.report, flags, log);
    else log.debug(`nothing new, ${kept} kept`);
  };
  try {
    await watch({ ...mirrorOptions(sources, flags, session), intervalMs, signal, onRound });
    return 130;
  } finally {
    close();
  }
}
