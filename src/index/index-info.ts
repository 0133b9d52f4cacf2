import { isDeepStrictEqual } from "node:util";
import type { IndexChange } from "./merge.ts";
import { countMerged } from "./merge.ts";
import type { Repodata } from "./repodata.ts";

/**
 * The value of `info` that a changed index must have; undefined when what is there can stay.
 * `subdir` names the folder (conda refuses another), `base_url` is the subdir's folder below the address that was asked for (as
 * conda-index has it: two subdirs may have files of one name), `repodata_revisions.v3` counts the
 * records in v3 (CEP 48); every other member is kept.
 */
export function indexInfo(
  index: Repodata,
  subdir: string,
  baseUrl: string | null,
  change: Omit<IndexChange, "info">,
): Uint8Array | undefined {
  const raw = new Map(index.others).get("info");
  const old = infoValue(index);
  const info: Record<string, unknown> = { ...old, subdir };
  if (baseUrl !== null) {
    if (baseUrl === "") delete info["base_url"];
    else info["base_url"] = `${baseUrl.replace(/\/+$/, "")}/${subdir}/`;
  }
  const inV3 = countMerged(index, change, ["v3.conda", "v3.tar.bz2"]);
  const revisions = { ...(info["repodata_revisions"] as Record<string, unknown> | undefined) };
  if (inV3 > 0) {
    const v3 = { ...(revisions["v3"] as Record<string, unknown> | undefined) };
    if (v3["n_packages"] !== inV3) {
      // When the oldest and newest entered is told by records we'd have to look through: absent is allowed, wrong is not.
      delete v3["oldest"];
      delete v3["newest"];
    }
    revisions["v3"] = { ...v3, n_packages: inV3 };
    info["repodata_revisions"] = revisions;
  } else if (index.otherV3.length === 0 && revisions["v3"] !== undefined) {
    delete revisions["v3"];
    if (Object.keys(revisions).length > 0) info["repodata_revisions"] = revisions;
    else delete info["repodata_revisions"];
  }
  return raw && isDeepStrictEqual(info, old) ? undefined : Buffer.from(JSON.stringify(info));
}

/** Whether packages lie elsewhere than beside the index, by its `base_url` (CEP 15). */
export function liesElsewhere(subdir: string, baseUrl: unknown): boolean {
  return typeof baseUrl === "string" && !["", ".", `../${subdir}`].includes(baseUrl.replace(/\/$/, ""));
}

/** `info` as an object; empty when there is none or it is something else. */
export function infoValue(index: Repodata): Record<string, unknown> {
  const raw = new Map(index.others).get("info");
  const value = raw && (JSON.parse(Buffer.from(raw).toString("utf8")) as unknown);
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
