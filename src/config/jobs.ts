import { z } from "zod";
import { parseQuietHours } from "./quiet-hours.ts";

const one = z.string().min(1);
const some = z.union([one, z.array(one).min(1)], { error: "it is neither a text nor a list of texts" });
const hours = "it is not of the form [DAYS ]HH:MM-HH:MM[ ZONE], such as 'Mon-Fri 08:00-18:00 Europe/Berlin'";
const window = one.refine((text) => parseQuietHours(text) !== undefined, { error: hours });

/** A recurring mirror. Its keys are the flags of `mirror`. */
export const jobSchema = z
  .strictObject({
    name: one.optional().describe("What it is called in logs and reports; its number when absent."),
    enabled: z.boolean().optional().describe("false leaves it out; true when absent."),
    source: some.describe("One or more sources, as for mirror."),
    src_type: one.optional().describe("The type of all its sources; inferred when absent."),
    src_path: one.optional().describe("Which packages of an archive or artifact: a regular expression."),
    target: some.describe("One or more targets, as for mirror."),
    target_type: one.optional().describe("The type of all its targets; inferred when absent."),
    include: some.optional().describe("MatchSpecs: only what one of them matches."),
    exclude: some.optional().describe("MatchSpecs: nothing that one of them matches; stronger than include."),
    latest: z.int().min(1).optional().describe("So many of the newest versions of each name in each subdir."),
    latest_per: z.enum(["name", "minor"]).optional().describe("What latest counts by."),
    since: one.optional().describe("Only what was published since, such as 2025-01-31."),
    min_age: one.optional().describe("Only what was published so long ago, such as 3d or 12h."),
    max_size: one.optional().describe("Nothing larger, such as 200MB."),
    allow_license: some.optional().describe("Only packages under these licences: names or globs."),
    block_license: some.optional().describe("No packages that can only be had under these licences."),
    block_dependency: some.optional().describe("No packages that depend on these: names or globs."),
    delete: z.boolean().optional().describe("Also remove what the sources no longer have."),
    keep_removed: z.boolean().optional().describe("With delete: files stay."),
    max_delete: z
      .union([z.int().min(0), one])
      .optional()
      .describe("With delete: stop when more of a subdir would go, such as 5% or 100."),
    subdirs: some.optional().describe("Subdirs that are taken; all when absent."),
    platforms: some.optional().describe("Platforms of lock files, and those that with_deps solves for."),
    environments: some.optional().describe("Environments of lock files; all when absent."),
    with_deps: z
      .union([z.boolean(), one], { error: "it is neither true, false nor a channel" })
      .optional()
      .describe(
        "What the packages need is taken too: true from the source channels, or from the channel of that name.",
      ),
    mirror_of: some.optional().describe("URL=URL: what lies below the first can be had below the second too."),
    name_filter: one.optional().describe("Which artifacts of CI builds, or files of a release: a regular expression."),
    branch: one.optional().describe("Only CI builds of this branch."),
    commit: one.optional().describe("Only CI builds of this commit."),
    definition: one.optional().describe("Only builds of this Azure pipeline."),
    max_builds: z.int().min(1).optional().describe("How many of an Azure project's newest builds."),
    allow_failed: z.boolean().optional().describe("Also what failed CI builds made."),
    author: one.optional().describe("All open pull requests of this person."),
    label: one.optional().describe("All open pull requests with this label."),
    attestation: some.optional().describe("Sigstore bundles that go along with the packages they are about."),
    on_conflict: z.enum(["error", "skip", "replace"]).optional().describe("Same file name, other bytes."),
    since_manifest: one.optional().describe("A bundle as target is to be the difference to this manifest."),
    quiet_hours: z
      .union([window, z.array(window).min(1)], { error: hours })
      .optional()
      .describe("Hours in which it does not run: [DAYS ]HH:MM-HH:MM[ ZONE]."),
  })
  .describe("A recurring mirror.");

export type Job = z.infer<typeof jobSchema>;
