import { tableOf } from "../auth/credential.ts";
import { type Notes, openNotes } from "./notes.ts";
import type { Store } from "./store.ts";

/** What else is known of an archive that only its SHA-256 is kept of. */
export interface ArchiveFacts {
  readonly md5: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * MD5 and size, by SHA-256, of the archives that a package cache was filled from: lock files and old indexes promise nothing
 * else, and without them a repeated run would fetch what is there.
 */
export function openArchiveFacts(store: Store): Promise<Notes<ArchiveFacts>> {
  return openNotes(store, ".meso-forge-mirror/archives.json", isArchiveFacts);
}

function isArchiveFacts(value: unknown): value is ArchiveFacts {
  return tableOf(value) && typeof value["md5"] === "string" && typeof value["size"] === "number";
}
