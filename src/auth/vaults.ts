import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { LinuxStore } from "@napi-rs/keyring";
import { type Entry, parseEntry, tableOf } from "./credential.ts";
import { parseNetrc } from "./netrc.ts";

/** One of the places where credentials are kept. */
export interface Vault {
  /** For people. */
  readonly name: string;
  get(key: string): Promise<Entry | undefined>;
  /** What it holds now, whatever was read before: another program may have written it. */
  again?(key: string): Promise<Entry | undefined>;
  /** Changes some members of an entry, as rattler names them; the others stay. */
  amend?(key: string, variant: string, members: Readonly<Record<string, unknown>>): Promise<void>;
}

/** Thrown for a file that is there and can't be used. Its content is not told: it holds secrets. */
export class BadVault extends Error {
  constructor(path: string, why: string) {
    super(`${path}: ${why}`);
    this.name = "BadVault";
  }
}

/** rattler's JSON file: a table of entries by host. No file is an empty one. */
export function jsonVault(path: string): Vault {
  const read = async (): Promise<Record<string, unknown>> => {
    const text = await readText(path);
    if (text === undefined) return {};
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw new BadVault(path, "it is not JSON");
    }
    if (!tableOf(value)) throw new BadVault(path, "it holds no table of hosts");
    return value;
  };
  const once = onceOnly(async () => {
    const all = Object.entries(await read());
    return new Map(all.map(([key, value]) => [nameOf(key), parseEntry(value)]));
  });
  return {
    name: path,
    async get(key) {
      const entries = await once();
      const entry = entries.get(key);
      if (!entry && entries.has(key)) throw new BadVault(path, `the entry of ${key} is of no kind that is known`);
      return entry;
    },
    again: async (key) => {
      const found = Object.entries(await read()).find(([k]) => nameOf(k) === key);
      return parseEntry(found?.[1]);
    },
    async amend(key, variant, members) {
      const all = await read();
      const name = Object.keys(all).find((k) => nameOf(k) === key);
      const entry = name === undefined ? undefined : all[name];
      const held = tableOf(entry) ? entry[variant] : undefined;
      if (name === undefined || !tableOf(held)) return;
      const next = JSON.stringify({ ...all, [name]: { [variant]: { ...held, ...members } } }, undefined, 2);
      // Written beside it and moved, so that nobody ever reads half of it; for its owner's eyes alone.
      const folder = await mkdtemp(join(dirname(path), ".credentials-"));
      try {
        await writeFile(join(folder, "new"), `${next}\n`, { mode: 0o600 });
        await rename(join(folder, "new"), path);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

/** A netrc file. No file is an empty one. */
export function netrcVault(path: string): Vault {
  const once = onceOnly(async () => parseNetrc((await readText(path)) ?? ""));
  return { name: path, get: async (key) => (await once()).get(key) };
}

/** rattler's name for its entries in the system's keyring. */
const SERVICE = "rattler";

/** One entry of a keyring. */
export interface KeyringEntry {
  getPassword(): Promise<string | null>;
  setPassword(password: string): Promise<void>;
}

/** rattler's entry for a host. On Linux it knows the Secret Service alone, and none of the kernel's keyrings. */
async function entryFor(key: string): Promise<KeyringEntry> {
  const { AsyncEntry } = await import("@napi-rs/keyring");
  return new AsyncEntry(SERVICE, key, { linux: { store: "secret-service" as LinuxStore } });
}

/** A keyring that asks its owner to unlock it may never answer. */
const PATIENCE_MS = 20_000;

/**
 * The system's keyring. One that is not there, locked, or silent holds nothing: it is asked once and then left alone.
 * The library for it is loaded when it is first asked.
 * @param open gives the entry for a host.
 */
export function keyringVault(open: (key: string) => Promise<KeyringEntry> = entryFor): Vault {
  let gone = false;
  const get = async (key: string): Promise<Entry | undefined> => {
    if (gone) return undefined;
    try {
      const text = await inTime(open(key).then((entry) => entry.getPassword()));
      return text ? parseEntry(JSON.parse(text)) : undefined;
    } catch (e) {
      // Text that is no JSON is one bad entry, not a bad keyring.
      gone = !(e instanceof SyntaxError);
      return undefined;
    }
  };
  return {
    name: "the system's keyring",
    get,
    again: get,
    async amend(key, variant, members) {
      const entry = await open(key);
      const all: unknown = JSON.parse((await inTime(entry.getPassword())) ?? "null");
      const held = tableOf(all) ? all[variant] : undefined;
      if (tableOf(held)) await inTime(entry.setPassword(JSON.stringify({ [variant]: { ...held, ...members } })));
    },
  };
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const clock = setTimeout(() => reject(new Error("the keyring did not answer")), PATIENCE_MS);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(clock);
  }
}

/** Hosts are the same in any case; the path of an `s3://` address is not. */
function nameOf(key: string): string {
  return /^s3:\/\//i.test(key) ? key.replace(/\/+$/, "") : key.toLowerCase();
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (e) {
    const { code, message } = e as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new BadVault(path, message);
  }
}

function onceOnly<T>(work: () => Promise<T>): () => Promise<T> {
  let done: Promise<T> | undefined;
  return () => {
    done ??= work();
    return done;
  };
}
