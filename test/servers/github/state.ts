/** What a GitHub of the tests holds. `repo` is "owner/name" everywhere. */
export interface Artifact {
  readonly repo: string;
  readonly id: number;
  readonly name: string;
  readonly run: number;
  readonly zip: Uint8Array;
  readonly branch?: string;
  readonly sha?: string;
  readonly expired?: boolean;
}

export interface Run {
  readonly repo: string;
  readonly id: number;
  readonly sha: string;
  readonly branch?: string;
}

export interface Pull {
  readonly repo: string;
  readonly number: number;
  readonly sha: string;
  readonly author: string;
  readonly labels?: readonly string[];
  readonly state?: "open" | "closed";
}

export interface Check {
  readonly repo: string;
  readonly id: number;
  readonly sha: string;
  readonly name: string;
  /** "azure-pipelines", "github-actions" */
  readonly app: string;
  readonly details: string;
  /** null while it runs. */
  readonly conclusion: string | null;
}

export interface Status {
  readonly repo: string;
  readonly sha: string;
  readonly context: string;
  readonly state: string;
  readonly target: string | null;
}

export interface Asset {
  readonly id: number;
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly digest: string | null;
}

export interface Release {
  readonly repo: string;
  readonly id: number;
  readonly tag: string;
  readonly assets: readonly Asset[];
}

/** A token and what it may do. */
export interface Token {
  readonly kind: "classic" | "fine-grained";
  /** Scopes of a classic one ("repo"); permissions of a fine-grained one ("actions=read"). */
  readonly may: readonly string[];
  /** Whose it is. Default: "ada". */
  readonly of?: string;
  /** It was good once. */
  readonly expired?: boolean;
}

export interface State {
  /** Repositories that only tokens with the scope repo see. */
  readonly hidden: Set<string>;
  readonly repos: Set<string>;
  /** Repositories by the names that they had. */
  readonly renamed: Map<string, string>;
  readonly tokens: Map<string, Token>;
  readonly artifacts: Artifact[];
  readonly runs: Run[];
  readonly pulls: Pull[];
  /** Issues that are no pull requests. */
  readonly issues: Pull[];
  readonly checks: Check[];
  readonly statuses: Status[];
  readonly releases: Release[];
}

export function emptyState(): State {
  return {
    hidden: new Set(),
    repos: new Set(),
    renamed: new Map(),
    tokens: new Map(),
    artifacts: [],
    runs: [],
    pulls: [],
    issues: [],
    checks: [],
    statuses: [],
    releases: [],
  };
}
