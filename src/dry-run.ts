import { parseFileName } from "./conda/file-name.ts";
import { asMirrorError, TransferError } from "./errors.ts";
import type { PlannedStep } from "./events.ts";
import { readPackage } from "./package/read.ts";
import { makeRecord } from "./package/record.ts";
import { conflict, type OnConflict, type Step } from "./plan/plan.ts";
import type { PackageRef } from "./source/source.ts";
import { pool } from "./transfer/pool.ts";
import { readAtPlace } from "./transfer/read-at-place.ts";

/**
 * What a run would do, step by step. Packages whose subdir is not known are looked into: their metadata is read, by
 * range request where they are remote. Where only a download could tell whether bytes differ, the size decides.
 */
export async function describePlan(
  plan: readonly Step<PackageRef>[],
  options: { onConflict: OnConflict; concurrency: number; signal: AbortSignal },
): Promise<PlannedStep[]> {
  const described: PlannedStep[] = [];
  const unclear: [step: Unclear, place: number][] = [];
  for (const [i, step] of plan.entries()) {
    const clear = describe(step);
    if (clear) described[i] = clear;
    else unclear.push([step as Unclear, i]);
  }
  const one = async ([step, i]: (typeof unclear)[number]): Promise<void> => {
    described[i] = await lookInto(step, options.onConflict, options.signal);
  };
  for await (const _ of pool(unclear, options.concurrency, one, options.signal));
  return described.filter((d) => d !== undefined);
}

/** What becomes of it shows inside the package. */
type Unclear = Extract<Step<PackageRef>, { readonly do: "add" | "compare" }>;

/** Undefined where the package has to be looked into. */
function describe(step: Step<PackageRef>): PlannedStep | undefined {
  const { offer } = step;
  switch (step.do) {
    case "keep":
    case "skip":
      return said(step.do, offer, step.present.subdir, step.present.fileSize);
    case "replace":
      return said("replace", offer, step.was.subdir, offer.size);
    case "refuse":
      return { ...said("refuse", offer, undefined, offer.size), error: step.error };
    case "add":
      return offer.subdir === undefined ? undefined : said("add", offer, offer.subdir, offer.size);
    case "compare":
      return undefined;
  }
}

async function lookInto(step: Unclear, onConflict: OnConflict, signal: AbortSignal): Promise<PlannedStep> {
  const { offer } = step;
  try {
    const { subdir, size } = await peek(offer, signal);
    const there = step.do === "compare" ? step.present.find((p) => p.subdir === subdir) : undefined;
    if (!there) return said("add", offer, subdir, size);
    if (there.fileSize === size || (there.unpacked && (there.recorded?.size ?? size) === size))
      return said("keep", offer, subdir, size);
    if (onConflict === "error") throw conflict(offer.fileName, there, offer.origin, `${size} bytes`);
    return said(onConflict, offer, subdir, size);
  } catch (e) {
    // A server without ranges: what is inside shows only when it is fetched.
    if (e instanceof TransferError && e.code === "SERVER_ERROR" && !e.mayPass)
      return said("add", offer, undefined, offer.size);
    return { ...said("refuse", offer, undefined, offer.size), error: asMirrorError(e, offer.fileName) };
  }
}

function said(
  what: PlannedStep["do"],
  { fileName, origin }: PackageRef,
  subdir: string | undefined,
  bytes: number | undefined,
): PlannedStep {
  return {
    do: what,
    fileName,
    origin,
    ...(subdir === undefined ? {} : { subdir }),
    ...(bytes === undefined ? {} : { bytes }),
  };
}

async function peek(ref: PackageRef, signal: AbortSignal): Promise<{ subdir: string; size: number }> {
  const name = parseFileName(ref.fileName);
  const file = await readAtPlace(ref, signal);
  const info = await readPackage(ref.fileName, file, ["info/index.json"]);
  const unknown = { md5: "", sha256: "", size: file.size };
  return {
    subdir: makeRecord(ref.fileName, info.members.get("info/index.json") as Uint8Array, name, unknown, ref.subdir)
      .subdir,
    size: file.size,
  };
}
