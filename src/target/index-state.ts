import { isPackageName } from "../conda/file-name.ts";
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
   * Packages that no index lists any more and whose files go after their grace period, and since when (ms since 1970). Absent
   * where nobody looked for such files yet: they stay then, which harms nobody.
   */
  readonly leaving?: Readonly<Record<string, number>>;
  /** Set while `leaving` holds only what is about to go, and the folder was not looked through yet. */
  readonly unlooked?: boolean;
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
  const subdirs = new Map(Object.entries(await load(store)));
  let before = text(subdirs);
  return {
    get: (subdir) => subdirs.get(subdir),
    set: (subdir, state) => subdirs.set(subdir, state),
    async save() {
      const now = text(subdirs);
      if (now === before) return;
      await store.put(PATH, Buffer.from(now), "any");
      before = now;
    },
  };
}

function text(subdirs: ReadonlyMap<string, SubdirState>): string {
  return JSON.stringify(Object.fromEntries([...subdirs].sort()));
}

async function load(store: Store): Promise<Record<string, SubdirState>> {
  try {
    const stored = await store.get(PATH);
    const value = stored && (JSON.parse(Buffer.from(stored.bytes).toString("utf8")) as Record<string, SubdirState>);
    return Object.fromEntries(Object.entries(value ?? {}).filter(([, s]) => isState(s)));
  } catch {
    return {};
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

/** Files are removed by these names. */
function isLeaving(leaving: unknown): boolean {
  if (leaving === undefined) return true;
  if (typeof leaving !== "object" || leaving === null) return false;
  return Object.entries(leaving).every(([fileName, since]) => isPackageName(fileName) && typeof since === "number");
}
