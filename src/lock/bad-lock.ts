import { SourceError } from "../errors.ts";

/** A lock file that can't be used, and why. */
export function badLock(what: string, why: string, cause?: unknown): SourceError {
  return new SourceError("BAD_LOCK", {
    what: `${what}: can't be used as a lock file`,
    why,
    next: "nothing of it was taken; make the lock file anew, or name its packages one by one",
    cause,
  });
}
