import { availableParallelism } from "node:os";
import { UsageError } from "./errors.ts";
import type { ChannelOptions } from "./open-channel.ts";
import { mostOf } from "./removal.ts";
import type { MirrorOptions } from "./run.ts";
import { openCheckers } from "./verify/checkers.ts";
import type { VerifyEvent, VerifyReport } from "./verify-report.ts";

export interface VerifyOptions extends ChannelOptions, Pick<MirrorOptions, "clock"> {
  /** Subdirs to look at; all that are there when absent. */
  readonly subdirs?: readonly string[];
  /** Presence and size of packages alone: nothing of them is read. */
  readonly quick?: boolean;
  /** Threads that read packages; as many as the machine has processors when absent. */
  readonly threads?: number;
  /** Mend what can be mended without losing anything. */
  readonly repair?: boolean;
  /** With `repair`: sources, as `mirror` takes them, that damaged and missing packages come again from. */
  readonly from?: readonly string[];
  /** With `repair`: records whose file could not be brought back go; what is left of the file is set aside. */
  readonly removeBroken?: boolean;
  /** With `removeBroken`: how much of a subdir may go, as `5%` or as a number of packages. */
  readonly maxDelete?: string;
  /** With `repair`: only tell what would be done. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: VerifyEvent) => void;
}

/**
 * Holds a channel against its index: every package, and every file that clients read. Without `repair` nothing is changed, not even
 * notes of ours.
 * @throws UsageError for wrong options or configuration; TargetError when the channel can't be read or written, LOST_RACE when
 *   other writers kept changing it
 */
export async function verify(options: VerifyOptions): Promise<VerifyReport> {
  checkFlags(options);
  const checkers = openCheckers(options.threads ?? availableParallelism());
  try {
    // Threads take as long to begin as the rest of the code takes to load: side by side.
    if (!options.quick) checkers.prepare();
    const { verifyWith } = await import("./verify-run.ts");
    return await verifyWith(options, checkers);
  } finally {
    await checkers.close();
  }
}

/** @throws UsageError BAD_FLAG for what means nothing without another flag */
function checkFlags({ repair, from, removeBroken, maxDelete, dryRun }: VerifyOptions): void {
  for (const [flag, given, needs, there] of [
    ["--from", (from?.length ?? 0) > 0, "--repair", repair],
    ["--remove-broken", removeBroken, "--repair", repair],
    ["--dry-run", dryRun, "--repair", repair],
    ["--max-delete", maxDelete !== undefined, "--remove-broken", removeBroken],
  ] as const) {
    if (!given || there) continue;
    throw new UsageError("BAD_FLAG", {
      what: flag,
      why: `it means nothing without ${needs}`,
      next: `give ${needs} as well, or leave it out; without --repair nothing is ever changed`,
    });
  }
  mostOf(maxDelete);
}
