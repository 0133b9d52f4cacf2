import type { Platform } from "@conda-org/rattler";
import { SourceError } from "../errors.ts";
import type { ChannelGate } from "./channel-gate.ts";
import { virtualPackages } from "./virtual-packages.ts";

/** A package whose dependencies are wanted. */
export interface Root {
  readonly fileName: string;
  readonly name: string;
  readonly version: string;
  readonly build: string;
  readonly subdir: string;
  readonly depends: readonly string[];
}

/** A package that is needed, and where in the channel it lies. */
export interface Needed {
  readonly subdir: string;
  readonly fileName: string;
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

/** Where what is no file of the channel says it lies. */
const ELSEWHERE = "elsewhere:/";

/**
 * What packages need from a channel to be installed on a platform: each is solved by itself, since two of them may not go
 * together (one a Python version), with the others on offer too. Gives each needed file of the channel once.
 * @param platform such as "linux-64"
 * @throws SourceError UNSOLVABLE with rattler's own words
 */
export async function closure(
  roots: readonly Root[],
  platform: string,
  channel: ChannelGate,
  channelName: string,
): Promise<Needed[]> {
  const { simpleSolve } = await import("@conda-org/rattler");
  const virtual = virtualPackages(platform).map((v) => locked({ ...v, subdir: platform, depends: [], fileName: "" }));
  const found = new Map<string, Needed>();
  for (const root of roots) {
    const others = roots.filter((r) => r.name !== root.name);
    const there = [root, ...newestOfEach(others)].map(locked);
    const specs = [`${root.name} ==${root.version} ${root.build}`, ...root.depends];
    let solved: Awaited<ReturnType<typeof simpleSolve>>;
    try {
      solved = await simpleSolve(specs, [channel.url], [platform, "noarch"] as Platform[], [...virtual, ...there]);
    } catch (e) {
      throw channel.failure() ?? unsolvable(root, platform, channelName, e);
    }
    for (const one of solved) {
      if (one.url.startsWith(channel.url)) {
        const [subdir = "", fileName = ""] = one.url.slice(channel.url.length).split("/").map(decodeURIComponent);
        found.set(`${subdir}/${fileName}`, { subdir, fileName });
      }
      one.free();
    }
  }
  const failure = channel.failure();
  if (failure) throw failure;
  return [...found.values()];
}

/** The solver wants one package of a name: of those that came, the last. */
function newestOfEach(roots: readonly Root[]): Root[] {
  return [...new Map(roots.map((r) => [r.name, r])).values()];
}

function locked(p: Omit<Root, "fileName"> & { fileName: string }): Locked {
  const filename = p.fileName || `${p.name}-${p.version}-${p.build}.conda`;
  return {
    url: `${ELSEWHERE}${p.subdir}/${encodeURIComponent(filename)}`,
    packageName: p.name,
    version: p.version,
    build: p.build,
    buildNumber: 0,
    filename,
    depends: p.depends,
    subdir: p.subdir,
  };
}

function unsolvable(root: Root, platform: string, channelName: string, e: unknown): SourceError {
  const words = e instanceof Error ? e.message : String(e);
  return new SourceError("UNSOLVABLE", {
    what: `${root.fileName}: its dependencies can't be had from ${channelName} for ${platform}`,
    why: words.trim(),
    next: "the package itself is in the target; name a channel that has what it needs, or run without --with-deps",
    cause: e,
  });
}
