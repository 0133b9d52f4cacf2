/** What the operating system's refusal means, and what can be done about it. */
export interface SystemCause {
  /** In words, with the system's own behind them. */
  readonly why: string;
  readonly next: string;
  /** Set where it is room that lacks. */
  readonly full?: true;
}

const PERMISSIONS = "give this user the permission";

/** By code: what it means where something is to be written, and what helps. */
const CAUSES: Readonly<Record<string, readonly [why: string, next: string]>> = {
  ENOSPC: ["no space is left on its disk", "free some space"],
  EDQUOT: ["no space is left of what this user may use of its disk", "free some space, or have the quota raised"],
  EROFS: ["its file system may only be read", "mount it for writing"],
  EACCES: ["this user lacks the permission", PERMISSIONS],
  EPERM: ["the system does not permit it", PERMISSIONS],
  ENOTDIR: ["a file stands where a folder has to be", "move the file away"],
  EEXIST: ["a file stands where a folder has to be", "move the file away"],
  EISDIR: ["a folder stands where a file has to be", "move the folder away"],
  ENOENT: ["it can't be made there", "make the folder that it has to lie in"],
  ENAMETOOLONG: ["the path is too long for its file system", "take a shorter one"],
  ELOOP: ["links on the way to it lead in a circle", "mend the links"],
  EMFILE: ["this process has too many files open", "raise the limit (ulimit -n), or lower --max-concurrent-downloads"],
  ENFILE: ["the whole machine has too many files open", "end what has them open, or lower --max-concurrent-downloads"],
  EIO: ["its disk fails", "check the disk"],
  ESTALE: ["the share that it lies on is gone", "mount it again"],
};

/** What a code of the system's means for a place that is written to; undefined for what is none of the system's refusals. */
export function systemCause(thrown: unknown): SystemCause | undefined {
  const { code, message = "", path } = (thrown ?? {}) as { code?: unknown; message?: string; path?: unknown };
  const cause = typeof code === "string" && Object.hasOwn(CAUSES, code) ? CAUSES[code] : undefined;
  if (!cause) return undefined;
  const [why, next] = cause;
  const at = typeof path === "string" && !message.includes(path) ? ` '${path}'` : "";
  return { why: `${why} (${message}${at})`, next, ...(code === "ENOSPC" || code === "EDQUOT" ? { full: true } : {}) };
}
