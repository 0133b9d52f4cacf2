import { SourceError } from "../errors.ts";
import { pool } from "../transfer/pool.ts";
import { azureName, parseAzureAddress } from "./azure/address.ts";
import { azureApi } from "./azure/api.ts";
import {
  type AzureArtifact,
  type AzureBuild,
  artifactsOfBuild,
  buildById,
  buildsOf,
  offeredAzureArtifact,
  offeredBuild,
} from "./azure/builds.ts";
import { packagesInArtifacts } from "./ci/artifact-packages.ts";
import { type CiFilter, namePattern } from "./ci/filter.ts";
import { namesText } from "./ci/names-text.ts";
import type { SourceContext } from "./kinds.ts";
import type { Source } from "./source.ts";

/** Packages in artifacts of Azure Pipelines: of one build, or of the newest of a project. */
export function azureSource(text: string, context: SourceContext): Source {
  const { ci, warn } = context;
  const address = parseAzureAddress(text, context.tokens.azure_devops_url);
  const what = azureName(address);
  const azure = azureApi(context);
  const named = namePattern(ci);
  return {
    what,
    async *describe(signal) {
      if (address.build !== undefined) {
        const build = await buildById(azure, address, signal);
        for (const artifact of await artifactsOfBuild(azure, { ...address, build: build.id }, build, signal))
          if (named(artifact.name)) yield offeredAzureArtifact(address, artifact);
        return;
      }
      const most = ci.maxBuilds ?? MANY;
      let told = 0;
      for await (const build of buildsOf(azure, address, { ...ci, allowFailed: true }, signal)) {
        yield offeredBuild(address, build);
        if (++told === most) break;
      }
    },
    async *packages(signal) {
      const builds: AzureBuild[] = [];
      if (address.build !== undefined) builds.push(await buildById(azure, address, signal));
      else {
        const most = buildLimit(ci, context.members !== undefined);
        for await (const build of buildsOf(azure, address, ci, signal)) if (builds.push(build) >= most) break;
      }
      if (builds.length === 0) throw noBuild(what, ci);
      const [first] = builds;
      // Named by its number, a build is taken as it is.
      if (address.build !== undefined && first?.result !== "succeeded")
        warn(
          `${what}: the build ${first?.result === undefined ? "is not finished" : first.result}; its packages may be incomplete`,
        );
      const found: AzureArtifact[][] = [];
      const list = async ([build, i]: readonly [AzureBuild, number]): Promise<void> => {
        found[i] = await artifactsOfBuild(azure, { ...address, build: build.id }, build, signal);
      };
      const numbered = builds.map((build, i) => [build, i] as const);
      for await (const _ of pool(numbered, context.concurrency, list, signal));
      const artifacts = found.flat();
      const chosen = artifacts.filter((a) => named(a.name));
      const reachable = chosen.filter((a) => a.reachable);
      for (const a of chosen)
        if (!a.reachable) warn(`${what}: ${a.name} lies on a file share (${a.type || "no address"}) and is left out`);
      if (reachable.length === 0) throw noArtifact(what, artifacts, chosen);
      yield* packagesInArtifacts(reachable, what, context, signal);
    },
  };
}

/** So many builds are looked at where a filter may leave few of them. */
const MANY = 50;

/** How many builds of a project are looked at. */
function buildLimit(ci: CiFilter, members: boolean): number {
  const filtered = members || [ci.nameFilter, ci.branch, ci.commit, ci.definition].some((f) => f !== undefined);
  return ci.maxBuilds ?? (filtered ? MANY : 1);
}

function noBuild(what: string, ci: CiFilter): SourceError {
  const { branch, commit, definition, allowFailed } = ci;
  const asked = [
    definition === undefined ? "" : `of the pipeline ${definition}`,
    branch === undefined ? "" : `on ${branch}`,
    commit === undefined ? "" : `of ${commit}`,
  ].filter((t) => t !== "");
  return new SourceError("NOT_FOUND", {
    what: `${what}: nothing to take`,
    why: `the project has no ${allowFailed ? "finished" : "successful"} build${asked.length > 0 ? ` ${asked.join(" ")}` : ""}`,
    next: `check the filters${allowFailed ? "" : "; --allow-failed also looks at builds that failed"}`,
  });
}

function noArtifact(what: string, all: readonly AzureArtifact[], chosen: readonly AzureArtifact[]): SourceError {
  return new SourceError("NOT_FOUND", {
    what: `${what}: nothing to take`,
    why:
      all.length === 0
        ? "the build has no artifacts"
        : chosen.length === 0
          ? `none of ${all.length} artifacts has a name that passes --name-filter: ${namesText([...new Set(all.map((a) => a.name))])}`
          : "its artifacts lie on file shares",
    next: "check the build's number and the filters; a feedstock keeps artifacts when conda-forge.yml says store_build_artifacts",
  });
}
