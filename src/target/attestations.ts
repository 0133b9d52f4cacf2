import { readFile } from "node:fs/promises";
import { tableOf } from "../auth/credential.ts";
import { UsageError } from "../errors.ts";

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
    // As it was given, where it is the only one.
    found.set(sha256, Array.isArray(value) ? JSON.stringify(bundle) : text);
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
