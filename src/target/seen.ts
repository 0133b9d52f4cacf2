import { hash } from "node:crypto";
import type { Store } from "./store.ts";

/**
 * What origins without hashes looked like when they were last taken: their version then, and the hash it turned out to be.
 * A cache beside the channel that spares a repeated run the transfer; deleting it costs time only. Origins are kept as
 * hashes, since the file may be served with the channel.
 */
export interface Seen {
  /** The version of this origin whose bytes had this SHA-256. */
  versionOf(key: string, sha256: string | undefined): string | undefined;
  remember(key: string, version: string, sha256: string): void;
  /** Writes what was remembered. */
  save(store: Store): Promise<void>;
}

/** For targets that have no place to remember anything in. */
export const noSeen: Seen = {
  versionOf: () => undefined,
  remember: () => undefined,
  save: async () => undefined,
};

const PATH = ".meso-forge-mirror/seen.json";

export async function openSeen(store: Store): Promise<Seen> {
  const entries = await load(store);
  let changed = false;
  const hashed = (key: string) => hash("sha256", key, "base64url");
  return {
    versionOf(key, sha256) {
      if (sha256 === undefined || entries.size === 0) return undefined;
      const entry = entries.get(hashed(key));
      return entry && entry[1] === sha256 ? entry[0] : undefined;
    },
    remember(key, version, sha256) {
      const name = hashed(key);
      const old = entries.get(name);
      if (old?.[0] === version && old[1] === sha256) return;
      entries.set(name, [version, sha256]);
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

async function load(store: Store): Promise<Map<string, [version: string, sha256: string]>> {
  try {
    const stored = await store.get(PATH);
    if (!stored) return new Map();
    const entries = Object.entries(JSON.parse(Buffer.from(stored.bytes).toString("utf8")) as Record<string, unknown>);
    return new Map(
      entries.filter(
        (e): e is [string, [string, string]] =>
          Array.isArray(e[1]) && e[1].length === 2 && e[1].every((v) => typeof v === "string"),
      ),
    );
  } catch {
    return new Map();
  }
}
