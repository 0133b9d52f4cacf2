import { type Command, Option } from "commander";
import type { CommonFlags, S3Flags } from "./common-flags.ts";
import { collect, positive } from "./flag-values.ts";

export interface VerifyFlags extends CommonFlags, S3Flags {
  readonly subdir?: readonly string[];
  readonly quick?: boolean;
  readonly threads?: number;
}

/** Adds the flags of `verify`. */
export function verifyFlags(command: Command): Command {
  return command
    .addOption(new Option("--subdir <subdir>", "only this subdir; repeatable").argParser(collect))
    .option("--quick", "packages by presence and size alone, without reading them")
    .option("--threads <n>", "threads that read packages; one a processor when absent", positive);
}
