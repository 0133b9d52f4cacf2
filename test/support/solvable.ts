import { loadVersions } from "../../src/conda/version.ts";
import { bestFirst, type Choosable, choosable, virtualChoosable } from "../../src/solve/choosable.ts";
import { Installer } from "../../src/solve/installer.ts";
import { machinesOf, type VirtualPackage } from "../../src/solve/virtual-packages.ts";
import { answering } from "./client.ts";

/** Records by subdir, map and file name, as indexes have them. */
export type Indexes = Record<string, Record<"packages" | "packages.conda", Record<string, Record<string, unknown>>>>;

/** What rattler answers about a root: files as "subdir/file" that it would install, or its words. */
export interface Answer {
  readonly whole: string[] | { error: string } | null;
  readonly only: string[] | { error: string } | null;
}

export interface Question {
  readonly spec: string;
  readonly whole: boolean;
  readonly only: readonly string[] | null;
}

/** Starts one client for many questions. Ends with the test file. */
export function solvable(): (
  index: Indexes | undefined,
  machine: readonly VirtualPackage[],
  roots: readonly Question[],
) => Promise<Answer[]> {
  // It panics where it can't explain why something is unsolvable, and goes on.
  const ask = answering("rattler_solvable.py", { RUST_BACKTRACE: "0" });
  let last: Indexes | undefined;
  return async (index, machine, roots) => {
    last = index ?? last;
    const virtual = machine.map((v) => [v.name, v.version, v.build]);
    const line = (some: Indexes | undefined) => JSON.stringify({ ...(some ? { index: some } : {}), virtual, roots });
    return JSON.parse(await ask(line(index), () => line(last))) as Answer[];
  };
}

/** The packages of a platform. */
export function recordsOf(indexes: Indexes): Choosable[] {
  return Object.entries(indexes).flatMap(([subdir, maps]) =>
    Object.values(maps).flatMap((records) =>
      Object.entries(records).flatMap(
        ([fileName, record]) => choosable(subdir, fileName, Buffer.from(JSON.stringify(record))) ?? [],
      ),
    ),
  );
}

/** Chooses for one root after another as a run with `--with-deps` does. */
export async function chooser(
  records: readonly Choosable[],
  platform: string,
): Promise<(root: Choosable, machine?: number) => ReturnType<Installer["solve"]>> {
  const versions = await loadVersions();
  const known = Map.groupBy(records, (r) => r.name);
  for (const list of known.values()) list.sort(bestFirst(versions));
  const installer = new Installer(versions, (name) => known.get(name) ?? []);
  const machines = machinesOf(platform).map((all) => all.map((v) => virtualChoosable(v, platform)));
  return (root, machine) =>
    installer.solve(root, machine === undefined ? machines : machines.slice(machine, machine + 1));
}

/** Asks for just this build. */
export function specOf({ fields }: Choosable): string {
  return `${fields["name"]} ==${fields["version"]} ${fields["build"]}`;
}

export function pathOf({ subdir, fileName }: Choosable): string {
  return `${subdir}/${fileName}`;
}
