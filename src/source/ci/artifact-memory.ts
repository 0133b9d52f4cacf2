import type { OpenRequest } from "../../transfer/place.ts";
import { readAtPlace } from "../../transfer/read-at-place.ts";
import { memberVersion } from "../archive/zip-members.ts";
import type { PackageRef } from "../source.ts";

/** What artifacts hold, by their keys. An artifact never changes: whoever repeats a run need not look into it again. */
export type ArtifactMemory = Map<string, readonly KnownPackage[]>;

/** A package in an artifact, as its zip's directory tells. */
type KnownPackage = Omit<PackageRef, "open" | "lookInto" | "address"> & {
  readonly crc32: number;
  readonly size: number;
};

/** So many artifacts are remembered; then the oldest are forgotten. */
const MOST = 10_000;

/** Notes what an artifact holds, where its packages can be told from others without being fetched. */
export function rememberArtifact(memory: ArtifactMemory, key: string, refs: readonly PackageRef[]): void {
  const known: KnownPackage[] = [];
  for (const { open: _, lookInto: __, address: ___, ...ref } of refs) {
    const { crc32, size } = ref;
    // Without these it would be taken to be unchanged when nobody knows.
    if (crc32 === undefined || size === undefined) return;
    known.push({ ...ref, crc32, size });
  }
  memory.set(key, known);
  for (const oldest of memory.keys()) {
    if (memory.size <= MOST) break;
    memory.delete(oldest);
  }
}

/**
 * The packages of an artifact that is known. Whoever has a package of the same version is told so at once; the artifact is
 * looked into again only when one of them has to be fetched.
 */
export function knownPackages(
  memory: ArtifactMemory,
  key: string,
  lookAgain: () => Promise<readonly PackageRef[]>,
): readonly PackageRef[] | undefined {
  let again: Promise<readonly PackageRef[]> | undefined;
  return memory.get(key)?.map((known): PackageRef => {
    const found = async (): Promise<PackageRef> => {
      again ??= lookAgain();
      const ref = (await again).find((r) => r.key === known.key);
      if (!ref) throw new Error(`${known.origin} is no longer there`);
      return ref;
    };
    return {
      ...known,
      open: async (request: OpenRequest, signal: AbortSignal) => {
        if (request.unlessVersion === memberVersion(known.crc32, known.size)) return "unchanged";
        return (await found()).open(request, signal);
      },
      lookInto: async (signal, atAnyCost) => readAtPlace(await found(), signal, atAnyCost),
    };
  });
}
