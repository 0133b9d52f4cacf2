import { type Command, Option } from "commander";
import { positiveWhole } from "./flag-values.ts";
import type { MirrorFlags } from "./mirror-flags.ts";

export interface InfoFlags extends MirrorFlags {
  readonly src?: string;
  readonly github?: string;
  readonly azure?: string;
  readonly buildId?: number;
  readonly pr?: string;
  readonly descriptionFilter?: string;
  readonly excludeExpired?: boolean;
  readonly encode?: "table" | "yaml" | "json";
}

/** Flags of `mirror` that `info` takes too: they say what is looked at. */
const LOOKING = ["srcType", "srcPath", "mirrorOf", "nameFilter", "branch", "commit", "definition", "maxBuilds"]
  .concat(["allowFailed", "author", "label", "platform", "environment", "subdir"])
  .concat(["maxConcurrentDownloads", "retryAttempts", "timeoutSeconds"]);

/** Adds the flags of `info`'s own. */
export function infoFlags(command: Command): Command {
  return command
    .addOption(new Option("--src <source>", "the source, as mirror takes it").hideHelp())
    .option("--github <owner/repo>", "a repository's artifacts, as --src-type github")
    .option("--azure <org/project>", "a project's builds, as --src-type azure")
    .option("--build-id <n>", "the artifacts of this build of --azure", positiveWhole)
    .option("--pr <n>", "a pull request's builds: its address, or a number of conda-forge/staged-recipes")
    .option("--description-filter <regex>", "only what has such a description, as the name of its pipeline")
    .option("--exclude-expired", "leave out what can't be fetched any more")
    .addOption(new Option("--no-exclude-expired").hideHelp())
    .addOption(
      new Option("--encode <form>", "table on a terminal, yaml elsewhere, when absent").choices([
        "table",
        "yaml",
        "json",
      ]),
    );
}

/** Adds those of `mirror` that say what is looked at. */
export function lookingFlags(command: Command, mirror: Command): void {
  for (const option of mirror.options) if (LOOKING.includes(option.attributeName())) command.addOption(option);
}
