import type { Place } from "../../transfer/place.ts";

/** An archive that a CI system keeps, or a release's file. */
export interface Artifact {
  /** "conda_pkgs_linux" */
  readonly name: string;
  /** For people: its web page. */
  readonly page: string;
  /** What its content is remembered by. */
  readonly key: string;
  readonly place: Place;
  /** Bytes, where the service says it. */
  readonly size?: number;
  /** What names of archives hold that differs from build to build, such as a run's number. */
  readonly build?: string;
}
