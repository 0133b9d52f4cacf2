import type { MirrorEvent } from "../events.ts";
import { type Round, watch } from "../watch.ts";
import { mirrorOptions, tellReport } from "./mirror-command.ts";
import type { MirrorFlags } from "./mirror-flags.ts";
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
  const onRound = async (round: Round): Promise<void> => {
    progress.reset();
    if ("error" in round) {
      logFailure(log, round.error, flags.verbose === true);
      if (flags.json) process.stdout.write(`${JSON.stringify({ error: errorJson(round.error) })}\n`);
      return;
    }
    const { added, replaced, failed, plan, kept, targets } = round.report;
    const news = added + replaced + failed > 0 || targets.some((t) => t.error);
    // Most rounds find nothing new, and say so to those who want to know all.
    if (flags.json || plan || news) await tellReport(round.report, flags);
    else log.debug(`nothing new, ${kept} kept`);
  };
  const options = mirrorOptions(sources, flags, session);
  // What was told in the last round is not told again: a check that has failed stays so for days.
  let before = new Set<string>();
  let now = new Set<string>();
  const onEvent = (e: MirrorEvent): void => {
    if (e.type === "warning" || e.type === "check") {
      const said = JSON.stringify(e);
      now.add(said);
      if (before.has(said)) return;
    }
    options.onEvent?.(e);
  };
  try {
    await watch({
      ...options,
      onEvent,
      intervalMs,
      signal,
      async onRound(round) {
        await onRound(round);
        before = now;
        now = new Set();
      },
    });
    return 130;
  } finally {
    close();
  }
}
