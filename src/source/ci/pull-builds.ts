import type { TokenSettings } from "../../auth/credentials.ts";
import { asMirrorError, InterruptedError, type MirrorError } from "../../errors.ts";
import { type AzureAddress, azureName } from "../azure/address.ts";
import type { AzureApi } from "../azure/api.ts";
import { artifactsOfBuild, buildById, jobResults, offeredAzureArtifact } from "../azure/builds.ts";
import type { GitHubApi } from "../github/api.ts";
import { artifactsOfRun, nameOf, offeredArtifact, wholeSha } from "../github/artifacts.ts";
import type { Offered } from "../offered.ts";
import type { Artifact } from "./artifact.ts";
import { buildsBehind, type CheckResult, type CheckState, checksOf, headOf, type Pull } from "./checks.ts";
import { azureVerdict, githubVerdict, type Verdict } from "./verdict.ts";

export interface Services {
  readonly github: GitHubApi;
  readonly azure: AzureApi;
  readonly tokens: TokenSettings;
}

/** What CI did for one commit of a pull request. */
export interface PullBuilds {
  /** Undefined when it is not known, because the fork is gone. */
  readonly commit: string | undefined;
  readonly checks: readonly CheckState[];
  /** Of all builds, whatever became of them. */
  readonly artifacts: readonly PullArtifact[];
  /** CI systems that we can't read. */
  readonly others: readonly string[];
  /** Builds that could not be asked about. */
  readonly errors: readonly MirrorError[];
}

export interface PullArtifact {
  readonly artifact: Artifact;
  readonly verdict: Verdict;
  readonly expired: boolean;
  /** What `info` tells of it. */
  readonly offered: Offered;
}

/** "conda-forge/staged-recipes#12345" */
export function pullName(pull: Pull): string {
  return `${nameOf(pull)}#${pull.number}`;
}

/**
 * From a pull request to what its checks built: checks, the builds behind them, their artifacts.
 * @param wanted a commit, whole or in short; the newest when undefined.
 * @throws MirrorError when GitHub can't be asked. A build that can't be is in `errors`.
 */
export async function buildsOfPull(
  pull: Pull,
  wanted: string | undefined,
  { github, azure, tokens }: Services,
  signal: AbortSignal,
): Promise<PullBuilds> {
  const head = await headOf(github, pull, signal);
  const commit = wanted === undefined ? head.commit : await wholeSha(github, pull, wanted, signal);
  if (commit === undefined) return { commit, checks: [], artifacts: [], others: [], errors: [] };
  const checks = await checksOf(github, pull, commit, signal);
  const addresses = { web: github.web, githubApiUrl: tokens.github_api_url, azureUrl: tokens.azure_devops_url };
  const builds = buildsBehind(checks, head.now, addresses);
  const artifacts: PullArtifact[] = [];
  const errors: MirrorError[] = [];
  const look = async (what: string, found: Promise<PullArtifact[]>): Promise<void> => {
    try {
      artifacts.push(...(await found));
    } catch (e) {
      const error = asMirrorError(e, what);
      if (error instanceof InterruptedError) throw error;
      errors.push(error);
    }
  };
  for (const of of builds.azure) await look(azureName(of), ofAzure(azure, of, signal));
  for (const run of builds.runs) await look(`${nameOf(pull)}@${run.id}`, ofRun(github, pull, run, signal));
  return { commit, checks, artifacts, others: builds.others, errors };
}

async function ofAzure(
  azure: AzureApi,
  of: AzureAddress & { readonly build: string },
  signal: AbortSignal,
): Promise<PullArtifact[]> {
  const build = await buildById(azure, of, signal);
  const artifacts = await artifactsOfBuild(azure, of, build, signal);
  const jobs = artifacts.length > 0 ? await jobResults(azure, of, signal) : new Map<string, string | undefined>();
  return artifacts
    .filter((artifact) => artifact.reachable)
    .map((artifact) => ({
      artifact,
      verdict: azureVerdict(artifact, build, jobs),
      expired: false,
      offered: offeredAzureArtifact(of, artifact),
    }));
}

async function ofRun(
  github: GitHubApi,
  pull: Pull,
  { id, states }: { readonly id: string; readonly states: readonly CheckResult[] },
  signal: AbortSignal,
): Promise<PullArtifact[]> {
  const artifacts = await artifactsOfRun(github, pull, id, signal);
  return artifacts.map((artifact) => ({
    artifact,
    verdict: githubVerdict(artifact, states),
    expired: artifact.expired,
    offered: offeredArtifact(pull, artifact),
  }));
}
