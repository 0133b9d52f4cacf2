import { readFile } from "node:fs/promises";
import { tableOf } from "../auth/credential.ts";
import { TransferError, UsageError } from "../errors.ts";
import { readAll } from "../transfer/read-all.ts";
import { type RetryOptions, withRetries } from "../transfer/retry.ts";
import type { Upload } from "./service.ts";

/** Attestations that are passed along with packages (CEP 27: Sigstore bundles), by what they are about. */
export interface Attestations {
  /** The bundle for a package, as it was given; undefined where there is none. */
  of(received: { readonly sha256: string; readonly fileName: string }): string | undefined;
}

export const noAttestations: Attestations = { of: () => undefined };

/**
 * Reads files of Sigstore bundles: one, or an array of them. Each is about the package whose SHA-256 its statement names;
 * whether its signature is good is for those to check who rely on it.
 * @throws UsageError BAD_FLAG for a file that is none
 */
export async function readAttestations(paths: readonly string[]): Promise<Attestations> {
  const bySubject = new Map<string, string>();
  for (const path of paths) {
    const text = await readFile(path, "utf8").catch((e: Error) => {
      throw unusable(path, e.message);
    });
    for (const [sha256, bundle] of bundlesIn(text, (why) => unusable(path, why))) bySubject.set(sha256, bundle);
  }
  return { of: ({ sha256 }) => bySubject.get(sha256) };
}

/** No sidecar comes near this. */
const MAX_SIDECAR = 4 * 1024 * 1024;

/**
 * The bundle about a package that its record promises, or else that the source has beside it; undefined where there is none.
 * @throws TransferError when there may be one, and it can't be read
 */
export async function carried(
  { fileName, sha256, sidecars, attested, warn }: Upload,
  retry: Omit<RetryOptions, "signal">,
  signal: AbortSignal,
): Promise<string | undefined> {
  const bundleIn = (bytes: Uint8Array, origin: string): string | undefined => {
    try {
      const bundle = bundlesIn(Buffer.from(bytes).toString("utf8"), (why) => new Error(why)).get(sha256);
      if (bundle === undefined) warn(`${origin} is about other bytes, and is not passed along`);
      return bundle;
    } catch (e) {
      warn(`${origin} is not passed along: ${(e as Error).message}`);
      return undefined;
    }
  };
  if (attested) return bundleIn(attested, `${fileName}.sigs`);
  for (const place of sidecars) {
    let bytes: Uint8Array;
    try {
      bytes = await withRetries(() => readAll(place, MAX_SIDECAR, signal), { ...retry, signal });
    } catch (e) {
      // 403 is what S3 answers for a missing key when listing is not allowed.
      if (e instanceof TransferError && (e.code === "NOT_FOUND" || e.code === "REFUSED")) continue;
      throw e;
    }
    const bundle = bundleIn(bytes, place.origin);
    if (bundle !== undefined) return bundle;
  }
  return undefined;
}

/** The bundles of a text, by the SHA-256 of what they are about. */
export function bundlesIn(text: string, refuse: (why: string) => Error): Map<string, string> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse("it is not JSON");
  }
  const found = new Map<string, string>();
  for (const bundle of Array.isArray(value) ? value : [value]) {
    const sha256 = subjectOf(bundle);
    if (sha256 === undefined) throw refuse("it is no Sigstore bundle about one package");
    // As it was given, where it is the only one. Of several about one package the first goes: services take one.
    if (!found.has(sha256)) found.set(sha256, Array.isArray(value) ? JSON.stringify(bundle) : text);
  }
  return found;
}

/** The SHA-256 of a bundle's only subject (in-toto Statement v1 in a DSSE envelope). */
function subjectOf(bundle: unknown): string | undefined {
  const envelope = tableOf(bundle) ? bundle["dsseEnvelope"] : undefined;
  const payload = tableOf(envelope) ? envelope["payload"] : undefined;
  if (typeof payload !== "string") return undefined;
  try {
    const statement: unknown = JSON.parse(Buffer.from(payload, "base64").toString("utf8"));
    const subjects = tableOf(statement) ? statement["subject"] : undefined;
    const [subject, ...more] = Array.isArray(subjects) ? (subjects as unknown[]) : [];
    const digest = tableOf(subject) ? subject["digest"] : undefined;
    const sha256 = tableOf(digest) ? digest["sha256"] : undefined;
    return more.length === 0 && typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256) ? sha256 : undefined;
  } catch {
    return undefined;
  }
}

function unusable(path: string, why: string): UsageError {
  return new UsageError("BAD_FLAG", {
    what: `--attestation ${path}: can't be used`,
    why,
    next: "give a Sigstore bundle, as rattler-build and cosign write it",
  });
}
