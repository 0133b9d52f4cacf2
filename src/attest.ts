import { hash } from "node:crypto";
import { PackageError, TransferError } from "./errors.ts";
import type { Run } from "./run.ts";
import type { PackageRef } from "./source/source.ts";
import type { Target } from "./target/target.ts";
import { readAll } from "./transfer/read-all.ts";
import { withRetries } from "./transfer/retry.ts";

/** No sidecar comes near this. */
const MAX_SIDECAR = 4 * 1024 * 1024;

/** A sidecar on its way: fetched once, for as many targets as want it. */
export interface Attested {
  /** The sidecar, as it is. */
  readonly bytes: Uint8Array;
  /**
   * Puts it beside the package in a target: under its hash first, then under the name that clients ask for (CEP 50 §Mirrors). An
   * older one stays under its own hash.
   */
  put(target: Target, subdir: string): Promise<void>;
}

/**
 * The sidecar that a package's record promises (CEP 50: `attestations_sha256`), as it is, for targets that have a place for it or
 * take what it holds; to be put there before the record is published. Undefined where none is promised, or wanted.
 * @throws PackageError BAD_METADATA where there is none, or one that is no sidecar; TransferError HASH_MISMATCH
 */
export async function attested(ref: PackageRef, targets: readonly Target[], run: Run): Promise<Attested | undefined> {
  const { attestations, fileName, subdir } = ref;
  if (!attestations || !targets.some((t) => t.sidecars || t.attests)) return undefined;
  const { sha256 } = attestations;
  const pathIn = (folder: string) => `${folder}/${fileName}.sigs`;
  const isIt = (bytes: Uint8Array | undefined) => bytes !== undefined && hash("sha256", bytes, "hex") === sha256;
  let found: Uint8Array | undefined;
  for (const { sidecars } of subdir === undefined ? [] : targets) {
    // A target that can't be read tells when it is to be written; here it spares a request, and no more.
    const there = await sidecars?.read(`${pathIn(subdir as string)}.${sha256}`).catch(() => undefined);
    if (isIt(there)) found = there;
  }
  const bytes = found ?? (await fetched(ref, sha256, run));
  return {
    bytes,
    async put({ sidecars }, folder) {
      if (!sidecars) return;
      const path = pathIn(folder);
      for (const at of [`${path}.${sha256}`, path]) if (!isIt(await sidecars.read(at))) await sidecars.write(at, bytes);
    },
  };
}

async function fetched({ attestations, fileName }: PackageRef, sha256: string, run: Run): Promise<Uint8Array> {
  const { signal } = run;
  const place = (attestations as NonNullable<PackageRef["attestations"]>).place();
  const once = async (): Promise<Uint8Array> => {
    const bytes = await readAll(place, MAX_SIDECAR, signal);
    const got = hash("sha256", bytes, "hex");
    if (got === sha256) return bytes;
    throw new TransferError(
      "HASH_MISMATCH",
      {
        what: `${fileName}: its attestations are others than its record promises`,
        why: `expected sha256 ${sha256}, got ${got} from ${place.origin}`,
        next: "nothing was added; run again, or tell the channel's owner if it stays",
      },
      { mayPass: true },
    );
  };
  let bytes: Uint8Array;
  try {
    bytes = await withRetries(once, { ...run.retry, signal });
  } catch (e) {
    if (!(e instanceof TransferError && e.code === "NOT_FOUND")) throw e;
    throw new PackageError("BAD_METADATA", {
      what: `${fileName}: its attestations are not there`,
      why: `its record promises them, and ${place.origin} is not found`,
      next: "nothing was added; run again later, or tell the channel's owner",
      cause: e,
    });
  }
  if (isSidecar(bytes)) return bytes;
  throw new PackageError("BAD_METADATA", {
    what: `${fileName}: its attestations can't be used`,
    why: `${place.origin} is no JSON array of bundles`,
    next: "nothing was added; tell the channel's owner",
  });
}

function isSidecar(bytes: Uint8Array): boolean {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "object" && one !== null);
  } catch {
    return false;
  }
}
