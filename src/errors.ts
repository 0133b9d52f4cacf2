import { type SystemCause, systemCause } from "./system-errors.ts";

/** The three parts that every failure tells a person. Secrets are removed before they get here. */
export interface Told {
  /** What failed: the package, URL or setting. */
  readonly what: string;
  /** The cause, with the other side's own words where there are any. */
  readonly why: string;
  /** What to do next. */
  readonly next: string;
  readonly cause?: unknown;
}

export type UsageCode = "BAD_FLAG" | "BAD_CONFIG" | "NO_TARGET" | "NO_SOURCE" | "BAD_SOURCE" | "BAD_TARGET" | "NOT_YET";
export type SourceCode =
  | "NOT_FOUND"
  | "UNREADABLE"
  | "BAD_INDEX"
  | "BAD_ANSWER"
  | "UNSOLVABLE"
  | "BAD_LOCK"
  | "BAD_BUNDLE";
export type TransferCode =
  | "UNREACHABLE"
  | "REFUSED"
  | "SIGN_IN"
  | "NOT_FOUND"
  | "SERVER_ERROR"
  | "TIMEOUT"
  | "CUT"
  | "SIZE_MISMATCH"
  | "HASH_MISMATCH"
  | "BAD_REDIRECT"
  | "WAIT_TOO_LONG";
export type PackageCode =
  | "BAD_NAME"
  | "NOT_A_PACKAGE"
  | "DAMAGED"
  | "TOO_LARGE"
  | "BAD_MEMBER"
  | "BAD_METADATA"
  | "NAME_MISMATCH"
  | "UNREADABLE"
  | "CHANGED"
  | "CONFLICT";
export type TargetCode =
  | "NOT_FOUND"
  | "UNREACHABLE"
  | "REFUSED"
  | "UNWRITABLE"
  | "BAD_INDEX"
  | "FULL"
  | "LOST_RACE"
  | "BUSY"
  | "MAX_DELETE";

/** Base of every error this library throws on purpose. `exitCode` is what the command line ends with. */
export abstract class MirrorError extends Error implements Told {
  abstract readonly family: "usage" | "source" | "transfer" | "package" | "target" | "interrupted";
  readonly code: string;
  readonly what: string;
  readonly why: string;
  readonly next: string;
  readonly exitCode: number;

  constructor(code: string, told: Told, exitCode: number) {
    super(
      `${printable(told.what)}\n  ${printable(told.why)}\n  ${told.next}`,
      told.cause === undefined ? undefined : { cause: told.cause },
    );
    this.name = new.target.name;
    this.code = code;
    this.what = printable(told.what);
    this.why = printable(told.why);
    this.next = told.next;
    this.exitCode = exitCode;
  }
}

const MOST_FRAMES = 100;

/** Text with foreign names in it, as a terminal may show it: without what moves the cursor or turns the writing direction. */
export function printable(text: string): string {
  if (!STEERING.test(text)) return text;
  return text.replace(new RegExp(STEERING, "gu"), (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`);
}

const STEERING = /[^\P{Cc}\n\t]|[\p{Cf}\p{Zl}\p{Zp}]/u;

/** Wrong flags or configuration: nothing was tried. Exit code 2. */
export class UsageError extends MirrorError {
  readonly family = "usage";
  declare readonly code: UsageCode;
  constructor(code: UsageCode, told: Told) {
    super(code, told, 2);
  }
}

/** A source that can't be enumerated. Exit code 3. */
export class SourceError extends MirrorError {
  readonly family = "source";
  declare readonly code: SourceCode;
  constructor(code: SourceCode, told: Told) {
    super(code, told, 3);
  }
}

/** Bytes that did not arrive. Exit code 3 where the other side is unreachable or refuses us, else 1. */
export class TransferError extends MirrorError {
  readonly family = "transfer";
  declare readonly code: TransferCode;
  /** Whether the same request may succeed a moment later. */
  readonly mayPass: boolean;
  /** Milliseconds the server asked us to wait, when it did. */
  readonly retryAfterMs: number | undefined;
  constructor(code: TransferCode, told: Told, retry: { mayPass: boolean; retryAfterMs?: number | undefined }) {
    super(code, told, code === "UNREACHABLE" || code === "REFUSED" || code === "SIGN_IN" ? 3 : 1);
    this.mayPass = retry.mayPass;
    this.retryAfterMs = retry.retryAfterMs;
  }
}

/** A package that is refused. Exit code 1. */
export class PackageError extends MirrorError {
  readonly family = "package";
  declare readonly code: PackageCode;
  constructor(code: PackageCode, told: Told) {
    super(code, told, 1);
  }
}

/** The target can't be read or written. Exit code 3; 4 when other writers kept winning, or are still at work. */
export class TargetError extends MirrorError {
  readonly family = "target";
  declare readonly code: TargetCode;
  constructor(code: TargetCode, told: Told) {
    super(code, told, code === "LOST_RACE" || code === "BUSY" ? 4 : 3);
  }
}

/** The caller's signal ended the run. What was finished is indexed. Exit code 130. */
export class InterruptedError extends MirrorError {
  readonly family = "interrupted";
  declare readonly code: "INTERRUPTED";
  constructor(cause?: unknown) {
    const why = "the run was interrupted";
    super(
      "INTERRUPTED",
      { what: "interrupted", why, next: "what was finished is indexed; run again to go on", cause },
      130,
    );
  }
}

/** Whether work ended because it was told to. */
export function isInterruption(thrown: unknown, signal: AbortSignal): boolean {
  return signal.aborted || thrown instanceof InterruptedError || (thrown as Error | null)?.name === "AbortError";
}

/** Where an error came from and where its causes did, a frame a line. Their words are left out: they may name secrets. */
export function framesOf(error: MirrorError): string | undefined {
  const lines: string[] = [];
  for (let one: unknown = error; one instanceof Error && lines.length < MOST_FRAMES; one = one.cause) {
    const frames = (one.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
    if (frames.length > 0) lines.push(...(one === error ? [] : [`  caused by ${one.name}`]), ...frames);
  }
  return lines.length > 0 ? lines.join("\n") : undefined;
}

/** Whatever was thrown, as an error of ours: kept when it is one, told in its own words when it is not. */
export function asMirrorError(thrown: unknown, what: string): MirrorError {
  if (thrown instanceof MirrorError) return thrown;
  if (thrown instanceof Error && thrown.name === "AbortError") return new InterruptedError(thrown);
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  const { code } = (thrown ?? {}) as { readonly code?: string };
  if (code !== undefined && OUT_OF_FILES.includes(code)) {
    const { why: words, next } = systemCause(thrown) as SystemCause;
    return new PackageError("UNREADABLE", { what, why: words, next: `${next}, and run again`, cause: thrown });
  }
  if ((code !== undefined && BARRED.includes(code)) || sqliteCause(thrown)) return unwritable(what, thrown);
  return new PackageError("DAMAGED", {
    what,
    why,
    next: "run again with -v for the stack; if it stays, report it",
    cause: thrown,
  });
}

const OUT_OF_FILES: readonly string[] = ["EMFILE", "ENFILE"];

/** What the system says of places that are written to alone, whatever was done. */
const BARRED: readonly string[] = ["ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "ENOTDIR"];

/**
 * What the system throws where something is to be written, in words.
 * @param what can't be written.
 * @param or what else can be done.
 */
export function unwritable(what: string, thrown: unknown, or?: string): TargetError {
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  const cause = sqliteCause(thrown) ?? systemCause(thrown) ?? { why, next: "check the folder and its disk" };
  const next = `${cause.next} and run again${or === undefined ? "" : `, or ${or}`}`;
  return cause.full
    ? new TargetError("FULL", { what, why: cause.why, next: `${next}; what was finished is kept`, cause: thrown })
    : new TargetError("UNWRITABLE", { what, why: cause.why, next, cause: thrown });
}

const SQLITE_READONLY = 8;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;

/** The lock of a folder and the notes of its index are SQLite's. */
function sqliteCause(thrown: unknown): SystemCause | undefined {
  const { code, errcode, message } = (thrown ?? {}) as { code?: string; errcode?: number; message?: string };
  if (code !== "ERR_SQLITE_ERROR") return undefined;
  // Its extended codes share the low byte.
  const short = (errcode ?? 0) % 256;
  if (short === SQLITE_FULL)
    return { why: `no space is left on its disk (${message})`, next: "free some space", full: true };
  if (short === SQLITE_READONLY || short === SQLITE_CANTOPEN)
    return {
      why: `its folder may only be read, by this user or by anybody (${message})`,
      next: "let this user write there, or mount its file system for writing,",
    };
  return undefined;
}

/** An error in a form that crosses threads. */
export interface SentError {
  readonly family: string;
  readonly code: string;
  readonly what: string;
  readonly why: string;
  readonly next: string;
  readonly stack: string | undefined;
  readonly mayPass: boolean;
  readonly retryAfterMs: number | undefined;
}

/** Makes an error ready for another thread; what is none of ours is told in its own words. */
export function sendError(thrown: unknown, what: string): SentError {
  const e = asMirrorError(thrown, what);
  const retry =
    e instanceof TransferError
      ? { mayPass: e.mayPass, retryAfterMs: e.retryAfterMs }
      : { mayPass: false, retryAfterMs: undefined };
  return { family: e.family, code: e.code, what: e.what, why: e.why, next: e.next, stack: e.stack, ...retry };
}

/** The error that was sent, of its own class again. */
export function reviveError(sent: SentError): MirrorError {
  const told = { what: sent.what, why: sent.why, next: sent.next };
  const error =
    sent.family === "interrupted"
      ? new InterruptedError()
      : sent.family === "transfer"
        ? new TransferError(sent.code as TransferError["code"], told, sent)
        : sent.family === "target"
          ? new TargetError(sent.code as TargetError["code"], told)
          : new PackageError(sent.code as PackageError["code"], told);
  if (sent.stack) error.stack = sent.stack;
  return error;
}
