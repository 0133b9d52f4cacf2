import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { loadVersions } from "../../src/conda/version.ts";
import { bestFirst, type Choosable, choosable, virtualChoosable } from "../../src/solve/choosable.ts";
import { Installer } from "../../src/solve/installer.ts";
import { machinesOf, type VirtualPackage } from "../../src/solve/virtual-packages.ts";
import { python } from "./needs.ts";

const client = new URL("../clients/rattler_solvable.py", import.meta.url).pathname;

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
  const child = spawn(python, [client], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, RUST_BACKTRACE: "0" },
  });
  // It panics where it can't explain why something is unsolvable, and goes on: that is told when there is no answer.
  let said = "";
  child.stderr.on("data", (d) => (said = `${said}${d}`.slice(-5000)));
  after(() => child.stdin.end());
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  return async (index, machine, roots) => {
    const virtual = machine.map((v) => [v.name, v.version, v.build]);
    child.stdin.write(`${JSON.stringify({ ...(index ? { index } : {}), virtual, roots })}\n`);
    const { value } = await answers.next();
    if (value === undefined) throw new Error(`no answer from rattler: ${said}`);
    return JSON.parse(String(value)) as Answer[];
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
