import { hash } from "node:crypto";
import type { Store } from "./store.ts";

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
   * are packages' names.
   */
  readonly leaving?: Leaving;
  /** Set while `leaving` holds only what is about to go, and the folder was not looked through yet. */
  readonly unlooked?: boolean;
}

export type Leaving = Readonly<Record<string, readonly string[]>>;

/** The files that wait for their grace period to end. */
export function filesLeaving(state: Pick<SubdirState, "leaving"> = {}): Set<string> {
  return new Set(Object.values(state.leaving ?? {}).flat());
}

export function countLeaving({ leaving = {} }: Pick<SubdirState, "leaving">): number {
  return Object.values(leaving).reduce((sum, names) => sum + names.length, 0);
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
  try {
    const stored = await store.get(PATH);
    if (!stored) return { subdirs: new Map(), digest: hash("sha256", "{}") };
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
    typeof s?.made === "string" &&
    typeof s.records === "number"
  );
}

function isLeaving(leaving: unknown): boolean {
  if (leaving === undefined) return true;
  if (typeof leaving !== "object" || leaving === null || Array.isArray(leaving)) return false;
  return Object.entries(leaving).every(
    ([since, names]) =>
      /^\d+(?:\.\d+)?$/.test(since) && Array.isArray(names) && names.every((name) => typeof name === "string"),
  );
}
