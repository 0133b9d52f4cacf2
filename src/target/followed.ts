import { hash } from "node:crypto";
import type { Store } from "./store.ts";

/** What a target was when it had all that a channel's subdir offered, by the rules of a run. */
export interface FollowedSubdir {
  /** The file that named the state of the channel's index, and its version. */
  readonly file: string;
  readonly version: string;
  /** The version of the target's own index then. */
  readonly target: string;
  /** Names of packages that wait to be old enough, with that time. */
  readonly waiting?: Readonly<Record<string, number>>;
  /** Records of it that were wanted. */
  readonly count: number;
}

/**
 * A cache beside the channel: which state of a channel that is followed the target has all of. While both are as they were, a run
 * asks the channel whether anything changed, and nothing else. Deleting it costs time, never correctness.
 */
export interface Followed {
  get(key: string): FollowedSubdir | undefined;
  set(key: string, value: FollowedSubdir): void;
  /** The subdirs that a channel had when it was last asked, and when that was. */
  subdirs(key: string): { readonly at: number; readonly subdirs: readonly string[] } | undefined;
  setSubdirs(key: string, at: number, subdirs: readonly string[]): void;
  /** When something was last asked for that may change by itself; in milliseconds. */
  asked(what: string): number | undefined;
  setAsked(what: string, at: number): void;
  /** A file of the channel as it was at that state. */
  kept(key: string): Promise<Uint8Array | undefined>;
  keep(key: string, bytes: Uint8Array): Promise<void>;
  /** Writes what changed. */
  save(): Promise<void>;
}

const FOLDER = ".meso-forge-mirror";
const PATH = `${FOLDER}/followed.json`;

interface Stored {
  readonly subdirs: Record<string, FollowedSubdir>;
  readonly channels: Record<string, { readonly at: number; readonly subdirs: readonly string[] }>;
  readonly asked: Record<string, number>;
}

export async function openFollowed(store: Store): Promise<Followed> {
  const all = await load(store);
  const changed: Stored = { subdirs: {}, channels: {}, asked: {} };
  const name = (key: string) => hash("sha256", key, "base64url");
  return {
    get: (key) => all.subdirs[name(key)],
    set(key, value) {
      all.subdirs[name(key)] = value;
      changed.subdirs[name(key)] = value;
    },
    subdirs: (key) => all.channels[name(key)],
    setSubdirs(key, at, subdirs) {
      all.channels[name(key)] = { at, subdirs };
      changed.channels[name(key)] = { at, subdirs };
    },
    asked: (what) => all.asked[name(what)],
    setAsked(what, at) {
      all.asked[name(what)] = at;
      changed.asked[name(what)] = at;
    },
    kept: async (key) => (await store.get(`${FOLDER}/followed/${name(key)}`))?.bytes,
    async keep(key, bytes) {
      await store.put(`${FOLDER}/followed/${name(key)}`, bytes, "any");
    },
    async save() {
      if (Object.values(changed).every((of) => Object.keys(of).length === 0)) return;
      // Two runs may meet here; what the other one noted is read again and kept.
      const now = await load(store);
      const next: Stored = {
        subdirs: { ...now.subdirs, ...changed.subdirs },
        channels: { ...now.channels, ...changed.channels },
        asked: { ...now.asked, ...changed.asked },
      };
      await store.put(PATH, Buffer.from(JSON.stringify(next)), "any");
    },
  };
}

async function load(store: Store): Promise<Stored> {
  try {
    const stored = await store.get(PATH);
    const value = stored && (JSON.parse(Buffer.from(stored.bytes).toString("utf8")) as Partial<Stored>);
    return {
      subdirs: entries(value?.subdirs, isFollowed),
      channels: entries(value?.channels, isList),
      asked: entries(value?.asked, (at) => typeof at === "number"),
    };
  } catch {
    return { subdirs: {}, channels: {}, asked: {} };
  }
}

function entries<T>(of: Record<string, T> | undefined, is: (value: T) => boolean): Record<string, T> {
  return Object.fromEntries(Object.entries(of ?? {}).filter(([, value]) => is(value)));
}

function isFollowed(value: FollowedSubdir): boolean {
  return (
    [value.file, value.version, value.target].every((text) => typeof text === "string") &&
    typeof value.count === "number" &&
    Object.values(value.waiting ?? {}).every((at) => typeof at === "number")
  );
}

function isList({ at, subdirs }: { readonly at: number; readonly subdirs: readonly string[] }): boolean {
  return typeof at === "number" && Array.isArray(subdirs) && subdirs.every((s) => typeof s === "string");
}
