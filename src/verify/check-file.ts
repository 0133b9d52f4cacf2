import { createHash, hash } from "node:crypto";
import { type BigIntStats, closeSync, fstatSync, readSync, statSync } from "node:fs";
import { parseFileName } from "../conda/file-name.ts";
import { type RecordFacts, recordFacts } from "../conda/record-facts.ts";
import { MirrorError } from "../errors.ts";
import { readPackage } from "../package/read.ts";
import { type ReadAt, readAtBuffer, readAtFile } from "../package/read-at.ts";
import type { FindingCode } from "./finding.ts";
import { Outside, openInside } from "./inside.ts";

/** A package in a file of this machine, and the record that it must agree with. */
export interface FileToCheck {
  readonly path: string;
  readonly fileName: string;
  readonly record: Uint8Array;
}

/** Where packages may lie: the folders that links may lead into, without links in their own paths. */
export interface Inside {
  readonly subdir: string;
  readonly roots: readonly string[];
}

/** What became of one file. `CHANGED`: it was written to or replaced meanwhile, so that nothing can be said of it. */
export interface Checked {
  readonly bytes: number;
  /** Whether the record says a hash to check by. */
  readonly hashed: boolean;
  readonly problem?: { readonly code: FindingCode | "CHANGED"; readonly detail: string };
}

/** Files up to here are read in one piece, and looked into where they lie then. */
const ROOM = 4 * 1024 * 1024;

/** Checks packages one after the other; file calls are synchronous: meant for worker threads. */
export class FileChecker {
  readonly #room = Buffer.allocUnsafeSlow(ROOM);

  async check({ path, fileName, record }: FileToCheck, inside: Inside): Promise<Checked> {
    let fd: number;
    const facts = recordFacts(record);
    const hashed = facts.sha256 !== undefined || facts.md5 !== undefined;
    const problem = (code: FindingCode | "CHANGED", detail: string, bytes = 0): Checked => {
      return { bytes, hashed, problem: { code, detail } };
    };
    const wrong = misnamed(fileName, facts, inside.subdir);
    if (wrong !== undefined) return problem("RECORD_UNUSABLE", wrong);
    try {
      fd = openInside(path, inside.roots);
    } catch (e) {
      if (e instanceof Outside) return problem("PACKAGE_OUTSIDE", e.message);
      const { code, message } = e as NodeJS.ErrnoException;
      // Of a link that leads to nothing whoever looks further tells.
      if (code === "ENOENT" || code === "ELOOP") return problem("PACKAGE_MISSING", "there is no such file");
      return problem("PACKAGE_UNREADABLE", message);
    }
    try {
      const before = fstatSync(fd, { bigint: true });
      if (before.isDirectory()) return problem("PACKAGE_MISSING", "a folder has its name");
      if (!before.isFile()) return problem("PACKAGE_UNREADABLE", "it is no regular file");
      const size = Number(before.size);
      const found = await this.#look(fd, size, fileName, facts, inside.subdir);
      if (found && isOther(path, before)) return problem("CHANGED", "it changed while it was read", size);
      return found ? problem(found.code, found.detail, size) : { bytes: size, hashed };
    } catch (e) {
      return problem("PACKAGE_UNREADABLE", (e as Error).message);
    } finally {
      closeSync(fd);
    }
  }

  async #look(
    fd: number,
    size: number,
    fileName: string,
    facts: RecordFacts,
    subdir: string,
  ): Promise<{ readonly code: FindingCode; readonly detail: string } | undefined> {
    if (facts.size !== undefined && facts.size !== size)
      return { code: "PACKAGE_SIZE", detail: `expected ${facts.size} bytes, it has ${size}` };
    const algorithm = facts.sha256 !== undefined ? "sha256" : facts.md5 !== undefined ? "md5" : undefined;
    let file: ReadAt;
    let got: string | undefined;
    if (size <= ROOM) {
      const bytes = this.#room.subarray(0, size);
      if (readSome(fd, bytes, 0) < size) return { code: "PACKAGE_SIZE", detail: "it became shorter while it was read" };
      got = algorithm && hash(algorithm, bytes, "hex");
      file = readAtBuffer(bytes);
    } else {
      const made = createHash(algorithm ?? "sha256");
      for (let at = 0; at < size; ) {
        const n = readSome(fd, this.#room.subarray(0, Math.min(ROOM, size - at)), at);
        if (n === 0) return { code: "PACKAGE_SIZE", detail: "it became shorter while it was read" };
        made.update(this.#room.subarray(0, n));
        at += n;
      }
      got = made.digest("hex");
      file = readAtFile(fd, size, fileName);
    }
    const expected = algorithm && facts[algorithm];
    if (expected !== undefined && got !== expected)
      return { code: "PACKAGE_DAMAGED", detail: `expected ${algorithm} ${expected}, got ${got}` };
    return unlike(fileName, file, subdir);
  }
}

/** Why a record does not belong to its file's name, in words; undefined where it does. */
export function misnamed(fileName: string, facts: RecordFacts, subdir: string): string | undefined {
  const parts = parseFileName(fileName);
  for (const key of ["name", "version", "build"] as const)
    if (facts[key] !== parts[key])
      return `the file's name says ${key} ${parts[key]}, the record says ${facts[key] ?? "none"}`;
  return facts.subdir !== undefined && facts.subdir !== subdir
    ? `it stands in the index of ${subdir}, and says that it is of ${facts.subdir}`
    : undefined;
}

/** What the archive itself says against its record, whose name, version and build are those of the file's name. */
async function unlike(
  fileName: string,
  file: ReadAt,
  subdir: string,
): Promise<{ readonly code: FindingCode; readonly detail: string } | undefined> {
  let own: Record<string, unknown>;
  try {
    const { members } = await readPackage(fileName, file, ["info/index.json"]);
    own = JSON.parse(Buffer.from(members.get("info/index.json") as Uint8Array).toString("utf8")) as typeof own;
    if (typeof own !== "object" || own === null) throw new Error("its info/index.json holds no object");
  } catch (e) {
    const detail = e instanceof MirrorError ? e.why : (e as Error).message;
    return {
      code: e instanceof MirrorError && e.code === "UNREADABLE" ? "PACKAGE_UNREADABLE" : "PACKAGE_BROKEN",
      detail,
    };
  }
  const differs = (key: string, says: unknown, expected: string) =>
    ({
      code: "PACKAGE_DIFFERS",
      detail: `its info/index.json says ${key} ${String(says)}, its record ${expected}`,
    }) as const;
  const parts = parseFileName(fileName);
  for (const key of ["name", "version", "build"] as const)
    if (own[key] !== parts[key]) return differs(key, own[key], parts[key]);
  const stated = own["subdir"];
  return typeof stated === "string" && stated !== subdir ? differs("subdir", stated, subdir) : undefined;
}

/** Whether the path shows another state of the file than the one that was opened. */
function isOther(path: string, before: BigIntStats): boolean {
  const now = statSync(path, { bigint: true, throwIfNoEntry: false });
  return now?.ino !== before.ino || now.size !== before.size || now.mtimeNs !== before.mtimeNs;
}

function readSome(fd: number, bytes: Uint8Array, at: number): number {
  let got = 0;
  while (got < bytes.length) {
    const n = readSync(fd, bytes, got, bytes.length - got, at + got);
    if (n === 0) break;
    got += n;
  }
  return got;
}
