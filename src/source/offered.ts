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
  /**
   * Further columns of a table, by their headings and in their order: `{ "Build Number": "20261125.3", "Source Branch": … }`.
   * A build's table is its id and these alone.
   */
  readonly columns?: Readonly<Record<string, string>>;
  /**
   * What the service itself says of it, under the names that it uses: whoever reads `info`'s JSON or YAML with a program finds it
   * as the service documents it. Its names are stronger than ours.
   */
  readonly record?: Readonly<Record<string, unknown>>;
  /**
   * The arguments of `mirror` that take it, target aside: `["owner/repo#123"]`, or with flags, `["…", "--src-path", "…"]`. Absent
   * when it can't be taken (any more).
   */
  readonly take?: readonly string[];
}
