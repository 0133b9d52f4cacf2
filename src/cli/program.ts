import { Command, InvalidArgumentError, Option } from "commander";
import { VERSION } from "../version.ts";
import { type ChoiceFlags, choice } from "./choice-flags.ts";

/** Flags that every command takes, as commander parses them. */
export interface CommonFlags {
  readonly config?: string;
  readonly logLevel?: string;
  readonly logFormat: "pretty" | "json";
  readonly progress: "auto" | "always" | "never" | false;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly color?: boolean;
}

/** Flags of commands that read or write S3. */
export interface S3Flags {
  readonly s3Region?: string;
  readonly s3Endpoint?: string;
  readonly s3AddressingStyle?: "auto" | "path" | "virtual-host";
  readonly s3Anonymous?: boolean;
}

export interface MirrorFlags extends CommonFlags, S3Flags, ChoiceFlags {
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
  readonly nameFilter?: string;
  readonly branch?: string;
  readonly commit?: string;
  readonly definition?: string;
  readonly maxBuilds?: number;
  readonly allowFailed?: boolean;
  readonly author?: string;
  readonly label?: string;
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

export interface InitFlags extends CommonFlags {
  readonly output: string;
  readonly force?: boolean;
}

const NAME = "meso-forge-mirror";

/** The whole command line. Commands load their code when they run. */
export function program(exit: (code: number) => void): Command {
  const root = new Command(NAME)
    .description("Brings conda packages from URLs and files into channels that conda, mamba and pixi install from.")
    .version(VERSION, "--version", "print the version")
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .configureOutput({
      outputError: (text, write) =>
        write(
          `${text.trimEnd().replace(/\n/g, "\n  ")}\n  the command line could not be understood\n  see ${NAME} --help, or ${NAME} COMMAND --help\n`,
        ),
    })
    .exitOverride();
  common(s3(choice(root.command("mirror [source...]"))))
    .description("copy packages from sources into a target, and index it")
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
    )
    .addHelpText(
      "after",
      `
Examples:
  ${NAME} mirror https://example.com/noarch/wheel-0.42.0-pyhd8ed1ab_0.conda --target-path ./my-channel
  ${NAME} mirror ./output 'builds/**/*.conda' --target-path /srv/channel --dry-run
  ${NAME} mirror https://github.com/conda-forge/staged-recipes/pull/12345 --target-path ./my-channel
  ${NAME} mirror --config jobs.yaml --report /var/lib/mirror/report.json    (all jobs of the file)
  ${NAME} mirror conda-forge --include 'python >=3.12' --subdir linux-64 --delete --target-path /srv/python`,
    )
    .action(async (sources: string[], flags: MirrorFlags & Spellings) => {
      (await import("./small-heap.ts")).keepHeapsSmall();
      const { mirrorCommand } = await import("./mirror-command.ts");
      exit(await mirrorCommand(...spelled(sources, flags)));
    });
  // The same flags, of the same meaning.
  const mirrors = root.commands.find((c) => c.name() === "mirror") as Command;
  const watches = root.command("watch [source...]").exitOverride();
  watches
    .description("mirror again and again: what is new is taken, what is there is kept")
    .addOption(
      new Option("--interval <time>", "from the end of one round to the next: 90s, 10m, 6h, 1d")
        .argParser(duration)
        .default(600_000, "10m"),
    );
  for (const option of mirrors.options)
    if (option.long !== "--job" && option.long !== "--report") watches.addOption(option);
  watches
    .addHelpText(
      "after",
      `
Takes mirror's flags. A round that fails is told, and the next one comes all the same. Ctrl-C ends it; with --json, each round is
one JSON document on a line of its own.

Example:
  ${NAME} watch conda-forge/staged-recipes --author me --interval 10m --target-path ./my-channel`,
    )
    .action(async (sources: string[], flags: MirrorFlags & Spellings & { interval: number }) => {
      (await import("./small-heap.ts")).keepHeapsSmall();
      const { watchCommand } = await import("./watch-command.ts");
      exit(await watchCommand(...spelled(sources, flags), flags.interval));
    });
  const infos = common(root.command("info [source]"))
    .description("list what a source offers, with the command that takes it; tell everything about one package")
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
    )
    .addHelpText(
      "after",
      `
Nothing is fetched whole: lists come from services, what packages say of themselves by range requests.

Examples:
  ${NAME} info https://example.com/noarch/wheel-0.42.0-pyhd8ed1ab_0.conda
  ${NAME} info artifact.zip --encode json
  ${NAME} info --pr 12345`,
    )
    .action(async (source: string | undefined, flags: InfoFlags) => {
      const { infoCommand } = await import("./info-command.ts");
      exit(await infoCommand(source ?? flags.src, flags));
    });
  for (const option of mirrors.options) if (LOOKING.includes(option.attributeName())) infos.addOption(option);
  common(s3(root.command("index <channel>")))
    .description("build or refresh the index files of a channel")
    .addOption(new Option("--subdir <subdir>", "only this subdir; repeatable").argParser(collect))
    .option("--patch <path>", "patch instructions: a folder or a package with <subdir>/patch_instructions.json")
    .option("--base-url <url>", "where packages lie, when not beside the index (CEP 15)")
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
    .option("--threads <n>", "threads that read packages; one a processor when absent", positive)
    .addHelpText(
      "after",
      `
Each file can be switched with --FILE and --no-FILE; all but bz2 are on. Packages whose size, time and inode are as they were are
not read again. Records that are there stay as they are, hot-fixes included.

Examples:
  ${NAME} index /srv/channel
  ${NAME} index /srv/channel --patch conda-forge-repodata-patches-20250101-0.conda --no-html`,
    )
    .action(async (channel: string, flags: IndexFlags) => {
      const { indexCommand } = await import("./index-command.ts");
      exit(await indexCommand(channel, flags));
    });
  common(root.command("init-config"))
    .alias("init")
    .description("write a configuration file with the defaults")
    .option("-o, --output <file>", "where to: .json, .yaml or .toml", `${NAME}.json`)
    .option("--force", "write over a file that is there")
    .action(async (flags: InitFlags) => {
      const { initConfig } = await import("./init-config.ts");
      exit(await initConfig(flags));
    });
  common(root.command("completion"))
    .description("print a completion script")
    .argument("<shell>", "bash, zsh, fish or powershell")
    .addHelpText("after", `\nExample:\n  source <(${NAME} completion bash)`)
    .action(async (shell: string) => {
      const { completion } = await import("./completion.ts");
      process.stdout.write(completion(shell, root));
    });
  return root;
}

/** Flags that have two names. */
interface Spellings {
  readonly src?: readonly string[];
  readonly tgt?: readonly string[];
  readonly tgtType?: string;
}

/** Sources and flags of `mirror`, whichever names they were given under. */
function spelled(sources: readonly string[], flags: MirrorFlags & Spellings): [readonly string[], MirrorFlags] {
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

/** A file that a flag switches on and its `--no-` twin off; without either, the configuration decides. */
function onOff(flag: string, file: string): Option {
  return new Option(flag, `write ${file}, or not: --no-${flag.slice(2)}`);
}

function common(command: Command): Command {
  return command
    .exitOverride()
    .option("-c, --config <file>", "a configuration file: .json, .yaml or .toml")
    .addOption(
      new Option("--log-level <level>", "default info, or MESO_FORGE_LOG").choices([
        "trace",
        "debug",
        "info",
        "warn",
        "error",
        "silent",
      ]),
    )
    .addOption(new Option("--log-format <format>").choices(["pretty", "json"]).default("pretty"))
    .addOption(new Option("--progress <when>").choices(["auto", "always", "never"]).default("auto"))
    .option("--no-progress", "as --progress never")
    .option("--json", "one JSON document on stdout at the end, nothing else there")
    .option("-q, --quiet", "errors only")
    .option("-v, --verbose", "more about everything, with the stack of errors")
    .option("--no-color", "no colours; so does NO_COLOR");
}

function s3(command: Command): Command {
  return command
    .option("--s3-endpoint <url>", "an S3 server that is not AWS, such as http://localhost:9000")
    .option("--s3-region <region>", "the region of the bucket; AWS tells it")
    .addOption(
      new Option("--s3-addressing-style <style>", "where the bucket's name goes; path for servers of your own").choices(
        ["auto", "path", "virtual-host"],
      ),
    )
    .option("--s3-anonymous", "sign no requests to S3");
}

function list(value: string, before: string[] | undefined): string[] {
  return [
    ...(before ?? []),
    ...value
      .split(",")
      .map((s) => s.trim())
      .filter((s) => s !== ""),
  ];
}

function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

function whole(value: string): number {
  if (!/^\d+$/.test(value)) throw new InvalidArgumentError("a whole number was expected");
  return Number(value);
}

function positiveWhole(value: string): number {
  const number = whole(value);
  if (number === 0) throw new InvalidArgumentError("a number above 0 was expected");
  return number;
}

function positive(value: string): number {
  const number = Number(value);
  if (!(number > 0)) throw new InvalidArgumentError("a number above 0 was expected");
  return number;
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "10m" as milliseconds; a bare number is seconds. A timer can't be set for longer than 24 days. */
function duration(value: string): number {
  const [, number, unit = "s"] = /^(\d+(?:\.\d+)?)([smhd])?$/.exec(value) ?? [];
  const ms = Number(number) * (UNITS[unit] as number);
  if (!(ms > 0 && ms < 2 ** 31)) throw new InvalidArgumentError("a time was expected, such as 90s, 10m, 6h or 1d");
  return ms;
}
