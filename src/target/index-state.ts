import { hash } from "node:crypto";
import { unwritable } from "../errors.ts";
import type { Store, StoredFile } from "./store.ts";

/** What we know of a subdir's index files because we wrote them. */
export interface SubdirState {
  /** Versions of the files, by their name inside the subdir, that belong to one state of the index. */
  readonly versions: Readonly<Record<string, string>>;
  /** What the derived files depend on besides the records: settings and programs. */
  readonly made: string;
  readonly records: number;
  /** Shards that no index names any more, and since when (ms since 1970). */
  readonly unreferenced: Readonly<Record<string, number>>;
  /**
   * Packages that no index lists any more and whose files go after their grace period, by the time since when (ms since 1970).
   * Absent where nobody looked for such files yet: they stay then, which harms nobody. Whoever removes them has to look whether they
   * are packages' names, and still the files that were noted.
   */
  readonly leaving?: Leaving;
  /** Packages that were taken out of the index and whose files stay, for lock files that name them. */
  readonly kept?: Unlisted;
  /** Set while `leaving` holds only what is about to go, and the folder was not looked through yet. */
  readonly unlooked?: boolean;
}

export type Leaving = Readonly<Record<string, Unlisted>>;

/**
 * Files whose records went, and what each looked like then: one that looks otherwise was put there anew, and is nobody's to remove
 * or to pass over. There may be half a million: a list and a text, no object with a member each.
 */
export interface Unlisted {
  readonly names: readonly string[];
  /** `LOOK` characters a name. */
  readonly looks: string;
}

/** Characters that tell one state of a file from another. */
export const LOOK = 8;

/**
 * What a file looks like: changes when it is written anew. By its size and time, to the second: so a channel may be copied, with
 * its notes, and a bucket tells the same of an object in a listing and by itself. Where a store tells no time, its version.
 */
export function lookOf({ size, version, modified }: Pick<StoredFile, "size" | "version" | "modified">): string {
  const text = modified === undefined ? version : `${size} ${Math.floor(modified / 1000)}`;
  return hash("sha256", text, "base64url").slice(0, LOOK);
}

/** Puts notes together without an object for each file. */
export class UnlistedBuilder {
  readonly #names: string[] = [];
  #looks = Buffer.alloc(64 * LOOK);
  add(fileName: string, look: string): void {
    const at = this.#names.push(fileName) * LOOK;
    if (at > this.#looks.length) this.#looks = Buffer.concat([this.#looks], this.#looks.length * 2);
    this.#looks.write(look, at - LOOK, "latin1");
  }
  addAll(files: Unlisted | undefined, only: (fileName: string) => boolean = () => true): void {
    for (const [i, fileName] of (files?.names ?? []).entries())
      if (only(fileName)) this.add(fileName, lookAt(files as Unlisted, i));
  }
  built(): Unlisted {
    return { names: this.#names, looks: this.#looks.toString("latin1", 0, this.#names.length * LOOK) };
  }
}

function lookAt({ looks }: Unlisted, i: number): string {
  return looks.slice(i * LOOK, (i + 1) * LOOK);
}

/** What each of the files looked like, by name. */
export function looksByName(...all: readonly (Unlisted | undefined)[]): Map<string, string> {
  const looks = new Map<string, string>();
  for (const files of all)
    for (const [i, fileName] of (files?.names ?? []).entries()) looks.set(fileName, lookAt(files as Unlisted, i));
  return looks;
}

/** The same without some of the files; the very same where none of them is there. */
export function without(files: Unlisted, drops: (fileName: string) => boolean): Unlisted {
  if (!files.names.some(drops)) return files;
  const left = new UnlistedBuilder();
  left.addAll(files, (fileName) => !drops(fileName));
  return left.built();
}

/** The files that wait for their grace period to end, and what they looked like when it began. */
export function filesLeaving({ leaving = {} }: Pick<SubdirState, "leaving"> = {}): Map<string, string> {
  return looksByName(...Object.values(leaving));
}

export function countLeaving({ leaving = {} }: Pick<SubdirState, "leaving">): number {
  return Object.values(leaving).reduce((sum, { names }) => sum + names.length, 0);
}

/**
 * A cache beside the channel: which index files belong together. It lets a small change touch few shards instead of all,
 * and tells an index that is up to date from one that another program wrote. Deleting it costs time, never correctness.
 */
export interface IndexState {
  get(subdir: string): SubdirState | undefined;
  set(subdir: string, state: SubdirState): void;
  /** Writes it when it changed. */
  save(): Promise<void>;
}

const PATH = ".meso-forge-mirror/index-state.json";

export async function openIndexState(store: Store): Promise<IndexState> {
  const { subdirs, digest } = await load(store);
  // Of a channel that was just emptied the notes are tens of megabytes.
  let before = digest;
  return {
    get: (subdir) => subdirs.get(subdir),
    set: (subdir, state) => subdirs.set(subdir, state),
    async save() {
      const text = Buffer.from(JSON.stringify(Object.fromEntries([...subdirs].sort())));
      const now = hash("sha256", text);
      if (now === before) return;
      await store.put(PATH, text, "any");
      before = now;
    },
  };
}

async function load(store: Store): Promise<{ subdirs: Map<string, SubdirState>; digest: string | undefined }> {
  // One that can't be had just now is not one that is lost: files that are to go would be forgotten, and indexed again.
  const stored = await store.get(PATH).catch((e: NodeJS.ErrnoException) => {
    throw e.code === "EISDIR" ? unwritable(`${store.where}/${PATH}: can't be read`, e) : e;
  });
  if (!stored) return { subdirs: new Map(), digest: hash("sha256", "{}") };
  try {
    const { bytes } = stored;
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
    const value = JSON.parse(text) as Record<string, SubdirState>;
    const subdirs = new Map(Object.entries(value ?? {}).filter(([, s]) => isState(s)));
    return { subdirs, digest: hash("sha256", bytes) };
  } catch {
    return { subdirs: new Map(), digest: undefined };
  }
}

function isState(value: unknown): value is SubdirState {
  const s = value as SubdirState | null;
  const isMap = (v: unknown) => typeof v === "object" && v !== null && !Array.isArray(v);
  return (
    isMap(s) &&
    isMap(s?.versions) &&
    isMap(s?.unreferenced) &&
    // Files are removed by these names.
    Object.entries(s?.unreferenced ?? {}).every(
      ([name, since]) => /^[0-9a-f]{64}$/.test(name) && typeof since === "number",
    ) &&
    isLeaving(s?.leaving) &&
    (s?.kept === undefined || isUnlisted(s.kept)) &&
    typeof s?.made === "string" &&
    typeof s.records === "number"
  );
}

function isLeaving(leaving: unknown): boolean {
  if (leaving === undefined) return true;
  if (typeof leaving !== "object" || leaving === null || Array.isArray(leaving)) return false;
  return Object.entries(leaving).every(([since, files]) => /^\d+(?:\.\d+)?$/.test(since) && isUnlisted(files));
}

function isUnlisted(value: unknown): value is Unlisted {
  const { names, looks } = (value ?? {}) as Partial<Unlisted>;
  return (
    Array.isArray(names) &&
    names.every((name) => typeof name === "string") &&
    typeof looks === "string" &&
    looks.length === names.length * LOOK
  );
}
