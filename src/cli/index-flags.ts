import { type Command, Option } from "commander";
import type { CommonFlags, S3Flags } from "./common-flags.ts";
import { collect, positive, whole } from "./flag-values.ts";

export interface IndexFlags extends CommonFlags, S3Flags {
  readonly subdir?: readonly string[];
  readonly patch?: string;
  readonly baseUrl?: string;
  readonly zst?: boolean;
  readonly bz2?: boolean;
  readonly shards?: boolean;
  readonly currentRepodata?: boolean;
  readonly runExports?: boolean;
  readonly channeldata?: boolean;
  readonly html?: boolean;
  readonly zstdLevel?: number;
  readonly shardGraceDays?: number;
  readonly threads?: number;
}

/** Adds the flags of `index`. */
export function indexFlags(command: Command): Command {
  return command
    .addOption(new Option("--subdir <subdir>", "only this subdir; repeatable").argParser(collect))
    .option("--patch <path>", "patch instructions: a folder or a package with <subdir>/patch_instructions.json")
    .option("--base-url <url>", "the channel that packages lie in, when not beside the index (CEP 15): URL/<subdir>/")
    .addOption(onOff("--zst", "repodata.json.zst"))
    .addOption(new Option("--no-zst").hideHelp())
    .addOption(onOff("--bz2", "repodata.json.bz2"))
    .addOption(new Option("--no-bz2").hideHelp())
    .addOption(onOff("--shards", "sharded repodata (CEP 16)"))
    .addOption(new Option("--no-shards").hideHelp())
    .addOption(onOff("--current-repodata", "current_repodata.json"))
    .addOption(new Option("--no-current-repodata").hideHelp())
    .addOption(onOff("--run-exports", "run_exports.json (CEP 12)"))
    .addOption(new Option("--no-run-exports").hideHelp())
    .addOption(onOff("--channeldata", "channeldata.json (CEP 38)"))
    .addOption(new Option("--no-channeldata").hideHelp())
    .addOption(onOff("--html", "index.html of the channel and each subdir"))
    .addOption(new Option("--no-html").hideHelp())
    .option("--zstd-level <n>", "1 is fastest, 19 smallest; chosen by the size of the index when absent", whole)
    .option("--shard-grace-days <n>", "how long shards stay that no index names any more (7)", Number)
    .option("--threads <n>", "threads that read packages; one a processor when absent", positive);
}

/** A file that a flag switches on and its `--no-` twin off; without either, the configuration decides. */
function onOff(flag: string, file: string): Option {
  return new Option(flag, `write ${file}, or not: --no-${flag.slice(2)}`);
}
