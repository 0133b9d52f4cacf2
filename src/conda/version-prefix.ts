/*
 * `1.2.*` and `~=1.2.3`: whether a version begins as another does. rattler's `Version.startsWith` is not used: the one in
 * @conda-org/rattler 0.3.5 is older than the clients, and finds that 1.1.1w does not begin with 1.1.1, so that
 * `openssl=1.1.1` would match no openssl 1.1.1 at all. Current rattler (`segments_starts_with`) and conda
 * (`VersionOrder.startswith`) say it does, and so does this.
 */

/** Numbers without leading zeros, words in lower case, in the order they stand; words get a 0 before them. */
type Segment = readonly string[];

export interface VersionParts {
  readonly epoch: string;
  readonly release: readonly Segment[];
  readonly local: readonly Segment[];
}

/** Takes a version string apart (CEP 33). The string must be a version: what is not one gives parts without meaning. */
export function versionParts(text: string): VersionParts {
  const [, epoch = "0", release = "", local] = /^(?:(\d+)!)?([^+]*)(?:\+(.*))?$/s.exec(text.toLowerCase()) ?? [];
  return {
    epoch: number(epoch),
    release: segments(release),
    local: local === undefined ? [] : segments(local),
  };
}

/** Whether `version` begins with `prefix`: `1.1.1` begins 1.1.1, 1.1.1.0, 1.1.1.2 and 1.1.1w, and not 1.1.10. */
export function startsWith(version: VersionParts, prefix: VersionParts): boolean {
  return (
    version.epoch === prefix.epoch && begins(version.release, prefix.release) && begins(version.local, prefix.local)
  );
}

/** The half of `~=` that is not an order: alike in all segments of `limit` but its last. */
export function startsCompatibly(version: VersionParts, limit: VersionParts): boolean {
  return startsWith(version, { ...limit, release: limit.release.slice(0, -1) });
}

function segments(text: string): Segment[] {
  const parts = text.split(/[._-]/);
  // One separator at the end belongs to the segment before it, two make a segment of their own.
  const trailing = parts.length > 1 && parts.at(-1) === "";
  if (trailing) parts.pop();
  const out = parts.map((part) => {
    const runs = (part.match(/\d+|[a-z]+/g) ?? []).map((run) => (/^\d/.test(run) ? number(run) : run));
    return /^\d/.test(part) ? runs : ["0", ...runs];
  });
  if (trailing) out.at(-1)?.push("_");
  return out;
}

function number(digits: string): string {
  return digits.replace(/^0+(?=\d)/, "");
}

function begins(version: readonly Segment[], prefix: readonly Segment[]): boolean {
  for (let s = 0; s < prefix.length; s++) {
    const wanted = prefix[s] as Segment;
    const found = version[s] ?? [];
    for (let i = 0; i < wanted.length; i++) if ((found[i] ?? "0") !== wanted[i]) return false;
    // 1.1c.1 does not begin with 1.1.1: what is left over must be at the end.
    if (found.length > wanted.length && s + 1 < Math.min(prefix.length, version.length)) return false;
  }
  return true;
}
