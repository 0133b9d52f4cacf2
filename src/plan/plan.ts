import { PackageError } from "../errors.ts";

/** What to do about a file of the same name and other bytes. */
export type OnConflict = "error" | "skip" | "replace";

/** What is known of a package on offer. */
export interface Offer {
  readonly fileName: string;
  readonly origin: string;
  readonly key: string;
  readonly sha256?: string;
  readonly md5?: string;
  /** Bytes. */
  readonly size?: number;
  readonly subdir?: string;
}

/** A file that the target has or lists under an offered name. */
export interface Present {
  readonly subdir: string;
  readonly fileName: string;
  /** What the target's index says of it; undefined when the index does not know it. */
  readonly recorded: { readonly sha256?: string; readonly md5?: string; readonly size?: number } | undefined;
  /** Bytes of the file; undefined when only the index has it. */
  readonly fileSize: number | undefined;
  /** It is there, but unpacked: there is no file whose size could be compared. */
  readonly unpacked?: true;
}

/** One decision about one package. */
export type Step<O extends Offer = Offer> =
  /** Bring it: nothing of that name is there, or what is there is damaged or unlisted. `leftovers` are such files. */
  | { readonly do: "add"; readonly offer: O; readonly leftovers: readonly Present[] }
  /** Bring it and compare: something of that name is there, and whether it is the same can't be told from here. */
  | { readonly do: "compare"; readonly offer: O; readonly present: readonly Present[] }
  /** Bring it in place of what is there. */
  | { readonly do: "replace"; readonly offer: O; readonly was: Present }
  /** It is there. */
  | { readonly do: "keep"; readonly offer: O; readonly present: Present }
  /** Other bytes of that name are there, and they stay. */
  | { readonly do: "skip"; readonly offer: O; readonly present: Present }
  /** It can't be taken. */
  | { readonly do: "refuse"; readonly offer: O; readonly error: PackageError };

/** What is known about a package once its bytes are here. */
export interface Arrived {
  readonly fileName: string;
  readonly subdir: string;
  readonly sha256: string;
  readonly md5: string;
  readonly size: number;
}

/** Decides what to do about each offer. Pure: no I/O, no clock. Offers of one name are settled in the order given. */
export function makePlan<O extends Offer>(
  offers: readonly O[],
  present: ReadonlyMap<string, readonly Present[]>,
  onConflict: OnConflict,
): Step<O>[] {
  const seen = new Map<string, O[]>();
  const steps: Step<O>[] = [];
  const contested = new Map<string, PackageError>();
  for (const offer of offers) {
    const twins = seen.get(offer.fileName) ?? [];
    if (twins.some((t) => t.key === offer.key || sameBytes(t, offer) === true)) continue;
    const other = twins.find(
      (t) => t.subdir !== undefined && t.subdir === offer.subdir && sameBytes(t, offer) === false,
    );
    if (other && onConflict === "error") contested.set(placeOf(offer), contest(other, offer));
    seen.set(offer.fileName, [...twins, offer]);
    steps.push(stepFor(offer, present.get(offer.fileName) ?? [], onConflict));
  }
  if (contested.size === 0) return steps;
  // Whichever came first would win by chance, so none is taken.
  return steps.map((step) => {
    const error = contested.get(placeOf(step.offer));
    return error ? { do: "refuse", offer: step.offer, error } : step;
  });
}

function placeOf({ subdir, fileName }: Offer): string {
  return `${subdir}/${fileName}`;
}

/** The error for offers that promise differing bytes for one place. */
function contest(one: Offer, other: Offer): PackageError {
  const bytes = (o: Offer) => `${o.origin} is ${o.sha256 ?? o.md5 ?? `${o.size} bytes`}`;
  return new PackageError("CONFLICT", {
    what: `${one.fileName}: the sources promise differing bytes under this name`,
    why: `${bytes(one)}, ${bytes(other)}`,
    next: "nothing was changed; mirror one of them alone, or each into a channel of its own",
  });
}

function stepFor<O extends Offer>(offer: O, present: readonly Present[], onConflict: OnConflict): Step<O> {
  const here = offer.subdir === undefined ? present : present.filter((p) => p.subdir === offer.subdir);
  const whole = here.filter(isWhole);
  for (const p of whole) if (sameBytes(p.recorded ?? {}, offer) === true) return { do: "keep", offer, present: p };
  if (whole.length === 0) return { do: "add", offer, leftovers: here };
  const one = whole[0] as Present;
  // Without hashes on both sides, or without knowing the subdir, only the bytes can tell.
  if (offer.subdir === undefined || sameBytes(one.recorded ?? {}, offer) === undefined)
    return { do: "compare", offer, present: whole };
  if (onConflict === "replace") return { do: "replace", offer, was: one };
  if (onConflict === "skip") return { do: "skip", offer, present: one };
  return {
    do: "refuse",
    offer,
    error: conflict(offer.fileName, one, offer.origin, offer.sha256 ?? offer.md5 ?? `${offer.size} bytes`),
  };
}

/**
 * Decides about a package whose bytes have arrived.
 * @param there what the target lists or holds under its name in its subdir; for an unlisted file, with the hash of its bytes.
 * @returns "add" to a free name or over a damaged file, "keep" for equal bytes, else as `onConflict` says.
 * @throws PackageError CONFLICT
 */
export function settle(
  arrived: Arrived,
  there: Present | undefined,
  onConflict: OnConflict,
  origin: string,
): "add" | "keep" | "replace" | "skip" {
  if (!there?.recorded) return "add";
  const same = sameBytes(there.recorded, arrived);
  if (same === true) return isWhole(there) ? "keep" : "replace";
  if (!isWhole(there) && there.fileSize === undefined) return "add";
  if (onConflict === "replace") return "replace";
  if (onConflict === "skip") return "skip";
  throw conflict(arrived.fileName, there, origin, arrived.sha256);
}

/** The target's index lists the file and the file has the size listed. */
function isWhole(p: Present): boolean {
  if (p.recorded === undefined) return false;
  if (p.unpacked) return true;
  return p.fileSize !== undefined && (p.recorded.size === undefined || p.recorded.size === p.fileSize);
}

/** Whether two descriptions are of the same bytes; undefined when they share no hash and don't differ in size. */
export function sameBytes(
  a: { sha256?: string; md5?: string; size?: number },
  b: { sha256?: string; md5?: string; size?: number },
): boolean | undefined {
  if (a.sha256 !== undefined && b.sha256 !== undefined) return a.sha256 === b.sha256;
  if (a.size !== undefined && b.size !== undefined && a.size !== b.size) return false;
  if (a.md5 !== undefined && b.md5 !== undefined) return a.md5 === b.md5;
  return undefined;
}

/** The error for a file of the same name and other bytes. */
export function conflict(
  fileName: string,
  there: { subdir: string; recorded: Present["recorded"]; fileSize?: number | undefined },
  origin: string,
  offered: string,
): PackageError {
  const has =
    there.recorded?.sha256 ??
    there.recorded?.md5 ??
    `${there.recorded?.size ?? there.fileSize} bytes, not in the index`;
  return new PackageError("CONFLICT", {
    what: `${fileName}: the target has other bytes under this name`,
    why: `${there.subdir}/${fileName} is ${has}, ${origin} is ${offered}`,
    next: "nothing was changed; choose with --on-conflict skip or --on-conflict replace",
  });
}
