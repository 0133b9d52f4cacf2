import assert from "node:assert/strict";
import { zstdDecompressSync } from "node:zlib";
import { goProgram } from "../../scripts/go-programs.ts";
import { type MirrorOptions, mirror } from "../../src/main.ts";
import { systemClock } from "../../src/transfer/retry.ts";
import { type OciRegistry, type StoredManifest, startRegistry } from "../servers/registry.ts";
import { type RepodataJson, temporary } from "./folders.ts";
import { needs } from "./needs.ts";

export const registryIsHere = needs(goProgram("registry"), "the registry");
export const at = {
  ...systemClock,
  now: () => Date.UTC(2026, 10, 25, 12, 34),
  sleep: async () => undefined,
  random: () => 0,
};

/** Each test's user has a home of its own: what is remembered of one channel is of no use to another test. */
export function pushing(): (
  target: string,
  sources: string[],
  more?: Partial<MirrorOptions>,
) => ReturnType<typeof mirror> {
  const HOME = temporary();
  return (target, sources, more = {}) =>
    mirror({ sources, target, clock: at, ...more, env: { HOME, PATH: process.env["PATH"], ...more.env } });
}

/** Started out here, so that it lasts as long as this file. */
export const registry = registryIsHere.skip ? ({} as OciRegistry) : await startRegistry();

export const layer = (manifest: StoredManifest | undefined, mediaType: string) => {
  const found = manifest?.layers.filter((l) => l.mediaType === mediaType) ?? [];
  assert.equal(found.length, 1, mediaType);
  return found[0] as StoredManifest["layers"][0];
};

/** What a pull gives: every layer's blob is there, and has its digest and size. */
export function pulled(repository: string, tag: string, from = registry): StoredManifest {
  const manifest = from.manifest(repository, tag);
  assert.ok(manifest, `${repository}:${tag}`);
  assert.equal(from.blob(repository, manifest.config.digest).toString(), "{}");
  for (const l of manifest.layers) assert.equal(from.blob(repository, l.digest).length, l.size);
  return manifest;
}

export function indexOf(channel: string, subdir: string, from = registry): RepodataJson {
  const manifest = pulled(`${channel}/${subdir}/repodata.json`, "latest", from);
  const repository = `${channel}/${subdir}/repodata.json`;
  const json = from.blob(repository, layer(manifest, "application/vnd.conda.repodata.v1+json").digest);
  const zst = from.blob(repository, layer(manifest, "application/vnd.conda.repodata.v1+json+zst").digest);
  assert.ok(zstdDecompressSync(zst).equals(json), "both forms say the same");
  return JSON.parse(json.toString("utf8")) as RepodataJson;
}
export const listedIn = (channel: string, subdir: string, from = registry) => {
  const index = indexOf(channel, subdir, from);
  return [...Object.keys(index.packages), ...Object.keys(index["packages.conda"])].sort();
};
