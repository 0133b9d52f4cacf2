import { z } from "zod";

/** Where the JSON Schema of reports is published. */
const REPORT_SCHEMA_URL = "https://unpkg.com/meso-forge-mirror/schema/report.schema.json";

const count = z.int().min(0);
const failure = z.strictObject({
  code: z.string().describe("The error's code, such as HASH_MISMATCH."),
  what: z.string().describe("What failed."),
  why: z.string().describe("The cause."),
  next: z.string().describe("What to do next."),
});
const counts = {
  added: count,
  replaced: count,
  kept: count,
  removed: count.describe("Records that went from the index."),
  skipped: count,
  failed: count,
};
const moment = z.iso.datetime().describe("UTC");

const target = z.strictObject({
  target: z.string().describe("Path or URL, secrets removed."),
  ...counts,
  error: failure.optional().describe("Set when its index could not be written."),
});

const step = z.strictObject({
  do: z.enum(["add", "replace", "keep", "skip", "refuse", "remove"]),
  fileName: z.string(),
  subdir: z.string().optional(),
  bytes: count.optional(),
  origin: z.string().describe("Path or URL, secrets removed."),
  error: failure.optional().describe("Why it is refused."),
  target: z.string().optional().describe("Which target, where the job has several."),
});

const jobReport = z.strictObject({
  name: z.string(),
  status: z
    .enum(["done", "failed", "interrupted", "quiet", "stopped", "not begun"])
    .describe(
      "quiet: not run because of its quiet hours; stopped: ended early because they began; not begun: the whole run was interrupted before.",
    ),
  exitCode: z.int().describe("What mirror would have ended with for it alone."),
  began: moment.optional(),
  ended: moment.optional(),
  ...counts,
  bytes: count.describe("Bytes of packages that were fetched or copied, each once."),
  targets: z.array(target),
  failures: z
    .array(failure.extend({ fileName: z.string(), origin: z.string() }))
    .describe("Each package or source that failed."),
  error: failure.optional().describe("Why it could not begin, or not be brought to its end."),
  plan: z.array(step).optional().describe("Of a dry run: what would be done about each package."),
});

/** What a run came to, for monitoring: the file of `--report`. */
export const reportSchema = z
  .strictObject({
    $schema: z.literal(REPORT_SCHEMA_URL),
    version: z.literal(1),
    tool: z.string().describe("The version of meso-forge-mirror."),
    began: moment,
    ended: moment.describe("A report that is old tells of a run that did not end."),
    exitCode: z.int().describe("What the whole run ended with."),
    jobs: z.array(jobReport).describe("A run of mirror without jobs has one, called mirror."),
  })
  .describe("What a run of meso-forge-mirror came to.");

export type RunReport = z.infer<typeof reportSchema>;
export type JobReport = z.infer<typeof jobReport>;

/** The JSON Schema of a report (draft 2020-12). */
export function reportJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(reportSchema) as Record<string, unknown>;
  return { $schema, $id: REPORT_SCHEMA_URL, title: "meso-forge-mirror report", ...schema };
}
