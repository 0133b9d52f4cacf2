import type { Digest } from "../transfer/digest.ts";
import type { Place } from "../transfer/place.ts";
import type { PlacerPlan } from "../transfer/placer.ts";

/** What a store knows of one of its files without reading it. */
export interface StoredFile {
  /** Path inside the store, with "/" on every system. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Changes whenever the content does: an ETag, or size, time and inode of a file. */
  readonly version: string;
  /** When it was written last, in milliseconds since 1970; where the store tells. */
  readonly modified?: number;
}

/** When a write may happen: always, only where nothing is, or only over the version that was read. */
export type Precondition = "any" | "absent" | { readonly version: string };

/** A finished package waiting in a staging folder, maybe for several targets: it stays there. */
export interface StagedFile {
  readonly stagedPath: string;
  /** What its bytes are, where that is known. */
  readonly facts?: Digest;
}

/** A file that is named by its content. */
export interface NewFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** A body that is made while it is written. Each piece is used up before the next is asked for. */
export type Pieces = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Thrown by `put` when the precondition does not hold; the caller reads again and decides anew. */
export class PreconditionFailed extends Error {
  constructor(path: string) {
    super(`${path} was changed by another writer`);
    this.name = "PreconditionFailed";
  }
}

/** Thrown by `remove` where the server lets us remove nothing, though everything else. */
export class NotRemovable extends Error {
  /** @param why in the server's own words. */
  constructor(why: string) {
    super(why);
    this.name = "NotRemovable";
  }
}

/** Files of runs that were killed. */
export interface Leftovers {
  readonly files: number;
  readonly bytes: number;
}

/** A place of files that we index ourselves. `put` is atomic: all of it under its final name, or nothing. */
export interface Store {
  /** For people: a path or URL, secrets removed. */
  readonly where: string;
  /** The folder of this machine that it is; undefined when it lies elsewhere. */
  readonly folder?: string;
  /** Set where `exclusive` keeps nobody out: then only preconditions do (decisions/012). */
  readonly lockless?: true;
  /** Whether any file has a place in it, not packages and index files alone. */
  readonly anyFile?: true;
  /** The names of the folders at the top. */
  folders(signal?: AbortSignal): Promise<string[]>;
  stat(path: string, signal?: AbortSignal): Promise<StoredFile | undefined>;
  /**
   * Those of the names that lie right inside a folder, by name. Where it is absent, `stat` is asked for each.
   */
  find?(folder: string, fileNames: readonly string[], signal?: AbortSignal): Promise<Map<string, StoredFile>>;
  /**
   * The files right inside a folder, in no order; none when there is no such folder.
   * @param only those for whose names it holds: others need not be looked at.
   */
  list(folder: string, signal?: AbortSignal, only?: (fileName: string) => boolean): AsyncIterable<StoredFile>;
  get(
    path: string,
    signal?: AbortSignal,
  ): Promise<{ readonly bytes: Uint8Array; readonly version: string } | undefined>;
  /** What the bytes of a file are; undefined when there is none. Reads them all where the store does not remember it. */
  digest(path: string, signal?: AbortSignal): Promise<Digest | undefined>;
  /**
   * Gives the version of what was written.
   * @param after the file appears under its name only when this has come true; its content may be written before.
   * @throws PreconditionFailed, or what `after` fails with
   */
  put(
    path: string,
    body: Uint8Array | StagedFile | Pieces,
    expect: Precondition,
    signal?: AbortSignal,
    after?: Promise<unknown>,
  ): Promise<string>;
  /**
   * Writes files whose names say what is in them, before anything names them: one that is there with the same size stays as
   * it is, one of another size is replaced in one step. To be called inside `exclusive`. Not every one of many is safe
   * from a power failure (decisions/009).
   * @param prefix goes before each path.
   */
  putNew(prefix: string, files: Iterable<NewFile>, signal?: AbortSignal): Promise<void>;
  /** Removes a file; fine when there is none. @throws NotRemovable */
  remove(path: string, signal?: AbortSignal): Promise<void>;
  /** How worker threads can put packages that nothing has the name of, where they can. */
  placer?(): Promise<PlacerPlan | undefined>;
  /** A folder for packages on their way in, this run's alone. */
  staging(): Promise<string>;
  /** A folder of this machine for caches that belong to the store; undefined when there is none. */
  corner(): Promise<string | undefined>;
  /** Where a file of the store can be read from like any other place; undefined when it can't be. */
  placeOf(path: string): Place | undefined;
  /** Runs `work` while no other writer of ours publishes to this store. */
  exclusive<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  /**
   * What runs that were killed left behind: files on their way in that nobody is at work on. Removes it where that is asked.
   * Absent where nothing can be left.
   */
  leftovers?(remove: boolean, now: number, signal?: AbortSignal): Promise<Leftovers>;
  /** Gives up the staging folder and whatever else is held. */
  close(): Promise<void>;
}
