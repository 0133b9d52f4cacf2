import { z } from "zod";

/** Where the JSON Schema of what `verify --json` prints is published. */
export const VERIFY_SCHEMA_URL = "https://unpkg.com/meso-forge-mirror/schema/verify.schema.json";

const count = z.int().min(0);

const CODES = [
  "PACKAGE_MISSING",
  "PACKAGE_SIZE",
  "PACKAGE_DAMAGED",
  "PACKAGE_UNREADABLE",
  "PACKAGE_OUTSIDE",
  "PACKAGE_BROKEN",
  "PACKAGE_DIFFERS",
  "PACKAGE_UNLISTED",
  "RECORD_UNUSABLE",
  "REMOVED_UNUSABLE",
  "INDEX_MISSING",
  "INDEX_UNREADABLE",
  "FORM_UNREADABLE",
  "FORM_DIFFERS",
  "SHARD_MISSING",
  "SHARD_DAMAGED",
  "SHARD_DIFFERS",
  "SIDECAR_MISSING",
  "SIDECAR_DAMAGED",
] as const;

const finding = z.strictObject({
  code: z.enum(CODES),
  subdir: z.string(),
  fileName: z.string().describe("A package, or a file of the index; its path inside the subdir."),
  what: z.string().describe("What is wrong."),
  why: z.string().describe("What was seen."),
  next: z.string().describe("What to do next."),
  mended: z.string().optional().describe("How it was mended; in a dry run how it would be."),
  left: z.string().optional().describe("Why it was not, where mending was tried."),
});

/** What `verify --json` prints. */
export const verifySchema = z
  .strictObject({
    $schema: z.literal(VERIFY_SCHEMA_URL),
    channel: z.string().describe("Path or URL, secrets removed."),
    quick: z.boolean().describe("Packages were looked at by presence and size alone."),
    dryRun: z.boolean().describe("It was only told what a repair would do."),
    subdirs: z
      .array(z.strictObject({ subdir: z.string(), records: count, findings: count }))
      .describe("Those that were looked at to their end."),
    packages: count.describe("Packages that were looked at."),
    bytes: count.describe("Bytes of them that were read."),
    unhashed: count.describe("Packages whose record says no hash to check by."),
    elsewhere: count.describe("Packages that lie elsewhere (CEP 15) and were not looked at."),
    arriving: count.describe("Packages that no record names yet, and that another run may be about to list."),
    found: count,
    mended: count,
    counts: z.partialRecord(z.enum(CODES), count).describe("Findings by their code."),
    findings: z.array(finding).describe("At most 20,000 of them; found and counts are of all."),
    quarantined: z.array(z.string()).describe("Damaged files that were set aside, where they lie now."),
    written: z.array(z.string()).describe("Index files that were written."),
    milliseconds: count,
    interrupted: z.boolean(),
    exitCode: z.union([z.literal(0), z.literal(1), z.literal(130)]),
  })
  .describe("What a run of meso-forge-mirror verify came to.");

/** The JSON Schema of what `verify --json` prints (draft 2020-12). */
export function verifyJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(verifySchema) as Record<string, unknown>;
  return { $schema, $id: VERIFY_SCHEMA_URL, title: "meso-forge-mirror verify", ...schema };
}
