import { hash } from "node:crypto";
import type { Platform } from "@conda-org/rattler";
import { SourceError } from "../errors.ts";
import type { ChannelGate } from "./channel-gate.ts";
import { machinesOf, type VirtualPackage } from "./virtual-packages.ts";

/** A package whose dependencies are wanted. */
export interface Root {
  readonly fileName: string;
  readonly subdir: string;
  /** With name, version, build and what it says of others. */
  readonly record: Readonly<Record<string, unknown>>;
}

/** A package that is needed, and where in the channel it lies. */
export interface Needed {
  readonly subdir: string;
  readonly fileName: string;
}

export interface Closure {
  readonly needed: readonly Needed[];
  /** Roots whose dependencies can't be had, with the reason. */
  readonly unsolvable: ReadonlyMap<Root, SourceError>;
}

/** A package as rattler's solver takes it when it is there already. */
interface Locked {
  readonly url: string;
  readonly packageName: string;
  readonly version: string;
  readonly build: string;
  readonly buildNumber: number;
  readonly filename: string;
  readonly depends: readonly string[];
  readonly subdir: string;
}

/**
 * The subdir in which, behind the gate, the roots lie: a part of the channel, so that the solver knows all that their records say,
 * follows what they need, and prefers none of them. The channel's own, of a mainframe's system, nobody solves for.
 */
const OWN = "zos-z";

/**
 * What packages need from a channel to be installed on a platform: each is solved by itself, since two of them may not go
 * together (one a Python version), with the others on offer too. Gives each needed file of the channel once.
 * @param platform such as "linux-64"
 * @param roots for this platform or none in particular.
 * @throws whatever kept the channel from being read
 */
export async function closure(
  roots: readonly Root[],
  platform: string,
  channel: ChannelGate,
  channelName: string,
): Promise<Closure> {
  const found = new Map<string, Needed>();
  const unsolvable = new Map<Root, SourceError>();
  const own = new Set(roots.map((r) => `${r.subdir}/${r.fileName}`));
  channel.put(OWN, indexOf(roots));
  for (const root of roots) {
    const solved = await solveOnAny(root, platform, channel.url);
    const failure = channel.failure();
    if (failure) throw failure;
    if (!Array.isArray(solved)) {
      unsolvable.set(root, notToBeHad(root, platform, channelName, solved.error));
      continue;
    }
    for (const url of solved) {
      if (!url.startsWith(channel.url)) continue;
      const [subdir = "", fileName = ""] = url.slice(channel.url.length).split("/").map(decodeURIComponent);
      if (subdir !== OWN && !own.has(`${subdir}/${fileName}`)) found.set(`${subdir}/${fileName}`, { subdir, fileName });
    }
  }
  return { needed: [...found.values()], unsolvable };
}

function indexOf(roots: readonly Root[]): Uint8Array {
  const maps: Record<string, Record<string, unknown>> = { packages: {}, "packages.conda": {} };
  for (const [i, root] of roots.entries()) {
    const isConda = root.fileName.endsWith(".conda");
    const map = maps[isConda ? "packages.conda" : "packages"] as Record<string, unknown>;
    const { sha256: _, ...record } = root.record;
    const stem = `${record["name"]}-${record["version"]}-${record["build"]}`;
    // One of no platform in particular may have the name of one that has. rattler takes the package's name from the key.
    map[`${stem}_${i}${isConda ? ".conda" : ".tar.bz2"}`] = { ...record, subdir: OWN, md5: markOf(root) };
  }
  return Buffer.from(JSON.stringify({ info: { subdir: OWN }, ...maps }));
}

/** By this a spec tells a root from the channel's package of the same version and build. */
function markOf({ subdir, fileName }: Root): string {
  return hash("md5", `${subdir}/${fileName}`);
}

/** The URLs of what a root is installed with, on the first machine where that goes; else why it went on none. */
async function solveOnAny(
  root: Root,
  platform: string,
  channel: string,
): Promise<string[] | { readonly error: unknown }> {
  const { simpleSolve } = await import("@conda-org/rattler");
  const { name, version, build } = root.record;
  let error: unknown;
  for (const machine of machinesOf(platform)) {
    const wanted = `${name}[version="==${version}",build="${build}",md5="${markOf(root)}"]`;
    // Virtual packages are asked for, so that they are there and what constrains them is held against them.
    const specs = [wanted, ...machine.map((v) => v.name)];
    const there = machine.map((v) => locked(v, platform));
    try {
      const solved = await simpleSolve(specs, [channel], [platform, "noarch", OWN] as Platform[], there);
      return solved.map((one) => {
        const { url } = one;
        one.free();
        return url;
      });
    } catch (e) {
      error ??= e;
    }
  }
  return { error };
}

function locked({ name, version, build }: VirtualPackage, subdir: string): Locked {
  const filename = `${name}-${version}-${build}.conda`;
  const url = `virtual:/${subdir}/${filename}`;
  return { url, packageName: name, version, build, buildNumber: 0, filename, depends: [], subdir };
}

function notToBeHad(root: Root, platform: string, channelName: string, e: unknown): SourceError {
  const words = e instanceof Error ? e.message : String(e);
  return new SourceError("UNSOLVABLE", {
    what: `${root.fileName}: its dependencies can't be had from ${channelName} for ${platform}`,
    why: words.trim(),
    next: "the package itself is in the target; name a channel that has what it needs, or run without --with-deps",
    cause: e,
  });
}
