import { printable } from "../errors.ts";

/** What verify finds wrong; where it is seen, what it means, and what mends it stand in `TOLD`. */
export type FindingCode = keyof typeof TOLD;

/** One thing that is wrong with a channel. */
export interface Finding {
  readonly code: FindingCode;
  readonly subdir: string;
  /** The file that it is about, inside the subdir: a package, or a file of the index. */
  readonly fileName: string;
  /** What was seen, in words: also told apart by it, where one thing is looked at twice. */
  readonly detail: string;
}

/** A finding in the three parts that every failure has. */
export interface ToldFinding {
  readonly code: FindingCode;
  readonly subdir: string;
  readonly fileName: string;
  readonly what: string;
  readonly why: string;
  readonly next: string;
}

const AGAIN = "run verify --repair --from SOURCE, which brings it again from there by its hash";
const ANEW = "run verify --repair, which makes it anew from repodata.json";

/** What is told of a finding: behind the file's name, and what to do next. */
const TOLD = {
  PACKAGE_MISSING: ["its record is there and its file is not", AGAIN],
  PACKAGE_SIZE: ["its size is not the one its record says", AGAIN],
  PACKAGE_DAMAGED: ["its bytes are not those its record says", AGAIN],
  PACKAGE_UNREADABLE: ["its file can't be read", "check the file, its permissions and its disk"],
  PACKAGE_OUTSIDE: [
    "it is a link that leads out of the channel",
    "put the file itself there; the link was not followed",
  ],
  PACKAGE_BROKEN: [
    "its bytes are those its record says, and no package",
    "take it out of the channel, or have it built again: its source has it like this",
  ],
  PACKAGE_DIFFERS: [
    "it is another package than its record says",
    "take the file away, run index, put it back and run index again: that makes its record anew",
  ],
  PACKAGE_UNLISTED: ["no record names it", "run verify --repair or index, which read it in, or take it away"],
  RECORD_UNUSABLE: ["its record can't be used", "take its file away and run index on the channel"],
  REMOVED_UNUSABLE: [
    '"removed" has it, which is no package\'s name: pixi and rattler can read nothing of this index',
    "run verify --repair or index, which leave it out",
  ],
  INDEX_MISSING: ["there is no repodata.json, which clients insist on", "run verify --repair, or index"],
  INDEX_UNREADABLE: [
    "the index can't be read, and nothing of this subdir was looked at",
    "run verify --repair, which takes it from repodata.json.zst or .bz2 where one is whole; else restore it from a backup",
  ],
  FORM_UNREADABLE: ["this file of the index can't be read", ANEW],
  FORM_DIFFERS: ["it does not say what repodata.json says", ANEW],
  SHARD_MISSING: ["the shard index names this shard, and it is not there", ANEW],
  SHARD_DAMAGED: ["the bytes of this shard are not those of its name", ANEW],
  SHARD_DIFFERS: ["this shard does not say what repodata.json says", ANEW],
  SIDECAR_MISSING: ["a record promises these attestations, and they are not there", AGAIN],
  SIDECAR_DAMAGED: ["these attestations are not those that a record promises", AGAIN],
} as const satisfies Record<string, readonly [what: string, next: string]>;

export const FINDING_CODES = Object.keys(TOLD) as readonly FindingCode[];

/** What is told of a finding. Names of foreign files are made fit for a terminal. */
export function tell({ code, subdir, fileName, detail }: Finding): ToldFinding {
  const [what, next] = TOLD[code];
  const name = printable(fileName);
  return { code, subdir, fileName: name, what: `${subdir}/${name}: ${what}`, why: printable(detail), next };
}

/** Whether two looks saw the same. */
export function isSame(a: Finding, b: Finding): boolean {
  return a.code === b.code && a.subdir === b.subdir && a.fileName === b.fileName && a.detail === b.detail;
}
