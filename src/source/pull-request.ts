import { asMirrorError, InterruptedError, type MirrorError, SourceError, UsageError } from "../errors.ts";
import { redactUrl } from "../transfer/redact.ts";
import { type AzureApi, azureApi } from "./azure/api.ts";
import { artifactsOfBuild, buildById, jobResults } from "./azure/builds.ts";
import type { Artifact } from "./ci/artifact.ts";
import { packagesInArtifacts } from "./ci/artifact-packages.ts";
import { buildsBehind, type CheckState, checksOf, headOf, openPulls, type Pull } from "./ci/checks.ts";
import { namePattern } from "./ci/filter.ts";
import { azureVerdict, githubVerdict, type Verdict } from "./ci/verdict.ts";
import { githubAddress } from "./github/address.ts";
import { type GitHubApi, githubApi, webOf } from "./github/api.ts";
import { artifactsOfRun, nameOf, type Repository, wholeSha } from "./github/artifacts.ts";
import type { SourceContext } from "./kinds.ts";
import type { Source } from "./source.ts";

/** A pull request, or the repository whose pull requests are asked for by author or label. */
export type PullAddress = (Pull & { readonly commit?: string }) | (Repository & { readonly number?: undefined });

/** Where names without an owner are looked for. */
const OWNER = "conda-forge";

/**
 * Reads a pull request's address: `owner/repo/pull/N`, `staged-recipes#N`, its web address; and a repository.
 * @returns undefined for what is none of these
 */
export function pullAddress(text: string, apiUrl: string): PullAddress | undefined {
  const [, repo, number] = /^([A-Za-z0-9._-]{1,100})(?:#(\d{1,19}))?$/.exec(text) ?? [];
  if (/^\d{1,19}$/.test(text)) return { owner: OWNER, repo: "staged-recipes", number: text };
  if (repo !== undefined && repo !== "." && repo !== "..")
    return { owner: OWNER, repo, ...(number === undefined ? {} : { number }) } as PullAddress;
  const found = githubAddress(text, webOf(apiUrl), apiUrl);
  if (!found) return undefined;
  const of = { owner: found.owner, repo: found.repo };
  if (found.what === "repository") return of;
  if (found.what === "pull")
    return { ...of, number: found.number, ...(found.commit === undefined ? {} : { commit: found.commit }) };
  // "owner/repo#N" is how GitHub itself writes a pull request.
  if (found.what === "artifact" && !text.includes("/actions/")) return { ...of, number: found.number };
  return undefined;
}

/**
 * The packages that CI built for a pull request, wherever it ran: GitHub says which checks its newest commit has, and
 * their pages lead to the builds. What failed builds made is left out, unless the filter allows it.
 */
export function pullRequestSource(text: string, context: SourceContext): Source {
  const { ci, tokens } = context;
  const address = pullAddress(text, tokens.github_api_url);
  const query = ci.author !== undefined || ci.label !== undefined;
  const refuse = (why: string, next: string) =>
    new UsageError("BAD_SOURCE", { what: `${redactUrl(text)}: not a pull request`, why, next });
  if (!address)
    throw refuse(
      "it is neither a pull request's web address nor owner/repo/pull/N nor staged-recipes#N",
      `give one of these; github_api_url is the setting for other hosts than ${redactUrl(tokens.github_api_url)}`,
    );
  if (address.number === undefined && !query)
    throw refuse("it names a repository", "add /pull/N, or choose its open ones with --author or --label");
  if (address.number === undefined && ci.commit !== undefined)
    throw refuse("--commit is of one pull request", "leave it out, or name the pull request");
  const named = namePattern(ci);
  const github = githubApi(context);
  const azure = azureApi(context);
  return {
    what:
      address.number === undefined
        ? `open pull requests of ${nameOf(address)}`
        : `${nameOf(address)}#${address.number}`,
    async *packages(signal) {
      if (address.number !== undefined) {
        const { artifacts, why } = await builtFor(address, ci.commit ?? address.commit, signal);
        if (artifacts.length === 0) throw nothing(address, why, ci.allowFailed === true);
        yield* packagesInArtifacts(artifacts, `${nameOf(address)}#${address.number}`, context, signal);
        return;
      }
      const pulls = await openPulls(github, address, ci, signal);
      if (pulls.length === 0) context.warn(`${nameOf(address)}: no open pull request is ${queryText(ci)}`);
      let first: MirrorError | undefined;
      for (const pull of pulls) {
        const what = `${nameOf(pull)}#${pull.number}`;
        try {
          const { artifacts, why } = await builtFor(pull, undefined, signal);
          // Of many, some have not been built yet: no failure of ours.
          if (artifacts.length === 0) context.warn(`${what}: nothing to take: ${why}`);
          else yield* packagesInArtifacts(artifacts, what, context, signal);
        } catch (e) {
          const error = asMirrorError(e, what);
          if (error instanceof InterruptedError) throw error;
          // The others go on; the first failure is told at the end, the others at once.
          if (first) context.warn(`${error.what}: ${error.why}`);
          first ??= error;
        }
      }
      if (first) throw first;
    },
  };

  async function builtFor(
    pull: Pull,
    wanted: string | undefined,
    signal: AbortSignal,
  ): Promise<{ artifacts: Artifact[]; why: string }> {
    const what = `${nameOf(pull)}#${pull.number}`;
    const commit =
      wanted === undefined ? await headOf(github, pull, signal) : await wholeSha(github, pull, wanted, signal);
    if (commit === undefined) return { artifacts: [], why: "its head commit is not known: the fork may be gone" };
    const checks = await checksOf(github, pull, commit, signal);
    for (const check of checks) context.onCheck(check);
    const services = { web: github.web, githubApiUrl: tokens.github_api_url, azureUrl: tokens.azure_devops_url };
    const builds = buildsBehind(checks, pull, services);
    const found: { artifact: Artifact; verdict: Verdict; expired?: boolean }[] = [];
    for (const of of builds.azure) found.push(...(await ofAzure(azure, of, signal)));
    for (const run of builds.runs) found.push(...(await ofRun(github, pull, run, signal)));
    const candidates = found.filter((f) => named(f.artifact.name));
    const taken = candidates.filter((f) => !f.expired && (f.verdict === "good" || ci.allowFailed));
    for (const { artifact, verdict, expired } of candidates) {
      if (expired) context.warn(`${what}: ${artifact.name} has expired, its content is gone`);
      else if (verdict === "failed" && !ci.allowFailed)
        context.warn(`${what}: ${artifact.name} is of a failed build and is left out; --allow-failed takes it`);
      else if (verdict === "running" && !ci.allowFailed)
        context.warn(`${what}: ${artifact.name} is of a build that is not finished and is left out`);
    }
    return {
      artifacts: taken.map((t) => t.artifact),
      why: reason(checks, builds.others, found.length, candidates.length),
    };
  }
}

async function ofAzure(azure: AzureApi, of: Parameters<typeof artifactsOfBuild>[1], signal: AbortSignal) {
  const build = await buildById(azure, of, signal);
  const artifacts = await artifactsOfBuild(azure, of, build, signal);
  const jobs = artifacts.length > 0 ? await jobResults(azure, of, signal) : new Map<string, string | undefined>();
  return artifacts
    .filter((artifact) => artifact.reachable)
    .map((artifact) => ({ artifact, verdict: azureVerdict(artifact, build, jobs) }));
}

async function ofRun(
  github: GitHubApi,
  pull: Pull,
  { id, states }: { readonly id: string; readonly states: readonly CheckState["state"][] },
  signal: AbortSignal,
) {
  const artifacts = await artifactsOfRun(github, pull, id, signal);
  return artifacts.map((artifact) => ({
    artifact,
    verdict: githubVerdict(artifact, states),
    expired: artifact.expired,
  }));
}

/** Why there is nothing to take, as far as the checks tell. */
function reason(checks: readonly CheckState[], others: readonly string[], found: number, named: number): string {
  if (checks.length === 0) return "no CI system has reported on its commit";
  const states = new Map<string, number>();
  for (const { state } of checks) states.set(state, (states.get(state) ?? 0) + 1);
  const counts = [...states].map(([state, n]) => `${n} ${state}`).join(", ");
  const kept =
    found === 0
      ? "none has kept artifacts"
      : named === 0
        ? `none of the ${found} artifacts passes --name-filter`
        : "none of their artifacts may be taken";
  const elsewhere = others.length > 0 ? `; ${others.slice(0, 5).join(", ")} can't be read` : "";
  return `of its ${checks.length} checks (${counts}) ${kept}${elsewhere}`;
}

function nothing(pull: Pull, why: string, allowed: boolean): SourceError {
  return new SourceError("NOT_FOUND", {
    what: `${nameOf(pull)}#${pull.number}: no packages`,
    why,
    next: `wait for its checks (watch does), or have the feedstock keep artifacts (conda-forge.yml: workflow_settings.store_build_artifacts)${allowed ? "" : "; --allow-failed takes what failed builds made"}`,
  });
}

function queryText({ author, label }: { readonly author?: string; readonly label?: string }): string {
  const parts = [
    ...(author === undefined ? [] : [`by ${author}`]),
    ...(label === undefined ? [] : [`labelled ${label}`]),
  ];
  return parts.join(" and ");
}
