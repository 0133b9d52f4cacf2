import type { Repodata } from "../index/repodata.ts";
import type { Offer, OnConflict, Present } from "../plan/plan.ts";
import type { Place } from "../transfer/place.ts";
import type { PlacerPlan } from "../transfer/placer.ts";
import type { Received } from "../transfer/worker-messages.ts";
import type { Followed } from "./followed.ts";
import type { Seen } from "./seen.ts";
import type { Addition, PublishedSubdir, PublishOptions, SubdirWish } from "./subdir-job.ts";

/**
 * Where packages go: a store of files that we index (`store-target.ts`), a service that indexes by itself, or a package
 * cache. It is opened for one run and closed with it.
 */
export interface Target {
  /** For people: a path or URL, secrets removed. */
  readonly where: string;
  /** Set where it is a channel's folder on this machine: a worker may put packages there that nothing has the name of. */
  readonly folder?: string;
  /** Set where it has no index to compare with, and knows what it holds all the same. */
  held?(): Iterable<{ readonly subdir: string; readonly fileName: string }>;
  /** It is a bundle: the one kind that makes differences to a manifest. */
  readonly bundle?: true;
  /** Where, or how, a worker may put packages that nothing has the name of; undefined when only `take` can. */
  placeIn?(): Promise<string | PlacerPlan | undefined>;
  /** What it remembers of origins that tell no hash. */
  readonly seen: Seen;
  /** What it has, or lists, under the names on offer. May leave out what only an upload can tell. */
  present(offers: readonly Offer[], signal: AbortSignal): Promise<ReadonlyMap<string, readonly Present[]>>;
  /** Where a file that it has can be read from like any other place; undefined when it can't be. */
  placeOf(subdir: string, fileName: string): Place | undefined;
  /** Set where its indexes are files that we write: then a channel can be followed without asking for each package. */
  readonly index?: TargetIndex;
  /** A folder of this run alone, on the disk that packages are moved from where that makes a difference. */
  staging(): Promise<string>;
  /**
   * Takes a package that has arrived and passed every check: all of it, or nothing. The staged file stays where it is,
   * unless `addition.replaceWith` says that it is needed until `publish`.
   * @param there what `present` told of it.
   * @throws MirrorError
   */
  take(received: Received, there: readonly Present[], options: TakeOptions): Promise<Taken>;
  /** Makes visible to clients what came: writes indexes where they are ours to write. Called once, also after an interruption. */
  publish(
    additions: readonly Addition[],
    options: PublishOptions,
    removals?: Removals,
  ): Promise<readonly PublishedSubdir[]>;
  /** Attestations beside packages (CEP 50): paths inside the target. Absent where they have no place. */
  readonly sidecars?: {
    read(path: string): Promise<Uint8Array | undefined>;
    write(path: string, bytes: Uint8Array): Promise<void>;
  };
  /** Whether it takes attestations along with packages. */
  readonly attests?: boolean;
  close(): Promise<void>;
}

/** What is to go from a target's indexes, by subdir. A subdir without anything to go is only seen to be whole. */
export type Removals = ReadonlyMap<string, Pick<SubdirWish, "remove" | "takenBack" | "removeFiles">>;

/** The indexes of a target. */
export interface TargetIndex {
  /** The subdirs that it has. */
  subdirs(signal: AbortSignal): Promise<string[]>;
  /** An index as it is now, and its version; an empty one without version where there is none. */
  read(
    subdir: string,
    signal: AbortSignal,
  ): Promise<{ readonly index: Repodata; readonly version: string | undefined }>;
  /** The version of a subdir's index now; undefined when there is none. */
  version(subdir: string, signal: AbortSignal): Promise<string | undefined>;
  /** The notices that clients show (CEP 6). */
  readonly notices: {
    read(): Promise<Uint8Array | undefined>;
    /** Removes them when there are none. */
    write(bytes: Uint8Array | undefined): Promise<void>;
  };
  /** What it remembers of the channels that it follows. */
  readonly followed: Followed;
}

export interface TakeOptions {
  readonly onConflict: OnConflict;
  /** For people: where the package came from. */
  readonly origin: string;
  readonly warn: (message: string) => void;
  readonly signal: AbortSignal;
  /** Where the package's attestations may lie (`PackageRef.sidecars`). */
  readonly sidecars?: readonly Place[];
  /** The sidecar that the package's record promises, checked: then no other counts. */
  readonly attested?: Uint8Array;
}

/** What became of a package that was taken. */
export interface Taken {
  readonly outcome: "added" | "replaced" | "kept" | "skipped";
  /** Set when its record has to be in the index. */
  readonly addition?: Addition;
}
