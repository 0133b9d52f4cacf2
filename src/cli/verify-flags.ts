import { type Command, Option } from "commander";
import type { CommonFlags, S3Flags } from "./common-flags.ts";
import { collect, positive } from "./flag-values.ts";

export interface VerifyFlags extends CommonFlags, S3Flags {
  readonly subdir?: readonly string[];
  readonly quick?: boolean;
  readonly threads?: number;
  readonly repair?: boolean;
  readonly from?: readonly string[];
  readonly removeBroken?: boolean;
  readonly maxDelete?: string;
  readonly dryRun?: boolean;
}

/** Adds the flags of `verify`. */
export function verifyFlags(command: Command): Command {
  return command
    .addOption(new Option("--subdir <subdir>", "only this subdir; repeatable").argParser(collect))
    .option("--quick", "packages by presence and size alone, without reading them")
    .option("--threads <n>", "threads that read packages; one a processor when absent", positive)
    .option("--repair", "mend what can be mended without losing anything")
    .addOption(
      new Option(
        "--from <source>",
        "with --repair: missing and damaged packages come again from there; repeatable",
      ).argParser(collect),
    )
    .option(
      "--remove-broken",
      "with --repair: records go whose file no source brings back; what is left of it is set aside",
    )
    .option("--max-delete <n|n%>", "with --remove-broken: how much of a subdir may go in one run (10%, or 10 packages)")
    .option("--dry-run", "with --repair: tell what would be done, change nothing");
}
