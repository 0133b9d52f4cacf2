import { SourceError } from "../errors.ts";

/** A bundle that can't be used, and why. */
export function badBundle(what: string, why: string, cause?: unknown): SourceError {
  return new SourceError("BAD_BUNDLE", {
    what: `${what}: can't be used as a bundle`,
    why,
    next: "nothing of it was taken; copy it again from where it was made, or make it anew",
    cause,
  });
}
