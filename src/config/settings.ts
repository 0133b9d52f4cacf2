import { z } from "zod";
import { jobSchema } from "./jobs.ts";
import { RATE } from "./rate.ts";

const NO_RATE = "it is neither a number of bytes a second nor one with K, M or G behind it";

/**
 * Every setting, with its default. The names and defaults of the first nine are those of the Rust tool of the same
 * name, so that its files keep working.
 */
export const settingsSchema = z
  .strictObject({
    max_concurrent_downloads: z.int().min(1).max(1000).default(5).describe("Transfers that run at the same time."),
    packages_per_round: z
      .int()
      .min(1)
      .default(20_000)
      .describe(
        "Packages of channels that are brought before they are published; bounds memory, and what a killed run loses.",
      ),
    retry_attempts: z
      .int()
      .min(0)
      .max(100)
      .default(3)
      .describe("Repetitions after a failure that may pass; never for 404 or 401."),
    timeout_seconds: z
      .number()
      .positive()
      .max(86_400)
      .default(300)
      .describe("Seconds one try of a request may take; a broken transfer goes on where it stopped."),
    limit_rate: z
      .union([z.number().min(0, { error: NO_RATE }), z.string().regex(RATE, { error: NO_RATE })], { error: NO_RATE })
      .nullable()
      .default(null)
      .describe("Bytes a second that all transfers together may fetch, such as 2M; null or 0 for no limit."),
    s3_region: z.string().nullable().default(null).describe("Region of S3 targets."),
    s3_endpoint: z.url().nullable().default(null).describe("Address of an S3 server that is not AWS, such as MinIO."),
    s3_addressing_style: z
      .enum(["auto", "path", "virtual-host"])
      .default("auto")
      .describe("Where a bucket's name goes: auto is the path for servers of your own, the host name for AWS."),
    s3_anonymous: z.boolean().default(false).describe("Sign no requests to S3, whatever keys there are."),
    github_token: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe("Token for GitHub; sent to GitHub's hosts alone."),
    azure_devops_token: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe("Token for Azure DevOps; sent to its host alone."),
    github_api_url: z
      .url()
      .default("https://api.github.com")
      .describe("GitHub's API, or that of a GitHub Enterprise host."),
    azure_devops_url: z
      .url()
      .default("https://dev.azure.com")
      .describe("Azure DevOps Services, or a server of your own."),
    zstd_level: z
      .int()
      .min(1)
      .max(19)
      .nullable()
      .default(null)
      .describe("Compression of repodata.json.zst: 1 is fastest, 19 smallest; null chooses by the size of the index."),
    write_zst: z.boolean().default(true).describe("Write repodata.json.zst."),
    write_bz2: z.boolean().default(false).describe("Write repodata.json.bz2, which only old clients ask for."),
    write_shards: z.boolean().default(true).describe("Write sharded repodata (CEP 16)."),
    write_current_repodata: z
      .boolean()
      .default(true)
      .describe("Write current_repodata.json, for conda's classic solver."),
    write_run_exports: z.boolean().default(true).describe("Write run_exports.json (CEP 12)."),
    write_channeldata: z.boolean().default(true).describe("Let index write channeldata.json (CEP 38)."),
    write_html: z.boolean().default(true).describe("Let index write pages to browse the channel."),
    delete_grace_days: z
      .number()
      .min(0)
      .max(3650)
      .default(7)
      .describe("How long the file of a package stays that --delete took from the index."),
    channel_alias: z
      .url()
      .default("https://conda.anaconda.org")
      .describe("What stands before the bare name of a channel, such as conda-forge."),
    base_url: z
      .string()
      .nullable()
      .default(null)
      .describe(
        'The channel that packages lie in when not beside the index (CEP 15), each in its subdir\'s folder there; null keeps what the index says, "" removes it.',
      ),
    shard_grace_days: z
      .number()
      .min(0)
      .max(3650)
      .default(7)
      .describe("Days that a shard stays after the last index that named it."),
    lock_file: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe("The file whose lock keeps two runs of the jobs apart; null for one in the user's state folder."),
    jobs: z
      .array(jobSchema)
      .default([])
      .describe("Recurring mirrors: mirror --config FILE without a source runs them."),
  })
  .describe("Settings of meso-forge-mirror.");

/** All settings, complete and checked. */
export type Settings = z.infer<typeof settingsSchema>;

/** Some settings, as a file, the environment or flags give them. */
export type PartialSettings = { readonly [K in keyof Settings]?: Settings[K] | undefined };

/** Where the JSON Schema of the configuration file is published. */
export const SCHEMA_URL = "https://unpkg.com/meso-forge-mirror/schema/config.schema.json";

/** The JSON Schema of a configuration file (draft 2020-12). */
export function configJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(settingsSchema, { io: "input" }) as Record<string, unknown> & {
    properties: Record<string, unknown>;
  };
  const comments = { "^_": { description: "Keys that begin with an underscore are comments." } };
  const properties = schema["properties"] as Record<string, { items?: object }>;
  const jobs = { ...properties["jobs"], items: { ...properties["jobs"]?.items, patternProperties: comments } };
  return {
    $schema,
    $id: SCHEMA_URL,
    title: "meso-forge-mirror configuration",
    ...schema,
    properties: { $schema: { type: "string" }, ...properties, jobs },
    patternProperties: comments,
  };
}
