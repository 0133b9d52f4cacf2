import { printable } from "../../errors.ts";
import type { Artifact } from "../ci/artifact.ts";
import type { CiFilter } from "../ci/filter.ts";
import {
  type Foreign,
  listIn,
  numberOf,
  objectIn,
  shownOf,
  textOf,
  timeOf,
  toldOn,
  within,
} from "../ci/foreign-json.ts";
import type { Offered } from "../offered.ts";
import { type AzureAddress, azureName } from "./address.ts";
import type { AzureApi, Query } from "./api.ts";

/** A build of Azure Pipelines. Times in milliseconds since 1970. */
export interface AzureBuild {
  readonly id: string;
  /** "20261125.3" */
  readonly buildNumber?: string;
  /** "inProgress", "completed", … */
  readonly status?: string;
  /** "succeeded", "partiallySucceeded", "failed", "canceled"; undefined until it is over. */
  readonly result?: string;
  readonly definition?: string;
  /** "refs/heads/main", "refs/pull/5/merge" */
  readonly branch?: string;
  readonly commit?: string;
  /** Of a pull request: the commit that was built, where `commit` is that of the merge. */
  readonly headCommit?: string;
  readonly queued?: number;
  readonly finished?: number;
  /** What the service says of it. */
  readonly record: Foreign;
}

/** An artifact of a build. */
export interface AzureArtifact extends Artifact {
  readonly id: number;
  /** "PipelineArtifact", "Container", "FilePath" */
  readonly type: string;
  /** Id of the job that made it. */
  readonly source?: string;
  /** Whether it can be fetched: what lies on a file share of somebody's network can't. */
  readonly reachable: boolean;
  /** What the service says of it. */
  readonly record: Foreign;
}

/** @throws SourceError NOT_FOUND */
export async function buildById(azure: AzureApi, of: AzureAddress, signal: AbortSignal): Promise<AzureBuild> {
  return buildFrom(await azure.get(of, `build/builds/${of.build}`, {}, signal));
}

/** The builds of a project that a filter names, newest first, until the caller has enough. */
export async function* buildsOf(
  azure: AzureApi,
  of: AzureAddress,
  filter: CiFilter,
  signal: AbortSignal,
): AsyncGenerator<AzureBuild> {
  const definitions = of.definition ?? (await definitionIds(azure, of, filter.definition, signal));
  const query: Query = {
    queryOrder: "finishTimeDescending",
    statusFilter: "completed",
    ...(filter.allowFailed ? {} : { resultFilter: "succeeded" }),
    ...(definitions === undefined ? {} : { definitions }),
    ...(filter.branch === undefined ? {} : { branchName: refOf(filter.branch) }),
    $top: "100",
  };
  for await (const item of azure.all(of, "build/builds", query, signal)) {
    const build = buildFrom(item);
    const wanted = filter.commit?.toLowerCase();
    // The service can't look for a commit.
    if (wanted === undefined || build.commit?.startsWith(wanted) || build.headCommit?.startsWith(wanted)) yield build;
  }
}

/** Numbers of the pipelines of a name, joined by commas; undefined when none was asked for. */
async function definitionIds(
  azure: AzureApi,
  of: AzureAddress,
  definition: string | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (definition === undefined || /^\d+$/.test(definition)) return definition;
  const ids: number[] = [];
  for await (const item of azure.all(of, "build/definitions", { name: definition }, signal)) {
    const id = numberOf(item, "id");
    if (id !== undefined) ids.push(id);
  }
  // No pipeline has the number 0: nothing is found, as nothing has that name.
  return ids.length > 0 ? ids.join(",") : "0";
}

function refOf(branch: string): string {
  if (branch.startsWith("refs/")) return branch;
  return /^pull\/\d+$/.test(branch) ? `refs/${branch}/merge` : `refs/heads/${branch}`;
}

/** The artifacts of a build, in the service's order. */
export async function artifactsOfBuild(
  azure: AzureApi,
  of: AzureAddress & { readonly build: string },
  build: AzureBuild | undefined,
  signal: AbortSignal,
): Promise<AzureArtifact[]> {
  const path = `build/builds/${of.build}/artifacts`;
  const answer = await azure.get(of, path, {}, signal);
  return listIn(answer["value"], azureName(of)).map((item) => artifactFrom(azure, of, build, objectIn(item, path)));
}

function artifactFrom(
  azure: AzureApi,
  of: AzureAddress & { readonly build: string },
  build: AzureBuild | undefined,
  item: Foreign,
): AzureArtifact {
  const name = textOf(item, "name") ?? "";
  const resource = within(item, "resource");
  const type = shownOf(resource, "type") ?? "";
  const download = textOf(resource, "downloadUrl");
  const properties = within(resource, "properties");
  const size = Number(textOf(properties, "artifactsize") ?? Number.NaN);
  const signedIn = azure.url(of, `build/builds/${of.build}/artifacts`, { artifactName: name, $format: "zip" });
  const open = download !== undefined && isSafe(download, signedIn) ? download : undefined;
  const page = `${pageOf(azure, of)}&view=artifacts`;
  const source = textOf(item, "source");
  return {
    id: numberOf(item, "id") ?? 0,
    name: printable(name),
    type,
    page,
    record: toldOn(item),
    key: `${pageOf(azure, of)}#${numberOf(item, "id") ?? 0} ${name}`,
    place: azure.file({ open, signedIn }, `${page} (${printable(name)})`, of),
    reachable: open !== undefined || type === "Container" || type === "PipelineArtifact",
    ...(Number.isSafeInteger(size) ? { size } : {}),
    ...(build?.buildNumber === undefined ? {} : { build: build.buildNumber }),
    ...(source === undefined ? {} : { source }),
  };
}

/** Whether a file's address may be followed: never from https to what anybody on the way could change. */
function isSafe(address: string, from: string): boolean {
  const protocol = URL.parse(address)?.protocol;
  return protocol === "https:" || (protocol === "http:" && from.startsWith("http:"));
}

/** The arguments of `mirror` that take an artifact. */
function takeAzureArtifact(of: AzureAddress, { name }: AzureArtifact): readonly string[] {
  const exact = `^${name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}$`;
  return ["--src-type", "azure", azureName(of), "--name-filter", exact];
}

/** What `info` tells of an artifact. */
export function offeredAzureArtifact(of: AzureAddress, artifact: AzureArtifact): Offered {
  const { id, name, type, size, source, reachable, record } = artifact;
  return {
    kind: "artifact",
    id: String(id),
    name,
    record,
    ...(size === undefined ? {} : { size }),
    columns: {
      Type: type,
      ...(source === undefined ? {} : { Source: printable(source) }),
      "Download Available": reachable ? "Yes" : "No",
    },
    ...(reachable ? { take: takeAzureArtifact(of, artifact) } : {}),
  };
}

/** What `info` tells of a build. */
export function offeredBuild(of: AzureAddress, build: AzureBuild): Offered {
  const { id, buildNumber, status, result, definition, branch, queued, finished, record } = build;
  const one = { organisation: of.organisation, project: of.project, build: id };
  const known = {
    "Build Number": buildNumber,
    Status: status,
    Result: result,
    Definition: definition,
    "Source Branch": branch,
    "Finish Time": finished === undefined ? undefined : new Date(finished).toISOString(),
    "Mirror Source": azureName(one),
  };
  const state = result ?? status;
  return {
    kind: "build",
    id,
    name: buildNumber ?? id,
    record,
    ...(state === undefined ? {} : { state }),
    ...(queued === undefined ? {} : { created: new Date(queued).toISOString() }),
    ...(definition === undefined ? {} : { description: definition }),
    columns: Object.fromEntries(Object.entries(known).filter((e): e is [string, string] => e[1] !== undefined)),
    take: ["--src-type", "azure", azureName(one)],
  };
}

/** A build's web page. */
function pageOf(azure: AzureApi, of: AzureAddress): string {
  const api = new URL(azure.url(of, "", {}));
  return `${api.origin}${api.pathname.replace(/_apis\/$/, "")}_build/results?buildId=${of.build}`;
}

/** What became of each job of a build, by the job's id: "succeeded", "failed", …; undefined until it is over. */
export async function jobResults(
  azure: AzureApi,
  of: AzureAddress & { readonly build: string },
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string | undefined>> {
  const timeline = await azure.get(of, `build/builds/${of.build}/timeline`, {}, signal);
  const results = new Map<string, string | undefined>();
  // A build that has not begun has no records.
  for (const item of Array.isArray(timeline["records"]) ? timeline["records"] : []) {
    const record = objectIn(item, azureName(of));
    const id = textOf(record, "id");
    if (textOf(record, "type") === "Job" && id !== undefined) results.set(id.toLowerCase(), textOf(record, "result"));
  }
  return results;
}

function buildFrom(item: Foreign): AzureBuild {
  const known = {
    buildNumber: shownOf(item, "buildNumber"),
    status: shownOf(item, "status"),
    result: shownOf(item, "result"),
    definition: shownOf(within(item, "definition"), "name"),
    branch: shownOf(item, "sourceBranch"),
    commit: textOf(item, "sourceVersion")?.toLowerCase(),
    headCommit: textOf(within(item, "triggerInfo"), "pr.sourceSha")?.toLowerCase(),
    queued: timeOf(item, "queueTime"),
    finished: timeOf(item, "finishTime"),
  };
  return {
    id: String(numberOf(item, "id") ?? 0),
    record: toldOn(item),
    ...(Object.fromEntries(Object.entries(known).filter(([, v]) => v !== undefined)) as Partial<AzureBuild>),
  };
}
