import { InterruptedError, isInterruption, SourceError, TransferError } from "./errors.ts";
import { type Pending, readPending } from "./pending.ts";
import type { Run } from "./run.ts";
import type { ChannelSource } from "./source/channel.ts";
import type { FoundRunExports } from "./source/channel-run-exports.ts";
import type { PackageRef } from "./source/source.ts";

/** What a channel says of a package's run exports, as compact JSON; undefined where it says nothing that can be used. */
export type ToldRunExports = (fileName: string) => Uint8Array | undefined;

/** Offers of one channel's subdir: those of `refs` from `first` on, or those in a file. */
interface Offers {
  readonly refs: PackageRef[];
  readonly first: number;
  readonly pending: Pending | undefined;
}

/** As compact JSON. */
const NONE = "{}";

/**
 * What a channel without shards says of the run exports of packages that it offers: they may be hot-fixed, as records are. The
 * offers that are in memory are told; those in a file are to ask. Undefined where it says nothing, or nobody wants to know. What
 * can't be read is told, and is no reason to leave packages out.
 */
export async function toldRunExports(
  channel: ChannelSource,
  subdir: string,
  offers: Offers,
  run: Run,
): Promise<ToldRunExports | undefined> {
  const { write_run_exports, write_shards } = run.settings;
  if (!run.receives || !(write_run_exports || write_shards) || !run.targets.some((t) => t.index)) return undefined;
  const instead = "; what the packages themselves export is taken";
  let found: FoundRunExports | undefined;
  try {
    found = await channel.runExports(subdir, run.signal);
  } catch (e) {
    if (isInterruption(e, run.signal)) throw new InterruptedError(e);
    if (!(e instanceof SourceError || e instanceof TransferError)) throw e;
    run.emit({ type: "warning", message: `${e.what}: ${e.why}${instead}` });
    return undefined;
  }
  if (!found) return undefined;
  // Most packages export nothing: these take no room.
  const said = new Map<string, string>();
  const unknown = new Set<string>();
  for await (const fileName of namesOf(offers)) {
    const value = found.of(fileName);
    if (value === undefined) unknown.add(fileName);
    else if (value !== NONE) said.set(fileName, value);
  }
  const { unusable } = found;
  found.letGo();
  if (unusable.length > 0)
    run.emit({
      type: "warning",
      message: `${channel.address.name}: ${subdir}/run_exports.json: of ${unusable.length} packages, such as ${unusable[0]}, it says nothing that can be used${instead}`,
    });
  const told: ToldRunExports = (f) => (unknown.has(f) ? undefined : Buffer.from(said.get(f) ?? NONE));
  const { refs, first, pending } = offers;
  for (let i = first; !pending && i < refs.length; i++) {
    const ref = refs[i] as PackageRef;
    const runExports = told(ref.fileName);
    if (runExports) refs[i] = { ...ref, runExports };
  }
  return told;
}

async function* namesOf({ refs, first, pending }: Offers): AsyncGenerator<string> {
  if (pending) for await (const { fileName } of readPending(pending.path)) yield fileName;
  else for (let i = first; i < refs.length; i++) yield (refs[i] as PackageRef).fileName;
}
