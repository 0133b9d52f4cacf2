import { SourceError } from "../errors.ts";
import { packagesInArtifacts } from "./ci/artifact-packages.ts";
import { headOf } from "./ci/checks.ts";
import { type CiFilter, namePattern } from "./ci/filter.ts";
import { namesText } from "./ci/names-text.ts";
import { type GitHubAddress, parseGitHubAddress, webOf } from "./github/address.ts";
import { type GitHubApi, githubApi } from "./github/api.ts";
import {
  artifactById,
  artifactsOfCommit,
  artifactsOfRepository,
  artifactsOfRun,
  type GitHubArtifact,
  nameOf,
  offeredArtifact,
  refuseExpired,
} from "./github/artifacts.ts";
import { assetsOf, offeredAsset, releasePackages } from "./github/release.ts";
import type { SourceContext } from "./kinds.ts";
import type { Offered } from "./offered.ts";
import type { Source } from "./source.ts";

/** Packages in artifacts of GitHub Actions and among the files of releases; see `parseGitHubAddress` for what is understood. */
export function githubSource(text: string, context: SourceContext): Source {
  const { github_api_url: apiUrl } = context.tokens;
  const address = parseGitHubAddress(text, webOf(apiUrl), apiUrl);
  const what = describeAddress(address);
  const github = githubApi(what, context);
  const named = namePattern(context.ci);
  // What is inside one artifact tells more than the service does.
  const describe = address.what === "artifact" ? {} : { describe: (signal: AbortSignal) => described(signal) };

  async function* described(signal: AbortSignal): AsyncGenerator<Offered> {
    if (address.what === "release") {
      for (const asset of await assetsOf(github, address, signal))
        if (named(asset.name)) yield offeredAsset(address, asset);
      return;
    }
    for (const artifact of await artifactsAt(github, address, context.ci, signal))
      if (named(artifact.name)) yield offeredArtifact(address, artifact);
  }

  return {
    what,
    ...describe,
    async *packages(signal) {
      if (address.what === "release") {
        yield* releasePackages(github, address, named, context, signal);
        return;
      }
      const all = await artifactsAt(github, address, context.ci, signal);
      const chosen = all.filter((a) => named(a.name));
      const live = chosen.filter((a) => !a.expired);
      tellExpired(what, chosen, context.warn);
      if (live.length === 0) throw nothing(what, all, chosen);
      if (live.length > MANY)
        context.warn(
          `${what}: ${live.length} artifacts are looked into, each a request of the hourly limit; --name-filter, --branch or --commit leave fewer`,
        );
      yield* packagesInArtifacts(live, what, context, signal);
    },
  };
}

/** More artifacts than this at once are seldom what is meant. */
const MANY = 200;

/** The artifacts that an address and a filter name, newest first; names are not looked at yet. */
export async function artifactsAt(
  github: GitHubApi,
  address: Exclude<GitHubAddress, { what: "release" }>,
  ci: CiFilter,
  signal: AbortSignal,
): Promise<GitHubArtifact[]> {
  switch (address.what) {
    case "artifact": {
      const artifact = await artifactById(github, address, address.number, signal);
      refuseExpired(address, artifact);
      return [artifact];
    }
    case "run":
      return artifactsOfRun(github, address, address.number, signal);
    case "pull": {
      const commit = ci.commit ?? address.commit ?? (await headOf(github, address, signal)).commit;
      return commit === undefined ? [] : artifactsOfCommit(github, address, commit, signal);
    }
    case "commit":
      return artifactsOfCommit(github, address, address.commit, signal);
    case "branch":
    case "repository": {
      const branch = address.what === "branch" ? address.branch : ci.branch;
      const all =
        ci.commit === undefined
          ? await artifactsOfRepository(github, address, signal)
          : await artifactsOfCommit(github, address, ci.commit, signal);
      return branch === undefined ? all : all.filter((a) => a.branch === branch);
    }
  }
}

/** As people write it: "owner/repo@123". */
function describeAddress(address: GitHubAddress): string {
  const name = nameOf(address);
  switch (address.what) {
    case "repository":
      return name;
    case "artifact":
      return `${name}#${address.number}`;
    case "run":
      return `${name}@${address.number}`;
    case "pull":
      return `${name}/pull/${address.number}`;
    case "branch":
      return `${name}/tree/${address.branch}`;
    case "commit":
      return `${name}/commit/${address.commit}`;
    case "release":
      return `${name}/releases/${address.tag === undefined ? "latest" : `tag/${address.tag}`}`;
  }
}

function tellExpired(what: string, artifacts: readonly GitHubArtifact[], warn: (message: string) => void): void {
  const names = artifacts.filter((a) => a.expired).map((a) => `${a.name} (#${a.id})`);
  if (names.length > 0)
    warn(
      `${what}: ${names.length} of ${artifacts.length} artifacts have expired, their content is gone: ${namesText(names)}`,
    );
}

function nothing(what: string, all: readonly GitHubArtifact[], chosen: readonly GitHubArtifact[]): SourceError {
  const why =
    all.length === 0
      ? "no artifacts are there"
      : chosen.length === 0
        ? `none of ${all.length} artifacts has a name that passes --name-filter: ${namesText([...new Set(all.map((a) => a.name))])}`
        : `all ${chosen.length} artifacts have expired: ${namesText([...new Set(chosen.map((a) => a.name))])}`;
  return new SourceError("NOT_FOUND", {
    what: `${what}: nothing to take`,
    why,
    next: "check the name and the filters, or run the workflow again; an Azure project of such a name needs --src-type azure, a folder has to be there",
  });
}
