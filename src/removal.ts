import { PackageError, TargetError, TransferError, UsageError } from "./errors.ts";
import type { Outcome } from "./events.ts";
import type { Following, Gone } from "./following.ts";
import type { PackageRef } from "./source/source.ts";
import type { Removals, Target } from "./target/target.ts";

/** How a target follows its sources in what they no longer have. */
export interface Removal {
  /** Files stay when their records go: lock files that name them still install. */
  readonly keepFiles: boolean;
  /** How much of a subdir may go in one run. */
  readonly most: Most;
}

export type Most =
  /** Nothing was said: a tenth of a subdir, or ten packages where that is more, and never all of it. */
  { readonly of: "default" } | { readonly of: "count" | "percent"; readonly limit: number };

export interface RemovalOptions {
  /** Also remove what no source has any more. */
  readonly delete?: boolean;
  /** With `delete`: only from the index; files stay. */
  readonly keepRemoved?: boolean;
  /** With `delete`: how much of a subdir may go in one run, as `5%` or as a number of packages. */
  readonly maxDelete?: string;
}

/** @throws UsageError BAD_FLAG */
export function readRemoval({ delete: remove, keepRemoved, maxDelete }: RemovalOptions): Removal | undefined {
  if (!remove) {
    for (const [flag, given] of [
      ["--keep-removed", keepRemoved],
      ["--max-delete", maxDelete !== undefined],
    ] as const) {
      if (!given) continue;
      throw new UsageError("BAD_FLAG", {
        what: flag,
        why: "nothing is removed without --delete",
        next: "give --delete as well, or leave it out",
      });
    }
    return undefined;
  }
  return { keepFiles: keepRemoved ?? false, most: mostOf(maxDelete) };
}

/** @throws UsageError BAD_FLAG */
export function mostOf(text: string | undefined): Most {
  if (text === undefined) return { of: "default" };
  const [, number, percent] = /^(\d+(?:\.\d+)?)(%?)$/.exec(text.trim()) ?? [];
  const limit = Number(number);
  if (number === undefined || (percent === "" && !Number.isInteger(limit)) || (percent === "%" && limit > 100)) {
    throw new UsageError("BAD_FLAG", {
      what: `--max-delete ${text}`,
      why: "it is neither a share nor a number of packages",
      next: "write it like this: --max-delete 5%, or --max-delete 100",
    });
  }
  return { of: percent === "%" ? "percent" : "count", limit };
}

/**
 * Stops a run that would empty a target because a source hiccuped, before anything is changed.
 * @throws TargetError MAX_DELETE
 */
export function guard(following: Following, removal: Removal | undefined): void {
  const most = removal?.most ?? { of: "default" };
  for (const [target, subdirs] of following.gone)
    guardOne(target.where, subdirs, most, "; the source may have hiccuped");
}

/**
 * Stops a run that would take more from one channel than was allowed.
 * @param doubt what else there is to say of why.
 * @throws TargetError MAX_DELETE
 */
export function guardOne(where: string, subdirs: readonly Gone[], most: Most, doubt: string): void {
  const tooMuch = subdirs.filter(({ going, listed }) => !isAllowed(going, listed, most));
  if (tooMuch.length === 0) return;
  const limit = most.of === "default" ? "10%" : `${most.limit}${most.of === "percent" ? "%" : ""}`;
  const say = ({ subdir, going, listed }: Gone) => `${going} of ${listed} from ${subdir}`;
  throw new TargetError("MAX_DELETE", {
    what: `${where}: too much would go`,
    why: `${tooMuch.map(say).join(", ")}, more than --max-delete ${limit} allows${doubt}`,
    next: "nothing was changed; if it is right, run again with a larger --max-delete, such as 100%",
  });
}

const ITS_FAULT: readonly string[] = ["NOT_FOUND", "SERVER_ERROR", "SIZE_MISMATCH", "HASH_MISMATCH"];

/** The files among those that did not come that may never do: the fault is theirs, not the network's, the target's or ours. */
export function neverComing(lost: readonly { readonly outcome: Outcome }[]): string[] {
  const names = lost.flatMap(({ outcome }) => {
    if (outcome.outcome !== "failed") return [];
    const { error, fileName } = outcome;
    if (error instanceof PackageError) return error.code === "CONFLICT" ? [] : [fileName];
    return error instanceof TransferError && ITS_FAULT.includes(error.code) ? [fileName] : [];
  });
  return [...new Set(names)];
}

/** Keeps packages that are needed from going. */
export function spare(following: Following, needed: readonly PackageRef[]): void {
  const stays = new Set(
    needed.map(({ subdir, fileName }) => (subdir === undefined ? fileName : `${subdir}/${fileName}`)),
  );
  for (const [target, subdirs] of following.gone) {
    const left = subdirs.map((one): Gone => {
      const gone = one.gone.filter((f) => !stays.has(f) && !stays.has(`${one.subdir}/${f}`));
      return { ...one, gone, going: one.going - (one.gone.length - gone.length) };
    });
    following.gone.set(target, left);
  }
}

function isAllowed(going: number, listed: number, most: Most): boolean {
  if (going === 0) return true;
  if (most.of === "count") return going <= most.limit;
  if (most.of === "percent") return going <= (listed * most.limit) / 100;
  return going <= Math.max(10, listed / 10) && going < listed;
}

/** What goes from a target: every subdir that was looked at is there, so that it is seen to be whole. */
export function removalsFor(target: Target, following: Following, removal: Removal | undefined): Removals {
  const removals = new Map<string, { remove: Set<string>; takenBack: Set<string>; removeFiles?: boolean }>();
  for (const { subdir, gone, takenBack } of following.gone.get(target) ?? []) {
    const keep = removal?.keepFiles === true;
    removals.set(subdir, {
      remove: new Set(keep ? [] : gone),
      // Files that stay, and that nobody finds any more, are told of as taken back.
      takenBack: new Set(keep ? [...takenBack, ...gone] : takenBack),
      ...(removal && !keep && (gone.length > 0 || takenBack.length > 0) ? { removeFiles: true } : {}),
    });
  }
  return removals;
}
