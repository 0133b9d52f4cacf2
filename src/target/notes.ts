import { isDeepStrictEqual } from "node:util";
import type { Store } from "./store.ts";

/** What a target remembers between runs, by key: a cache beside its files that may be deleted, and then costs time only. */
export interface Notes<T> {
  readonly size: number;
  get(key: string): T | undefined;
  set(key: string, value: T): void;
  /** Writes what was set. */
  save(store: Store): Promise<void>;
}

/** Opens the notes at `path`; what is no value of theirs is left out. */
export async function openNotes<T>(
  store: Store,
  path: string,
  isValue: (value: unknown) => value is T,
): Promise<Notes<T>> {
  const load = async (from: Store): Promise<Map<string, T>> => {
    try {
      const stored = await from.get(path);
      if (!stored) return new Map();
      const entries = Object.entries(JSON.parse(Buffer.from(stored.bytes).toString("utf8")) as Record<string, unknown>);
      return new Map(entries.filter((e): e is [string, T] => isValue(e[1])));
    } catch {
      return new Map();
    }
  };
  const entries = await load(store);
  let changed = false;
  return {
    get size() {
      return entries.size;
    },
    get: (key) => entries.get(key),
    set(key, value) {
      if (isDeepStrictEqual(entries.get(key), value)) return;
      entries.set(key, value);
      changed = true;
    },
    async save(to) {
      if (!changed) return;
      // Two runs may meet here; what the other one learnt is read again and kept.
      const merged = new Map([...(await load(to)), ...entries]);
      const sorted = [...merged.keys()].sort().map((key) => [key, merged.get(key)]);
      await to.put(path, Buffer.from(JSON.stringify(Object.fromEntries(sorted))), "any");
      changed = false;
    },
  };
}
