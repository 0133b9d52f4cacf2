import type { Store } from "./store.ts";

/** What else is known of an archive that only its SHA-256 is kept of. */
export interface ArchiveFacts {
  readonly md5: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * MD5 and size of the archives that a package cache was filled from: lock files and old indexes promise nothing else, and
 * without them a repeated run would fetch what is there. A cache: deleting it costs time only.
 */
export interface ArchiveNotes {
  get(sha256: string): ArchiveFacts | undefined;
  remember(sha256: string, facts: ArchiveFacts): void;
  /** Writes what was remembered. */
  save(store: Store): Promise<void>;
}

const PATH = ".meso-forge-mirror/archives.json";

export async function openArchiveFacts(store: Store): Promise<ArchiveNotes> {
  const entries = await load(store);
  let changed = false;
  return {
    get: (sha256) => entries.get(sha256),
    remember(sha256, { md5, size }) {
      if (entries.has(sha256)) return;
      entries.set(sha256, { md5, size });
      changed = true;
    },
    async save(to) {
      if (!changed) return;
      // Two runs may meet here; what the other one learnt is read again and kept.
      const merged = new Map([...(await load(to)), ...entries]);
      const sorted = [...merged.keys()].sort().map((key) => [key, merged.get(key)]);
      await to.put(PATH, Buffer.from(JSON.stringify(Object.fromEntries(sorted))), "any");
      changed = false;
    },
  };
}

async function load(store: Store): Promise<Map<string, ArchiveFacts>> {
  try {
    const stored = await store.get(PATH);
    if (!stored) return new Map();
    const value = JSON.parse(Buffer.from(stored.bytes).toString("utf8")) as Record<string, Partial<ArchiveFacts>>;
    return new Map(
      Object.entries(value).filter(
        (e): e is [string, ArchiveFacts] => typeof e[1].md5 === "string" && typeof e[1].size === "number",
      ),
    );
  } catch {
    return new Map();
  }
}
