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
  const numbered = plan.map((step, i) => [step, i] as const);
  const one = async ([step, i]: readonly [Step<PackageRef>, number]): Promise<void> => {
    described[i] = await describe(step, options.onConflict, options.signal);
  };
  for await (const _ of pool(numbered, options.concurrency, one, options.signal));
  return described.filter((d) => d !== undefined);
}

async function describe(step: Step<PackageRef>, onConflict: OnConflict, signal: AbortSignal): Promise<PlannedStep> {
  const { fileName, origin } = step.offer;
  const said = (what: PlannedStep["do"], subdir: string | undefined, bytes: number | undefined): PlannedStep => ({
    do: what,
    fileName,
    origin,
    ...(subdir === undefined ? {} : { subdir }),
    ...(bytes === undefined ? {} : { bytes }),
  });
  switch (step.do) {
    case "keep":
    case "skip":
      return said(step.do, step.present.subdir, step.present.fileSize);
    case "replace":
      return said("replace", step.was.subdir, step.offer.size);
    case "refuse":
      return { ...said("refuse", undefined, step.offer.size), error: step.error };
    case "add":
    case "compare": {
      try {
        const { subdir, size } =
          step.offer.subdir !== undefined && step.do === "add"
            ? { subdir: step.offer.subdir, size: step.offer.size }
            : await peek(step.offer, signal);
        const there = step.do === "compare" ? step.present.find((p) => p.subdir === subdir) : undefined;
        if (!there) return said("add", subdir, size);
        if (there.fileSize === size || (there.unpacked && (there.recorded?.size ?? size) === size))
          return said("keep", subdir, size);
        if (onConflict === "error") throw conflict(fileName, there, origin, `${size} bytes`);
        return said(onConflict, subdir, size);
      } catch (e) {
        // A server without ranges: what is inside shows only when it is fetched.
        if (e instanceof TransferError && e.code === "SERVER_ERROR" && !e.mayPass)
          return said("add", undefined, step.offer.size);
        return { ...said("refuse", undefined, step.offer.size), error: asMirrorError(e, fileName) };
      }
    }
  }
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
