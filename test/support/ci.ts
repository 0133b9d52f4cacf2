import type { MirrorEvent } from "../../src/events.ts";
import { mirror } from "../../src/mirror.ts";
import type { MirrorOptions } from "../../src/run.ts";
import type { Clock } from "../../src/transfer/retry.ts";
import { type BuiltPackage, zip } from "../packages/builder.ts";
import type { AzureServer } from "../servers/azure/azure-server.ts";
import type { GitHubServer } from "../servers/github/github-server.ts";
import { temporary } from "./folders.ts";

/** An artifact as staged-recipes keeps it: packages and index files of one subdir, in a folder of the artifact's name. */
export function stagedRecipesZip(artifact: string, packages: readonly BuiltPackage[]): Buffer {
  const index = ["repodata.json", "repodata_from_packages.json", "index.html", ".cache/cache.db"];
  return zip([
    ...index.map((name) => ({ name: `${artifact}/${name}`, content: Buffer.from("{}"), method: 8 })),
    ...packages.map((p) => ({ name: `${artifact}/${p.fileName}`, content: p.bytes, method: 8 })),
  ]);
}

/**
 * An artifact as conda-smithy keeps it (store_build_artifacts): one zip inside, which holds the conda-bld folder.
 * @param inner "zlib-feedstock_conda_pkgs_123_linux_64_"
 */
export function smithyZip(
  inner: string,
  subdir: string,
  packages: readonly BuiltPackage[],
  options: { method?: number; folder?: string } = {},
): Buffer {
  const method = options.method ?? 8;
  const folder = options.folder === undefined ? "" : `${options.folder}/`;
  const bld = zip([
    { name: `build_artifacts/${subdir}/repodata.json`, content: Buffer.from("{}"), method },
    { name: "build_artifacts/noarch/repodata.json", content: Buffer.from("{}"), method },
    ...packages.map((p) => ({ name: `build_artifacts/${subdir}/${p.fileName}`, content: p.bytes, method })),
  ]);
  return zip([{ name: `${folder}${inner}.zip`, content: bld, method }]);
}

/** A clock that stands still but for its waits, which it notes. */
export function patientClock(start = Date.UTC(2026, 10, 25, 12)): Clock & { readonly waits: number[]; time: number } {
  const clock = {
    waits: [] as number[],
    time: start,
    now: () => clock.time,
    random: () => 0,
    sleep: async (ms: number) => {
      clock.waits.push(ms);
      clock.time += ms;
    },
  };
  return clock;
}

/** The environment of a run on test servers. */
export function envOf(servers: { github?: GitHubServer; azure?: AzureServer }, token?: string): NodeJS.ProcessEnv {
  return {
    ...(servers.github ? { GITHUB_API_URL: servers.github.api } : {}),
    ...(servers.azure ? { AZURE_DEVOPS_URL: servers.azure.url } : {}),
    ...(token === undefined ? {} : { GITHUB_TOKEN: token }),
  };
}

/** Mirrors into a new channel, and notes what was told. */
export async function mirrored(
  sources: string | readonly string[],
  options: Omit<MirrorOptions, "sources" | "target"> & { readonly target?: string },
) {
  const target = options.target ?? temporary();
  const events: MirrorEvent[] = [];
  const report = await mirror({
    clock: patientClock(),
    ...options,
    sources: typeof sources === "string" ? [sources] : sources,
    target,
    onEvent: (e) => events.push(e),
  });
  const failures = report.packages.flatMap((p) => (p.outcome === "failed" ? [p.error] : []));
  const warnings = events.flatMap((e) => (e.type === "warning" ? [e.message] : []));
  const checks = events.flatMap((e) => (e.type === "check" ? [e.check] : []));
  return { report, target, failures, warnings, checks, error: failures[0] };
}
