/** What a machine offers to a solver: a package that is not in any channel. */
export interface VirtualPackage {
  readonly name: string;
  readonly version: string;
  readonly build: string;
}

/** The processor that conda's clients take a platform for (`__archspec`), where its name differs from the machine's. */
const ARCHSPEC: Readonly<Record<string, string>> = { "64": "x86_64", "32": "x86", arm64: "m1" };

/**
 * What machines of a platform can be taken to have, as pixi assumes for a platform that it does not run on: Linux 4.18
 * with glibc 2.28, macOS 13.0, any Windows. No graphics card (`__cuda`).
 * @param platform such as "linux-64"
 */
export function virtualPackages(platform: string): VirtualPackage[] {
  const [system = "", machine = ""] = platform.split("-");
  const one = (name: string, version: string, build = "0"): VirtualPackage => ({ name: `__${name}`, version, build });
  const archspec = one(
    "archspec",
    "1",
    (system !== "osx" && machine === "arm64" && "aarch64") || ARCHSPEC[machine] || machine,
  );
  switch (system) {
    case "linux":
      return [one("unix", "0"), one("linux", "4.18"), one("glibc", "2.28"), archspec];
    case "osx":
      return [one("unix", "0"), one("osx", "13.0"), archspec];
    case "win":
      return [one("win", "0"), archspec];
    default:
      return [one("unix", "0")];
  }
}
