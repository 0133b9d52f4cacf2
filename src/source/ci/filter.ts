import { UsageError } from "../../errors.ts";

/** Which builds and artifacts of CI systems are wanted. Plain data, as flags give it. */
export interface CiFilter {
  /** A regular expression on the names of artifacts, or of a release's files. */
  readonly nameFilter?: string;
  /** Builds of this branch alone. */
  readonly branch?: string;
  /** Builds of this commit alone; for a pull request, of this one in place of the newest. */
  readonly commit?: string;
  /** Azure: builds of this pipeline alone, by name or number. */
  readonly definition?: string;
  /** Azure: how many of the newest builds of a project are looked at. Default: 1; 50 with a filter. */
  readonly maxBuilds?: number;
  /** Also what builds made that failed. */
  readonly allowFailed?: boolean;
  /** Pull requests: all open ones of this person, in the repository that is the source. */
  readonly author?: string;
  /** Pull requests: all open ones with this label. */
  readonly label?: string;
}

/** The test of `nameFilter`; everything passes where there is none. @throws UsageError BAD_FLAG */
export function namePattern({ nameFilter }: CiFilter): (name: string) => boolean {
  if (nameFilter === undefined) return () => true;
  try {
    const pattern = new RegExp(nameFilter);
    return (name) => pattern.test(name);
  } catch (e) {
    throw new UsageError("BAD_FLAG", {
      what: `--name-filter ${nameFilter}`,
      why: (e as Error).message,
      next: "give a regular expression, such as '^conda_pkgs_linux'",
      cause: e,
    });
  }
}
