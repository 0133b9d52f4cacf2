import { type Command, Option } from "commander";
import type { Explanation } from "../events.ts";
import type { MirrorOptions } from "../run.ts";

/** Flags that say which packages are taken, and what goes when a source has it no longer. */
export interface ChoiceFlags {
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  readonly subdir?: readonly string[];
  readonly latest?: number;
  readonly latestPer?: "name" | "minor";
  readonly since?: string;
  readonly minAge?: string;
  readonly maxSize?: string;
  readonly allowLicense?: readonly string[];
  readonly blockLicense?: readonly string[];
  readonly blockDependency?: readonly string[];
  readonly explain?: string;
  readonly delete?: boolean;
  readonly keepRemoved?: boolean;
  readonly maxDelete?: string;
  readonly deleteGraceDays?: number;
}

/** Adds the flags to a command. */
export function choice(command: Command): Command {
  return rules(command)
    .option("--delete", "also remove what the sources no longer have: index first, files after a grace period")
    .option("--keep-removed", "with --delete: files stay, for lock files that name them")
    .option("--max-delete <n|n%>", "with --delete: stop when more of a subdir would go (10%)")
    .option("--delete-grace-days <n>", "how long files stay that --delete took from the index (7)", Number);
}

/** Adds the flags that say which packages are meant. */
export function rules(command: Command): Command {
  const many = (flag: string, what: string) =>
    new Option(flag, `${what}; repeatable`).argParser((value: string, before: string[] | undefined) => [
      ...(before ?? []),
      value,
    ]);
  return command
    .addOption(many("--include <spec>", "only what this MatchSpec matches, such as 'numpy >=2'"))
    .addOption(many("--exclude <spec>", "nothing that this MatchSpec matches; stronger than --include"))
    .addOption(many("--subdir <subdir>", "only this subdir"))
    .option("--latest <n>", "so many of the newest versions of each name in each subdir", Number)
    .addOption(new Option("--latest-per <what>", "what --latest counts by").choices(["name", "minor"]))
    .option("--since <date>", "only what was published since, such as 2025-01-31")
    .option("--min-age <time>", "only what was published so long ago, such as 3d or 12h")
    .option("--max-size <bytes>", "nothing larger, such as 200MB")
    .addOption(many("--allow-license <name>", "only packages under this licence: a name or a glob"))
    .addOption(many("--block-license <name>", "no packages that can only be had under this licence"))
    .addOption(many("--block-dependency <name>", "no packages that depend on this: a name or a glob"))
    .option("--explain <package>", "tell why packages are taken or left out, and do nothing else");
}

/** The same as options of the library. */
export function choiceOptions(flags: ChoiceFlags): Partial<MirrorOptions> {
  const options: Partial<MirrorOptions> = {
    include: flags.include ?? [],
    exclude: flags.exclude ?? [],
    allowLicenses: flags.allowLicense ?? [],
    blockLicenses: flags.blockLicense ?? [],
    blockDependencies: flags.blockDependency ?? [],
  };
  const { subdir: subdirs, latest, latestPer, since, minAge, maxSize, explain, keepRemoved, maxDelete } = flags;
  const given = { subdirs, latest, latestPer, since, minAge, maxSize, explain, keepRemoved, maxDelete };
  const more = { ...given, delete: flags.delete };
  return { ...options, ...Object.fromEntries(Object.entries(more).filter(([, value]) => value !== undefined)) };
}

/** What `--explain` tells: a line a package, its reasons below. */
export function explanationText(explanations: readonly Explanation[], where = "no source has"): string {
  if (explanations.length === 0) return `${where} such a package`;
  return explanations
    .map(
      ({ subdir, fileName, taken, why }) =>
        `${taken ? "in " : "out"} ${subdir}/${fileName}\n      ${why.join("\n      ")}`,
    )
    .join("\n");
}
