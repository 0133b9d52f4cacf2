import { type Command, Option } from "commander";
import type { CiFilter } from "../run.ts";
import type { ChoiceFlags } from "./choice-flags.ts";
import type { CommonFlags, S3Flags } from "./common-flags.ts";
import { collect, list, positive, positiveWhole, whole } from "./flag-values.ts";

export interface MirrorFlags extends CommonFlags, S3Flags, ChoiceFlags, CiFilter {
  readonly sources?: readonly string[];
  readonly srcType?: string;
  readonly srcPath?: string;
  readonly targetType?: string;
  readonly targetPath?: readonly string[];
  readonly mirrorOf?: readonly string[];
  readonly withDeps?: string | true;
  readonly platform?: readonly string[];
  readonly environment?: readonly string[];
  readonly sinceManifest?: string;
  readonly onConflict?: "error" | "skip" | "replace";
  readonly apiKey?: string;
  readonly attestation?: readonly string[];
  readonly dryRun?: boolean;
  readonly maxConcurrentDownloads?: number;
  readonly retryAttempts?: number;
  readonly timeoutSeconds?: number;
  readonly job?: readonly string[];
  readonly report?: string;
  readonly limitRate?: string;
  readonly bandwidth?: string;
}

/** Flags that have two names. */
export interface Spellings {
  readonly src?: readonly string[];
  readonly tgt?: readonly string[];
  readonly tgtType?: string;
}

/** Sources and flags of `mirror`, whichever names they were given under. */
export function spelled(sources: readonly string[], flags: MirrorFlags & Spellings): [readonly string[], MirrorFlags] {
  const targetType = flags.targetType ?? flags.tgtType;
  return [
    [...sources, ...(flags.sources ?? []), ...(flags.src ?? [])],
    {
      ...flags,
      targetPath: [...(flags.targetPath ?? []), ...(flags.tgt ?? [])],
      ...(targetType === undefined ? {} : { targetType }),
    },
  ];
}

/** Adds the flags that are about sources, targets and the run itself. */
export function mirrorFlags(command: Command): Command {
  return command
    .option("-s, --sources <source,…>", "URLs, files, folders, globs, lock files or channels; repeatable", list, [])
    .addOption(new Option("--src <source>", "one source as it is, commas and all; repeatable").argParser(collect))
    .addOption(
      new Option(
        "--src-type <type>",
        "the type of all sources; inferred when absent (url, local, zip, pr, github, azure, …)",
      ),
    )
    .addOption(
      new Option("--src-path <regex>", "which packages of an archive or artifact, by the path inside; every match"),
    )
    .addOption(
      new Option(
        "--target-path <path>",
        "the channel: a folder, s3://bucket/prefix, oci://host/name; repeatable, each package is fetched once",
      ).argParser(collect),
    )
    .addOption(new Option("--tgt <path>", "as --target-path").argParser(collect).hideHelp())
    .addOption(
      new Option(
        "--target-type <type>",
        "inferred when absent (local, s3, minio, oci, cache, conda-pkgs, prefix-dev, quetz, artifactory, anaconda, cloudsmith, gitea)",
      ),
    )
    .addOption(new Option("--tgt-type <type>", "as --target-type").hideHelp())
    .addOption(
      new Option("--on-conflict <rule>", "same file name, other bytes (error)").choices(["error", "skip", "replace"]),
    )
    .option("--api-key <key>", "key of the upload service; better in PREFIX_API_KEY and the like, or in pixi's store")
    .addOption(
      new Option(
        "--attestation <file>",
        "a Sigstore bundle that goes along with the package it is about; repeatable",
      ).argParser(collect),
    )
    .addOption(
      new Option(
        "--mirror-of <URL=URL>",
        "what lies below the first can be had below the second too; repeatable",
      ).argParser(collect),
    )
    .addOption(
      new Option("--name-filter <regex>", "which artifacts of CI builds, or files of a release, by their names"),
    )
    .option("--branch <name>", "only CI builds of this branch")
    .option("--commit <sha>", "only CI builds of this commit; of a pull request, in place of its newest")
    .option("--definition <name|id>", "only builds of this Azure pipeline")
    .option("--max-builds <n>", "how many of an Azure project's newest builds (1; 50 with a filter)", positiveWhole)
    .option("--allow-failed", "also what failed CI builds made")
    .option(
      "--author <login>",
      "all open pull requests of this person (@me: yours), in the repository that is the source",
    )
    .option("--label <name>", "all open pull requests with this label")
    .option("--with-deps [channel]", "also take what the packages need, from this channel, or from the source channels")
    .addOption(
      new Option(
        "--platform <platform>",
        "which platform of lock files, and which one --with-deps solves for; repeatable",
      ).argParser(collect),
    )
    .addOption(
      new Option("--environment <name>", "which environment of lock files; repeatable, all when absent").argParser(
        collect,
      ),
    )
    .option("--since-manifest <file>", "pack into a bundle only what differs from this manifest, or from a bundle's")
    .option("--dry-run", "print the plan, change nothing")
    .option("--max-concurrent-downloads <n>", "transfers that run at the same time (5)", whole)
    .option("--retry-attempts <n>", "repetitions after a failure that may pass (3)", whole)
    .option("--timeout-seconds <n>", "seconds one try of a request may take (300)", positive)
    .option("--limit-rate <bytes/s>", "what all transfers together may fetch a second, such as 500K or 2M")
    .addOption(new Option("--bandwidth <bytes/s>", "as --limit-rate").hideHelp())
    .option("--report <file>", "write what the run came to as JSON, for monitoring")
    .addOption(
      new Option("--job <name>", "of the jobs in the configuration file, only this one; repeatable").argParser(collect),
    );
}
