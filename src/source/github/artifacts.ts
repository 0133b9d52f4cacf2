import { printable, SourceError } from "../../errors.ts";
import type { Artifact } from "../ci/artifact.ts";
import { badAnswer, type Foreign, numberOf, shownOf, textOf, timeOf, toldOn, within } from "../ci/foreign-json.ts";
import type { Offered } from "../offered.ts";
import type { GitHubApi } from "./api.ts";

/** A repository by its owner and name. */
export interface Repository {
  readonly owner: string;
  readonly repo: string;
}

/** An artifact of GitHub Actions. Times in milliseconds since 1970. */
export interface GitHubArtifact extends Artifact {
  readonly id: number;
  readonly expired: boolean;
  readonly created?: number;
  readonly expires?: number;
  readonly branch?: string;
  readonly commit?: string;
  /** What GitHub says of it. */
  readonly record: Foreign;
}

export function pathOf({ owner, repo }: Repository): string {
  return `/repos/${encodeURIComponent(owner)}/${encodeURIComponent(repo)}`;
}

/** "owner/repo" */
export function nameOf({ owner, repo }: Repository): string {
  return `${owner}/${repo}`;
}

/** All artifacts of a repository, newest first, expired ones among them. */
export function artifactsOfRepository(
  github: GitHubApi,
  of: Repository,
  signal: AbortSignal,
): Promise<GitHubArtifact[]> {
  return artifactsAt(github, of, `${pathOf(of)}/actions/artifacts`, signal);
}

/** All artifacts of one workflow run. @throws SourceError NOT_FOUND */
export function artifactsOfRun(
  github: GitHubApi,
  of: Repository,
  run: string,
  signal: AbortSignal,
): Promise<GitHubArtifact[]> {
  return artifactsAt(github, of, `${pathOf(of)}/actions/runs/${run}/artifacts`, signal);
}

async function artifactsAt(
  github: GitHubApi,
  of: Repository,
  path: string,
  signal: AbortSignal,
): Promise<GitHubArtifact[]> {
  // A page may shift while the next one is asked for: an artifact can come twice.
  const found = new Map<number, GitHubArtifact>();
  for await (const item of github.all(path, "artifacts", signal)) {
    const artifact = artifactFrom(github, of, item);
    found.set(artifact.id, artifact);
  }
  return [...found.values()].sort((a, b) => b.id - a.id);
}

export async function artifactById(
  github: GitHubApi,
  of: Repository,
  id: string,
  signal: AbortSignal,
): Promise<GitHubArtifact> {
  return artifactFrom(github, of, await github.get(`${pathOf(of)}/actions/artifacts/${id}`, signal));
}

/** All artifacts of the workflow runs of a commit. */
export async function artifactsOfCommit(
  github: GitHubApi,
  of: Repository,
  commit: string,
  signal: AbortSignal,
): Promise<GitHubArtifact[]> {
  const sha = await wholeSha(github, of, commit, signal);
  const artifacts: GitHubArtifact[] = [];
  for await (const run of github.all(`${pathOf(of)}/actions/runs?head_sha=${sha}`, "workflow_runs", signal)) {
    const id = numberOf(run, "id");
    if (id !== undefined) artifacts.push(...(await artifactsOfRun(github, of, String(id), signal)));
  }
  return artifacts.sort((a, b) => b.id - a.id);
}

/** A commit's whole SHA, for one that is given in short. */
export async function wholeSha(
  github: GitHubApi,
  of: Repository,
  commit: string,
  signal: AbortSignal,
): Promise<string> {
  if (/^[0-9a-f]{40}([0-9a-f]{24})?$/.test(commit)) return commit;
  const path = `${pathOf(of)}/commits/${encodeURIComponent(commit)}`;
  const sha = textOf(await github.get(path, signal), "sha");
  if (sha === undefined || !/^[0-9a-f]{40,64}$/.test(sha)) throw badAnswer(path, "the commit has no SHA");
  return sha;
}

/** @throws SourceError NOT_FOUND for an artifact that has expired. */
export function refuseExpired(of: Repository, artifact: GitHubArtifact): void {
  if (!artifact.expired) return;
  const when = artifact.expires === undefined ? "" : ` on ${dateText(artifact.expires)}`;
  throw new SourceError("NOT_FOUND", {
    what: `${nameOf(of)}#${artifact.id}: ${artifact.name}`,
    why: `the artifact has expired${when}: GitHub has removed its content`,
    next: "run the workflow again; a repository's settings say how long artifacts are kept",
  });
}

/** The arguments of `mirror` that take an artifact. */
function takeArtifact(of: Repository, { id }: GitHubArtifact): readonly string[] {
  return [`${nameOf(of)}#${id}`];
}

/** What `info` tells of an artifact. */
export function offeredArtifact(of: Repository, artifact: GitHubArtifact): Offered {
  const { id, name, size, expired, created, expires, branch, commit, record } = artifact;
  const iso = (time: number) => new Date(time).toISOString();
  return {
    kind: "artifact",
    id: String(id),
    name,
    expired,
    record,
    ...(size === undefined ? {} : { size }),
    ...(created === undefined ? {} : { created: iso(created) }),
    ...(expires === undefined ? {} : { expires: iso(expires) }),
    columns: {
      ...(branch === undefined ? {} : { Branch: printable(branch) }),
      ...(commit === undefined ? {} : { Commit: printable(commit.slice(0, 7)) }),
    },
    ...(expired ? {} : { take: takeArtifact(of, artifact) }),
  };
}

/** "2026-11-25" */
export function dateText(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

function artifactFrom(github: GitHubApi, of: Repository, item: Foreign): GitHubArtifact {
  const id = numberOf(item, "id");
  const name = shownOf(item, "name");
  if (id === undefined || name === undefined) throw badAnswer(nameOf(of), "an artifact has no id or no name");
  const run = within(item, "workflow_run");
  const runId = numberOf(run, "id");
  const web = `${github.web}/${nameOf(of)}/actions`;
  const page = runId === undefined ? `${web}/artifacts/${id}` : `${web}/runs/${runId}/artifacts/${id}`;
  const known = {
    size: numberOf(item, "size_in_bytes"),
    created: timeOf(item, "created_at"),
    expires: timeOf(item, "expires_at"),
    branch: textOf(run, "head_branch"),
    commit: textOf(run, "head_sha"),
    build: runId === undefined ? undefined : String(runId),
  };
  return {
    id,
    name,
    expired: item["expired"] === true,
    page,
    place: github.stored(`${pathOf(of)}/actions/artifacts/${id}/zip`, `${page} (${name})`),
    key: `${github.web}/${nameOf(of)}#${id}`,
    record: toldOn(item),
    ...(Object.fromEntries(Object.entries(known).filter(([, v]) => v !== undefined)) as Partial<GitHubArtifact>),
  };
}
