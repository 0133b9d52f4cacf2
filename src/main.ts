/**
 * The library: what `import "meso-forge-mirror"` gives.
 * @packageDocumentation
 */

export { type FileNameParts, parseFileName } from "./conda/file-name.ts";
export { type LoadOptions, loadSettings } from "./config/load.ts";
export { reportJsonSchema } from "./config/report-schema.ts";
export { configJsonSchema, type PartialSettings, type Settings } from "./config/settings.ts";
export { verifyJsonSchema } from "./config/verify-schema.ts";
export {
  InterruptedError,
  MirrorError,
  type PackageCode,
  PackageError,
  type SourceCode,
  SourceError,
  type TargetCode,
  TargetError,
  type TransferCode,
  TransferError,
  type UsageCode,
  UsageError,
} from "./errors.ts";
export type {
  IndexEvent,
  IndexReport,
  MirrorEvent,
  MirrorReport,
  Outcome,
  PlannedStep,
  PruneEvent,
  PruneReport,
  TargetReport,
} from "./events.ts";
export { type IndexOptions, indexChannel } from "./index-channel.ts";
export { type InfoOptions, type InfoReport, type InfoRow, info, type PackageRow } from "./info.ts";
export { type JobsOptions, runJobs } from "./jobs.ts";
export { mirror } from "./mirror.ts";
export { type InfoMember, type PackageInfo, readPackage } from "./package/read.ts";
export { type ReadAt, readAtBuffer } from "./package/read-at.ts";
export { type FileFacts, type MadeRecord, makeRecord } from "./package/record.ts";
export type { PackageDetails, PackagedFile, PackageFacts } from "./package-details.ts";
export type { OnConflict } from "./plan/plan.ts";
export { type PruneOptions, prune } from "./prune.ts";
export type { CiFilter, MirrorOptions } from "./run.ts";
export { type JobReport, type JobResult, makeRunReport, type RunReport, writeRunReport } from "./run-report.ts";
export type { CheckState } from "./source/ci/checks.ts";
export type { Offered } from "./source/offered.ts";
export type { FindingCode } from "./verify/finding.ts";
export { type VerifyOptions, verify } from "./verify.ts";
export type { ReportedFinding, VerifyEvent, VerifyReport } from "./verify-report.ts";
export { type Round, type WatchOptions, watch } from "./watch.ts";
