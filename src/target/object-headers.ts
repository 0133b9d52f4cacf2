import { formatOf } from "../conda/file-name.ts";
import { SHARD_FOLDER } from "../index/shards.ts";
import { OWN_FOLDER } from "./folder.ts";

/** For what never changes under its name. */
const FOR_EVER = "public, max-age=31536000, immutable";

/** For what is written over: a cache asks again after a minute, which costs a 304. */
const A_MINUTE = "public, max-age=60";

const TYPES: readonly (readonly [ending: string, type: string])[] = [
  [".conda", "application/x-conda-package"],
  [".tar.bz2", "application/x-bzip2"],
  [".json", "application/json"],
  [".zst", "application/zstd"],
  [".bz2", "application/x-bzip2"],
  [".sigs", "application/json"],
  [".html", "text/html; charset=utf-8"],
];

/** What a store over HTTP tells of one of a channel's files: its type, and how long it may be kept. */
export function objectHeaders(path: string): Record<string, string> {
  const type = TYPES.find(([ending]) => path.endsWith(ending))?.[1] ?? "application/octet-stream";
  return { "content-type": type, "cache-control": keepFor(path) };
}

function keepFor(path: string): string {
  const [folder = "", name = "", ...below] = path.split("/");
  if (folder === OWN_FOLDER) return "no-store";
  // CEP 50: the name without a hash is written over whenever an attestation is added.
  if (path.endsWith(".sigs")) return "no-cache";
  if (/\.sigs\.[0-9a-f]{64}$/.test(path)) return FOR_EVER;
  if (name === SHARD_FOLDER && below.length > 0) return FOR_EVER;
  return formatOf(path) ? FOR_EVER : A_MINUTE;
}
