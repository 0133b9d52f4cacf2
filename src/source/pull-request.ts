import { asMirrorError, InterruptedError, type MirrorError, SourceError, UsageError } from "../errors.ts";
import { redactUrl } from "../transfer/redact.ts";
import { azureApi } from "./azure/api.ts";
import type { Artifact } from "./ci/artifact.ts";
import { packagesInArtifacts } from "./ci/artifact-packages.ts";
import { type CheckState, openPulls, type Pull } from "./ci/checks.ts";
import { namePattern } from "./ci/filter.ts";
import { buildsOfPull, type PullBuilds, pullName, type Services } from "./ci/pull-builds.ts";
import { githubApi } from "./github/api.ts";
import { nameOf } from "./github/artifacts.ts";
import { pullAddress } from "./github/pull-address.ts";
import type { SourceContext } from "./kinds.ts";
import type { Offered } from "./offered.ts";
import type { Source } from "./source.ts";

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
  const what = address.number === undefined ? `open pull requests of ${nameOf(address)}` : pullName(address);
  const services: Services = { github: githubApi(what, context), azure: azureApi(context), tokens };

  /** The pull requests that are meant, each with the commit that is. */
  const pulls = async (signal: AbortSignal): Promise<readonly (Pull & { readonly commit?: string | undefined })[]> => {
    if (address.number !== undefined) return [{ ...address, commit: ci.commit ?? address.commit }];
    const open = await openPulls(services.github, address, ci, signal);
    if (open.length === 0) context.warn(`${nameOf(address)}: no open pull request is ${queryText(ci)}`);
    return open;
  };

  /** The artifacts of a pull request that may be taken; what is left out is told. */
  const taken = (pull: Pull, built: PullBuilds): readonly Artifact[] => {
    // What conda-smithy keeps of environments holds no packages, and is large.
    const hold = (name: string) => ci.nameFilter !== undefined || !/^conda_envs_\d/.test(name);
    const chosen = built.artifacts.filter((a) => named(a.artifact.name) && hold(a.artifact.name));
    for (const { artifact, verdict, expired } of chosen) {
      const name = `${pullName(pull)}: ${artifact.name}`;
      if (expired) context.warn(`${name} has expired, its content is gone`);
      else if (ci.allowFailed) continue;
      else if (verdict === "failed")
        context.warn(`${name} is of a failed build and is left out; --allow-failed takes it`);
      else if (verdict === "running") context.warn(`${name} is of a build that is not finished and is left out`);
    }
    return chosen.filter((a) => !a.expired && (a.verdict === "good" || ci.allowFailed)).map((a) => a.artifact);
  };

  return {
    what,
    async *packages(signal) {
      const all = await pulls(signal);
      const failures: MirrorError[] = [];
      for (const pull of all) {
        try {
          const built = await buildsOfPull(pull, pull.commit, services, signal);
          for (const check of built.checks) context.onCheck(check);
          failures.push(...built.errors);
          const artifacts = taken(pull, built);
          if (artifacts.length > 0) yield* packagesInArtifacts(artifacts, pullName(pull), context, signal);
          else if (built.errors.length > 0) continue;
          else if (address.number !== undefined) throw nothing(pull, reason(built, named), ci.allowFailed === true);
          // Of many, some have not been built yet: no failure of ours.
          else context.warn(`${pullName(pull)}: nothing to take: ${reason(built, named)}`);
        } catch (e) {
          const error = asMirrorError(e, pullName(pull));
          if (error instanceof InterruptedError) throw error;
          failures.push(error);
        }
      }
      // The others have gone on; one failure ends the source, and the rest are told here.
      for (const error of failures.slice(1)) context.warn(`${error.what}: ${error.why}`);
      if (failures[0]) throw failures[0];
    },
    async *describe(signal) {
      const all = await pulls(signal);
      for (const pull of all) {
        const built = await buildsOfPull(pull, pull.commit, services, signal);
        const columns: Record<string, string> = all.length > 1 ? { "Pull Request": pullName(pull) } : {};
        for (const check of built.checks) yield offeredCheck(check, columns);
        for (const { offered, verdict } of built.artifacts) yield { ...offered, state: verdict, columns };
        for (const error of built.errors) context.warn(`${error.what}: ${error.why}`);
      }
    },
  };
}

function offeredCheck(
  { commit, name, system, state, url }: CheckState,
  more: Readonly<Record<string, string>>,
): Offered {
  const columns = { ...more, Commit: commit.slice(0, 7), System: system, ...(url === undefined ? {} : { Page: url }) };
  return { kind: "check", name, state, columns };
}

/** Why there is nothing to take, as far as the checks tell. */
function reason({ commit, checks, artifacts, others }: PullBuilds, named: (name: string) => boolean): string {
  if (commit === undefined) return "its head commit is not known: the fork may be gone";
  if (checks.length === 0) return "no CI system has reported on its commit";
  const states = new Map<string, number>();
  for (const { state } of checks) states.set(state, (states.get(state) ?? 0) + 1);
  const counts = [...states].map(([state, n]) => `${n} ${state}`).join(", ");
  const kept =
    artifacts.length === 0
      ? "none has kept artifacts"
      : artifacts.some((a) => named(a.artifact.name))
        ? "none of their artifacts may be taken"
        : `none of the ${artifacts.length} artifacts passes --name-filter`;
  const elsewhere = others.length > 0 ? `; ${others.slice(0, 5).join(", ")} can't be read` : "";
  return `of its ${checks.length} checks (${counts}) ${kept}${elsewhere}`;
}

function nothing(pull: Pull, why: string, allowed: boolean): SourceError {
  return new SourceError("NOT_FOUND", {
    what: `${pullName(pull)}: no packages`,
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
