/**
 * Something that a source offers and that is no single package yet: what `info` tells of it. Packages are told of by
 * looking into what `Source.packages` yields.
 */
export interface Offered {
  readonly kind: "artifact" | "build" | "run" | "check" | "release-asset";
  readonly name: string;
  /** What its service knows it by. */
  readonly id?: string;
  /** Bytes. */
  readonly size?: number;
  /** ISO 8601, as the service says it. */
  readonly created?: string;
  readonly expires?: string;
  readonly expired?: boolean;
  /** How it went, in the service's own word: "succeeded", "failure", "inProgress". */
  readonly state?: string;
  /** What `--description-filter` is searched for in: a pipeline's name, a run's title. */
  readonly description?: string;
  /** What else its service says and people or scripts ask for, in the order to show it. */
  readonly details?: Readonly<Record<string, string | number | boolean | null>>;
  /**
   * The arguments that take it, target aside: `["owner/repo#123"]`, or with flags, `["…", "--src-path", "…"]`. Absent
   * when it can't be taken (any more).
   */
  readonly take?: readonly string[];
}
