import { fileURLToPath } from "node:url";
import { UsageError } from "../errors.ts";
import { openFolder } from "./folder.ts";
import type { Store } from "./store.ts";

/** One kind of target: a new one is a file of its own and a line in `TARGET_KINDS`. */
interface TargetKind {
  /** Other names it goes by. */
  readonly aliases: readonly string[];
  /** Whether a path or URL, as typed, is of this kind; asked in the order of the table. */
  readonly recognises: (text: string) => boolean;
  readonly open: (text: string) => Promise<Store>;
}

export const TARGET_KINDS = {
  local: {
    aliases: ["file"],
    recognises: (text) =>
      /^file:/i.test(text) || /^[A-Za-z]:[\\/]/.test(text) || !/^[a-z][a-z0-9+.-]+:\/\//i.test(text),
    open: (text) => openFolder(/^file:/i.test(text) ? fileURLToPath(text) : text),
  },
} satisfies Record<string, TargetKind>;

/** Every name a target type goes by. */
export const TARGET_TYPES: readonly string[] = Object.entries(TARGET_KINDS).flatMap(([name, kind]) => [
  name,
  ...kind.aliases,
]);

/** Kinds that docs/cli names and that are still to come. */
const PLANNED = [
  "cache",
  "s3",
  "minio",
  "prefix-dev",
  "prefix",
  "quetz",
  "artifactory",
  "anaconda",
  "cloudsmith",
  "oci",
];

const CHOICES = "--target-path FOLDER (a channel in a folder, --target-type local)";

/**
 * Opens the target as typed.
 * @throws UsageError NO_TARGET, BAD_TARGET or NOT_YET
 */
export async function openTarget(path: string | undefined, type: string | undefined): Promise<Store> {
  const kinds: Record<string, TargetKind> = TARGET_KINDS;
  if (type !== undefined && !TARGET_TYPES.includes(type)) {
    if (PLANNED.includes(type))
      throw new UsageError("NOT_YET", {
        what: `--target-type ${type}`,
        why: "this version can't write such targets yet",
        next: `today it writes: ${TARGET_TYPES.join(", ")}`,
      });
    throw new UsageError("BAD_TARGET", {
      what: `--target-type ${type}`,
      why: "there is no such target type",
      next: `choose one of: ${TARGET_TYPES.join(", ")}`,
    });
  }
  if (path === undefined || path === "") {
    throw new UsageError("NO_TARGET", {
      what: "no target",
      why: "mirror was not told where the packages shall go",
      next: `give ${CHOICES}`,
    });
  }
  const chosen = Object.entries(kinds).find(([name, kind]) =>
    type === undefined ? kind.recognises(path) : name === type || kind.aliases.includes(type),
  );
  if (!chosen)
    throw new UsageError("NOT_YET", {
      what: `${path}: not a target this version can write`,
      why: "it is no folder",
      next: `give ${CHOICES}`,
    });
  return chosen[1].open(path);
}
