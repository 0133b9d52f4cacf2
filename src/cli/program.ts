import { Command, Option } from "commander";
import { VERSION } from "../version.ts";
import { choice } from "./choice-flags.ts";
import { type CommonFlags, common, s3 } from "./common-flags.ts";
import { duration } from "./flag-values.ts";
import { type IndexFlags, indexFlags } from "./index-flags.ts";
import { type InfoFlags, infoFlags, lookingFlags } from "./info-flags.ts";
import { type MirrorFlags, mirrorFlags, type Spellings, spelled } from "./mirror-flags.ts";
import { type PruneFlags, pruneFlags } from "./prune-flags.ts";
import { type VerifyFlags, verifyFlags } from "./verify-flags.ts";

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
  mirrorFlags(common(s3(choice(root.command("mirror [source...]")))))
    .description("copy packages from sources into a target, and index it")
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
  const infos = infoFlags(common(root.command("info [source]")))
    .description("list what a source offers, with the command that takes it; tell everything about one package")
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
  lookingFlags(infos, mirrors);
  indexFlags(common(s3(root.command("index <channel>"))))
    .description("build or refresh the index files of a channel")
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
  pruneFlags(common(s3(root.command("prune <channel>"))))
    .description("remove by rule, index first, files after a grace period; without rules, clean up")
    .addHelpText(
      "after",
      `
The rules mean what they mean in mirror: what they want stays, the rest goes. Without any, only files go whose grace period is
over, shards that no index names, and what runs that were killed left behind.

Examples:
  ${NAME} prune /srv/channel --latest 3 --dry-run
  ${NAME} prune s3://bucket/channel --since 2025-01-31 --subdir linux-64
  ${NAME} prune /srv/channel`,
    )
    .action(async (channel: string, flags: PruneFlags) => {
      (await import("./small-heap.ts")).keepHeapsSmall();
      const { pruneCommand } = await import("./prune-command.ts");
      exit(await pruneCommand(channel, flags));
    });
  verifyFlags(common(s3(root.command("verify <channel>"))))
    .description("audit a channel against its index, and repair it")
    .addHelpText(
      "after",
      `
Reads every package and every file of the index, and changes nothing but with --repair. Ends with 0 where the channel is whole, with
1 where something was found and not mended. Of what other runs write at the same moment nothing false is told.

Examples:
  ${NAME} verify /srv/channel
  ${NAME} verify s3://bucket/channel --quick --json
  ${NAME} verify /srv/channel --repair --from https://conda.anaconda.org/conda-forge --dry-run`,
    )
    .action(async (channel: string, flags: VerifyFlags) => {
      (await import("./small-heap.ts")).keepHeapsSmall();
      const { verifyCommand } = await import("./verify-command.ts");
      exit(await verifyCommand(channel, flags));
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
