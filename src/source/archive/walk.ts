import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { formatOf } from "../../conda/file-name.ts";
import { type MirrorError, PackageError, printable, SourceError } from "../../errors.ts";
import { ARCHIVE_LIMITS } from "../../package/limits.ts";
import type { RetryOptions } from "../../transfer/retry.ts";
import type { PackageRef } from "../source.ts";
import { ENDINGS } from "./names-archive.ts";

/** How archives are looked through. */
export interface ArchiveOptions {
  /** What the archive is remembered by; differs for differing secrets. */
  readonly key: string;
  /** Which packages, by their path inside the archive; all when absent. */
  readonly members: RegExp | undefined;
  /** Put in front of every path inside, such as "artifact/". Default: nothing. */
  readonly prefix?: string;
  /** How many archives deep inside the archive others are opened. Default: 3. */
  readonly depth?: number;
  /** A folder of the run, for what can't be read where it lies. It is removed at the run's end. */
  readonly scratch: () => Promise<string>;
  readonly retry: Omit<RetryOptions, "signal">;
  readonly warn: (message: string) => void;
  /** Told of bytes that have to be read before it is known what there is. */
  readonly onRead?: (told: ReadProgress) => void;
}

/** How far the reading of an archive is. */
export interface ReadProgress {
  /** For people: the archive. */
  readonly source: string;
  /** That came since the last time, negative when some are read again. */
  readonly bytes: number;
  /** In all, where it is known. */
  readonly size: number | undefined;
}

const DEFAULT_DEPTH = 3;

/** How many names of what there is an error lists. */
const LISTED = 20;

/** What a walk through an archive and those in it shares: what was found, what failed, and what has been spent. */
export class Walk {
  readonly options: ArchiveOptions;
  readonly signal: AbortSignal;
  /** For people: the archive that was named. */
  readonly origin: string;
  readonly failures: MirrorError[] = [];
  /** Bytes of the archive that was named. */
  size = 0;
  offered = 0;
  #folder: Promise<string> | undefined;
  #files = 0;
  #nested = 0;
  #unpacked = 0;
  #packages = 0;
  #others = 0;
  readonly #listedPackages: string[] = [];
  readonly #listedOthers: string[] = [];

  constructor(origin: string, options: ArchiveOptions, signal: AbortSignal) {
    this.origin = origin;
    this.options = options;
    this.signal = signal;
  }

  /** A new name in a folder of this walk. */
  async scratchPath(): Promise<string> {
    this.#folder ??= this.options.scratch().then((folder) => mkdtemp(join(folder, "archive-")));
    return join(await this.#folder, String(this.#files++));
  }

  /** Notes bytes that were unpacked to files of this run. @throws SourceError when that is more than the archive can be good for */
  spend(bytes: number): void {
    this.#unpacked += bytes;
    const most = ARCHIVE_LIMITS.unpackedFrom + this.size * ARCHIVE_LIMITS.memberRatio;
    if (this.#unpacked <= most) return;
    throw new SourceError("UNREADABLE", {
      what: `${this.origin}: too much inside`,
      why: `its ${this.size} bytes unpack to more than ${most}`,
      next: "it is hostile or broken; leave it out",
    });
  }

  /** Tells of bytes of an archive that are read on the way. */
  counter(source: string): (bytes: number, size: number | undefined) => void {
    return (bytes, size) => this.options.onRead?.({ source, bytes, size });
  }

  /** Notes a member. Whether it is a package that is wanted, an archive to look into, or neither. */
  sort(path: string, depth: number): "package" | "archive" | undefined {
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (name === "") return undefined;
    if (formatOf(name)) {
      this.#packages++;
      if (this.#listedPackages.length < LISTED) this.#listedPackages.push(path);
      const wanted = this.options.members?.test(path) ?? true;
      if (wanted && ++this.offered > ARCHIVE_LIMITS.offers) {
        throw new SourceError("UNREADABLE", {
          what: `${this.origin}: too many packages`,
          why: `it offers more than ${ARCHIVE_LIMITS.offers}`,
          next: "choose among them with --src-path",
        });
      }
      return wanted ? "package" : undefined;
    }
    this.#others++;
    if (this.#listedOthers.length < LISTED) this.#listedOthers.push(path);
    if (!ENDINGS.zip.test(name) && !ENDINGS.tgz.test(name)) return undefined;
    if (depth >= (this.options.depth ?? DEFAULT_DEPTH)) {
      this.options.warn(`${this.origin}: ${printable(path)} lies too deep in other archives and was not looked into`);
      return undefined;
    }
    if (++this.#nested > ARCHIVE_LIMITS.nested) {
      throw new SourceError("UNREADABLE", {
        what: `${this.origin}: too many archives inside`,
        why: `it holds more than ${ARCHIVE_LIMITS.nested}`,
        next: "it is hostile or broken; leave it out",
      });
    }
    return "archive";
  }

  /** What is told when everything was looked at: nothing, or the error that the walk ends with. */
  verdict(): MirrorError | undefined {
    const [first] = this.failures;
    if (first) {
      if (this.failures.length === 1) return first;
      return new PackageError("DAMAGED", {
        what: `${this.origin}: ${this.failures.length} of the archives inside can't be read`,
        why: this.failures
          .slice(0, LISTED)
          .map((f) => `${f.what}: ${f.why}`)
          .join("; "),
        next: first.next,
        cause: first,
      });
    }
    if (this.offered > 0) return undefined;
    const { members } = this.options;
    const more = (count: number, listed: readonly string[]) =>
      count > listed.length ? ` and ${count - listed.length} more` : "";
    const list = (listed: readonly string[], count: number) =>
      `${listed.map(printable).join(", ")}${more(count, listed)}`;
    return new SourceError("NOT_FOUND", {
      what:
        members && this.#packages > 0
          ? `${this.origin}: no package matches ${members.source}`
          : `${this.origin}: no packages`,
      why:
        this.#packages > 0
          ? `it holds ${list(this.#listedPackages, this.#packages)}`
          : this.#others > 0
            ? `it holds no .conda or .tar.bz2, but ${list(this.#listedOthers, this.#others)}`
            : "it is empty",
      next:
        members && this.#packages > 0
          ? "change --src-path: it is searched for anywhere in the path inside the archive, unless it has ^ or $"
          : "check that it is the right archive",
    });
  }
}

/** A package that is there but can't be taken: whoever opens it is told why. */
export function refusedRef(ref: Omit<PackageRef, "open">, error: MirrorError): PackageRef {
  const open = () => Promise.reject(error);
  return { ...ref, open, lookInto: open };
}
