import { type AzureAddress, azureAddress } from "../azure/address.ts";
import { githubAddress } from "../github/address.ts";
import type { GitHubApi } from "../github/api.ts";
import { nameOf, pathOf, type Repository } from "../github/artifacts.ts";
import { badAnswer, type Foreign, numberOf, shownOf, textOf, within } from "./foreign-json.ts";

/** What a CI system says of a commit. */
export interface CheckState {
  /** "conda-forge/staged-recipes#12345" */
  readonly pull: string;
  readonly commit: string;
  /** "staged-recipes (linux_64)" */
  readonly name: string;
  /** Who reports: "azure-pipelines", "github-actions", … */
  readonly system: string;
  readonly state: CheckResult;
  /** Its page, where there is one. */
  readonly url?: string;
}

/** "unknown" is what we know no word for. */
export type CheckResult = "success" | "failure" | "cancelled" | "skipped" | "pending" | "unknown";

/** The CI builds that checks point to. */
export interface Builds {
  /** Builds of Azure Pipelines, newest first. */
  readonly azure: readonly (AzureAddress & { readonly build: string })[];
  /** Workflow runs of GitHub Actions, newest first, with what the checks of each say. */
  readonly runs: readonly { readonly id: string; readonly states: readonly CheckResult[] }[];
  /** Systems that we can't fetch artifacts from. */
  readonly others: readonly string[];
}

/** The checks and commit statuses of a commit; the latest of each name. */
export async function checksOf(
  github: GitHubApi,
  of: Repository & { readonly number: string },
  commit: string,
  signal: AbortSignal,
): Promise<CheckState[]> {
  const pull = `${nameOf(of)}#${of.number}`;
  const at = `${pathOf(of)}/commits/${commit}`;
  const checks: CheckState[] = [];
  for await (const run of github.all(`${at}/check-runs?filter=latest`, "check_runs", signal)) {
    const url = textOf(run, "details_url") ?? textOf(run, "html_url");
    checks.push({
      pull,
      commit,
      name: shownOf(run, "name") ?? "?",
      system: shownOf(within(run, "app"), "slug") ?? "?",
      state: stateOfRun(run),
      ...(url === undefined ? {} : { url }),
    });
  }
  // Systems that are no GitHub apps report by statuses.
  for await (const status of github.all(`${at}/status`, "statuses", signal)) {
    const url = textOf(status, "target_url");
    checks.push({
      pull,
      commit,
      name: shownOf(status, "context") ?? "?",
      system: "status",
      state: STATUSES[textOf(status, "state") ?? ""] ?? "unknown",
      ...(url === undefined ? {} : { url }),
    });
  }
  return checks;
}

const STATUSES: Readonly<Record<string, CheckResult>> = {
  success: "success",
  failure: "failure",
  error: "failure",
  pending: "pending",
};

const CONCLUSIONS: Readonly<Record<string, CheckResult>> = {
  success: "success",
  neutral: "success",
  failure: "failure",
  timed_out: "failure",
  startup_failure: "failure",
  action_required: "failure",
  cancelled: "cancelled",
  stale: "cancelled",
  skipped: "skipped",
};

function stateOfRun(run: Foreign): CheckResult {
  if (textOf(run, "status") !== "completed") return "pending";
  return CONCLUSIONS[textOf(run, "conclusion") ?? ""] ?? "unknown";
}

/**
 * The builds behind checks, by the addresses of their pages. Only numbers and names are taken from an address: requests
 * go to the configured services whatever host it names.
 */
export function buildsBehind(
  checks: readonly CheckState[],
  of: Repository,
  services: { readonly web: string; readonly githubApiUrl: string; readonly azureUrl: string },
): Builds {
  const azure = new Map<string, AzureAddress & { build: string }>();
  const runs = new Map<string, CheckResult[]>();
  const others = new Set<string>();
  for (const { url, state, system, name } of checks) {
    const build =
      url === undefined
        ? undefined
        : (azureAddress(url, services.azureUrl) ?? azureAddress(url, "https://dev.azure.com"));
    if (build?.build !== undefined) {
      azure.set(build.build, { ...build, build: build.build });
      continue;
    }
    const run = url === undefined ? undefined : githubAddress(url, services.web, services.githubApiUrl);
    if (run?.what === "run" && same(run, of)) {
      const states = runs.get(run.number);
      if (states) states.push(state);
      else runs.set(run.number, [state]);
    } else others.add(system === "status" ? name : system);
  }
  const newestFirst = (a: string, b: string) => b.length - a.length || (a < b ? 1 : -1);
  return {
    azure: [...azure.values()].sort((a, b) => newestFirst(a.build, b.build)),
    runs: [...runs].map(([id, states]) => ({ id, states })).sort((a, b) => newestFirst(a.id, b.id)),
    others: [...others],
  };
}

/** GitHub's names don't differ by case alone. */
function same(a: Repository, b: Repository): boolean {
  return a.owner.toLowerCase() === b.owner.toLowerCase() && a.repo.toLowerCase() === b.repo.toLowerCase();
}

/** A pull request as far as it matters here. */
export interface Pull extends Repository {
  readonly number: string;
}

/**
 * The head commit of a pull request, undefined when it is not known; and the repository's name of today, which checks name
 * where it was renamed.
 */
export async function headOf(
  github: GitHubApi,
  of: Pull,
  signal: AbortSignal,
): Promise<{ readonly commit: string | undefined; readonly now: Repository }> {
  const pull = await github.get(`${pathOf(of)}/pulls/${of.number}`, signal);
  const sha = textOf(within(pull, "head"), "sha");
  const [, owner, repo] =
    /^([^/]+)\/([^/]+)$/.exec(textOf(within(within(pull, "base"), "repo"), "full_name") ?? "") ?? [];
  return {
    commit: sha !== undefined && /^[0-9a-f]{40,64}$/.test(sha) ? sha : undefined,
    now: owner !== undefined && repo !== undefined ? { owner, repo } : of,
  };
}

/** The open pull requests of a repository by author, label or both; the newest first. */
export async function openPulls(
  github: GitHubApi,
  of: Repository,
  { author, label }: { readonly author?: string | undefined; readonly label?: string | undefined },
  signal: AbortSignal,
): Promise<Pull[]> {
  const query = new URLSearchParams({ state: "open" });
  // As GitHub's own search has it.
  const creator = author === "@me" ? textOf(await github.get("/user", signal), "login") : author;
  if (creator !== undefined) query.set("creator", creator);
  else if (author !== undefined) throw badAnswer("/user", "GitHub does not say whose the token is");
  if (label !== undefined) query.set("labels", label);
  const pulls: Pull[] = [];
  // Pull requests are issues to GitHub; issues alone can be asked for by author and label.
  for await (const issue of github.all(`${pathOf(of)}/issues?${query}`, undefined, signal)) {
    const number = numberOf(issue, "number");
    if (number !== undefined && "pull_request" in issue) pulls.push({ ...of, number: String(number) });
  }
  return pulls;
}
