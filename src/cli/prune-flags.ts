import type { Command } from "commander";
import { type ChoiceFlags, rules } from "./choice-flags.ts";
import type { CommonFlags, S3Flags } from "./common-flags.ts";

export interface PruneFlags extends CommonFlags, S3Flags, ChoiceFlags {
  readonly withDeps?: boolean;
  readonly dryRun?: boolean;
  readonly shardGraceDays?: number;
}

/** Adds the flags of `prune`: those of `mirror` that say which packages are meant, and what becomes of the others. */
export function pruneFlags(command: Command): Command {
  return rules(command)
    .option("--with-deps", "what the packages need that stay, stays too")
    .option("--keep-removed", "only the index forgets them: files stay, for lock files that name them")
    .option("--max-delete <n|n%>", "stop when more of a subdir would go; without it, when nothing would be left")
    .option("--delete-grace-days <n>", "how long files stay when their records have gone (7)", Number)
    .option("--shard-grace-days <n>", "how long shards stay that no index names any more (7)", Number)
    .option("--dry-run", "print the plan, change nothing");
}
