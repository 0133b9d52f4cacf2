import { hash } from "node:crypto";
import { openNotes } from "./notes.ts";
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

type Entry = readonly [version: string, sha256: string];

export async function openSeen(store: Store): Promise<Seen> {
  const notes = await openNotes(store, ".meso-forge-mirror/seen.json", isEntry);
  const hashed = (key: string) => hash("sha256", key, "base64url");
  return {
    versionOf(key, sha256) {
      if (sha256 === undefined || notes.size === 0) return undefined;
      const entry = notes.get(hashed(key));
      return entry && entry[1] === sha256 ? entry[0] : undefined;
    },
    remember: (key, version, sha256) => notes.set(hashed(key), [version, sha256]),
    save: notes.save,
  };
}

function isEntry(value: unknown): value is Entry {
  return Array.isArray(value) && value.length === 2 && value.every((v) => typeof v === "string");
}
