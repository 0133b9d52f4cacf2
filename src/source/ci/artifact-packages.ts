import { asMirrorError, InterruptedError, type MirrorError, SourceError } from "../../errors.ts";
import { pool } from "../../transfer/pool.ts";
import { packagesIn } from "../archive/packages-in.ts";
import type { SourceContext } from "../kinds.ts";
import type { PackageRef } from "../source.ts";
import type { Artifact } from "./artifact.ts";
import { knownPackages, rememberArtifact } from "./artifact-memory.ts";
import { namesText } from "./names-text.ts";

/** What was found in one artifact. */
interface Looked {
  readonly artifact: Artifact;
  readonly refs: readonly PackageRef[];
  /** Set when it could not be read to its end. */
  readonly error?: MirrorError;
  /** What there is instead, where there are no packages. */
  readonly empty?: string;
}

/**
 * The packages in artifacts, in the artifacts' order, which is newest first. Where builds made the same artifact again,
 * a package of the same name and place in it is taken from the newest. Artifacts without packages (logs, reports) are passed
 * over; one that can't be read fails the enumeration when the others have been offered.
 * @param what for people: what the artifacts are of
 * @param mayBeEmpty whether it is fine that none holds a package
 * @throws SourceError NOT_FOUND when no artifact holds a package that is wanted, naming what there is.
 */
export async function* packagesInArtifacts(
  artifacts: readonly Artifact[],
  what: string,
  context: SourceContext,
  signal: AbortSignal,
  mayBeEmpty = false,
): AsyncGenerator<PackageRef> {
  const looked: Looked[] = [];
  let refused = false;
  const numbered = artifacts.map((artifact, i) => [artifact, i] as const);
  const look = async ([artifact, i]: (typeof numbered)[number]): Promise<void> => {
    // A token that is missing or not accepted is so for all of them.
    if (refused) return;
    const one = await lookInto(artifact, context, signal);
    refused ||= one.error !== undefined && (one.error.code === "REFUSED" || one.error.code === "SIGN_IN");
    looked[i] = one;
  };
  for await (const _ of pool(numbered, context.concurrency, look, signal));
  if (signal.aborted) throw new InterruptedError();

  const seen = new Set<string>();
  let older = 0;
  for (const one of looked) {
    // A hole: it was not looked into.
    for (const ref of one?.refs ?? []) {
      const place = placeIn(one.artifact, ref);
      if (seen.has(place)) older++;
      else {
        seen.add(place);
        yield ref;
      }
    }
  }
  if (older > 0) context.warn(`${what}: ${older} packages of older builds are left out: newer builds made them again`);
  const failures = looked.flatMap((one) => one?.error ?? []);
  if (failures.length > 0) throw failed(what, failures, artifacts.length);
  if (seen.size === 0 && !mayBeEmpty) throw nothing(what, looked, context.members);
}

async function lookInto(artifact: Artifact, context: SourceContext, signal: AbortSignal): Promise<Looked> {
  const refs: PackageRef[] = [];
  const { members, scratch, retry, warn, artifacts } = context;
  const options = {
    key: artifact.key,
    members,
    prefix: `${artifact.name}/`,
    scratch,
    retry,
    warn,
    onRead: context.onRead,
  };
  const look = async (): Promise<readonly PackageRef[]> => {
    for await (const ref of packagesIn(artifact.place, options, signal)) refs.push(ref);
    return refs;
  };
  // With other members wanted, other packages were found.
  const key = `${artifact.key} ${members ?? ""}`;
  const known = knownPackages(artifacts, key, look);
  if (known) return { artifact, refs: known };
  try {
    rememberArtifact(artifacts, key, await look());
    return { artifact, refs };
  } catch (e) {
    const error = asMirrorError(e, artifact.name);
    if (error instanceof InterruptedError) throw error;
    if (error instanceof SourceError && error.code === "NOT_FOUND" && refs.length === 0) {
      rememberArtifact(artifacts, key, []);
      return { artifact, refs, empty: error.why };
    }
    return { artifact, refs, error };
  }
}

/** Where a package lies, without what differs from build to build. Its own name counts as it is. */
function placeIn(artifact: Artifact, { member, fileName, key }: PackageRef): string {
  if (artifact.build === undefined || member === undefined) return key;
  return member.slice(0, -fileName.length).replaceAll(artifact.build, "*") + fileName;
}

function failed(what: string, failures: readonly MirrorError[], of: number): MirrorError {
  const first = failures[0] as MirrorError;
  if (failures.length === 1 || first.code === "REFUSED" || first.code === "SIGN_IN") return first;
  return new SourceError("UNREADABLE", {
    what: `${what}: ${failures.length} of ${of} artifacts can't be read`,
    why: namesText(failures.map((f) => `${f.what}: ${f.why}`)),
    next: first.next,
    cause: first,
  });
}

function nothing(what: string, looked: readonly Looked[], members: RegExp | undefined): SourceError {
  const held = looked.flatMap((one) => (one ? `${one.artifact.name}: ${one.empty ?? "no packages"}` : []));
  return new SourceError("NOT_FOUND", {
    what: members ? `${what}: no package matches ${members.source}` : `${what}: no packages in its artifacts`,
    why: held.length > 0 ? namesText(held) : "it has no artifacts",
    next: members
      ? "change --src-path: it is searched for anywhere in artifact/path/in/it, unless it has ^ or $"
      : "check that it is the right build, or choose artifacts with --name-filter",
  });
}
