/** What a machine offers to a solver: a package that is not in any channel. */
export interface VirtualPackage {
  readonly name: string;
  readonly version: string;
  readonly build: string;
}

/** The processor that conda's clients take a platform for (`__archspec`), where its name differs from the machine's. */
const ARCHSPEC: Readonly<Record<string, string>> = { "64": "x86_64", "32": "x86", arm64: "m1" };

/** What machines of a platform can be taken to have. */
interface Machine {
  readonly linux: string;
  readonly glibc: string;
  readonly osx: string;
  readonly cuda?: string;
}

/** As pixi assumes for a platform that it does not run on: no graphics card. */
const USUAL: Machine = { linux: "4.18", glibc: "2.28", osx: "13.0" };

/** The newest of everything in 2026, for what asks for more. */
const NEWEST: Machine = { linux: "6.17", glibc: "2.42", osx: "26.0", cuda: "13.1" };

/**
 * What a usual machine of a platform has: Linux 4.18 with glibc 2.28, macOS 13.0, any Windows. No graphics card (`__cuda`).
 * @param platform such as "linux-64"
 */
export function virtualPackages(platform: string): VirtualPackage[] {
  return packagesOf(platform, USUAL);
}

/** The machines of a platform that packages may be meant for: the usual one, then one with the newest of everything. */
export function machinesOf(platform: string): VirtualPackage[][] {
  return [virtualPackages(platform), packagesOf(platform, NEWEST)];
}

function packagesOf(platform: string, { linux, glibc, osx, cuda }: Machine): VirtualPackage[] {
  const [system = "", machine = ""] = platform.split("-");
  const one = (name: string, version: string, build = "0"): VirtualPackage => ({ name: `__${name}`, version, build });
  const archspec = one(
    "archspec",
    "1",
    (system !== "osx" && machine === "arm64" && "aarch64") || ARCHSPEC[machine] || machine,
  );
  const card = cuda === undefined ? [] : [one("cuda", cuda)];
  switch (system) {
    case "linux":
      return [one("unix", "0"), one("linux", linux), one("glibc", glibc), archspec, ...card];
    case "osx":
      return [one("unix", "0"), one("osx", osx), archspec];
    case "win":
      return [one("win", "0"), archspec, ...card];
    default:
      return [one("unix", "0")];
  }
}
