import type { AzureArtifact, AzureBuild } from "../azure/builds.ts";
import type { GitHubArtifact } from "../github/artifacts.ts";
import type { CheckResult } from "./checks.ts";

/** Whether what a build made is to be trusted: "good", or why not. */
export type Verdict = "good" | "failed" | "running";

const GOOD = ["succeeded", "succeededWithIssues", "partiallySucceeded"];

/**
 * An artifact of Azure, by the job that made it: a build fails as a whole when one platform fails, and the packages of
 * the others are good. Where its job is not known, by the whole build.
 */
export function azureVerdict(
  artifact: AzureArtifact,
  build: AzureBuild,
  jobs: ReadonlyMap<string, string | undefined>,
): Verdict {
  const job = artifact.source?.toLowerCase();
  const known = job !== undefined && jobs.has(job);
  const result = known ? jobs.get(job) : build.result;
  if (result === undefined || result === "none") return "running";
  // "Partially" may be about the very job that made this.
  return GOOD.includes(result) && (known || result !== "partiallySucceeded") ? "good" : "failed";
}

/**
 * An artifact of GitHub Actions. Which job made it can't be asked; but conda-smithy names artifacts by how the job
 * ended: `conda_pkgs_` when it succeeded, `conda_artifacts_` and `conda_envs_` when it failed. Others are as good as their run.
 */
export function githubVerdict(artifact: GitHubArtifact, states: readonly CheckResult[]): Verdict {
  if (states.every((s) => s === "success" || s === "skipped")) return "good";
  if (/^conda_pkgs_\d+_/.test(artifact.name)) return "good";
  if (/^conda_(?:artifacts|envs)_\d+_/.test(artifact.name)) return "failed";
  return states.every((s) => s === "success" || s === "skipped" || s === "pending") ? "running" : "failed";
}
