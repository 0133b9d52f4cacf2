/** The platform folders that some client knows (rattler_conda_types 0.58 `subdir.rs`, which has all of conda's). */
const KNOWN: ReadonlySet<string> = new Set([
  "noarch",
  ...of("linux", "32 64 aarch64 armv6l armv7l loongarch64 ppc64le ppc64 ppc s390x riscv32 riscv64"),
  ...of("freebsd", "32 64 arm64 ppc64le ppc64"),
  ...of("osx", "64 arm64"),
  ...of("win", "32 64 arm64"),
  ...of("emscripten", "wasm32 wasm64"),
  ...of("android", "aarch64 armv7a 64 32"),
  "ios-arm64",
  ...of("iossimulator", "arm64 64"),
  "wasi-wasm32",
  "zos-z",
]);

function of(system: string, machines: string): string[] {
  return machines.split(" ").map((machine) => `${system}-${machine}`);
}

/** Whether a name is a platform folder for sure. Others may be: `isSubdir` tells what has the form of one. */
export function isKnownSubdir(name: string): boolean {
  return KNOWN.has(name);
}

/** All of them. */
export function knownSubdirs(): string[] {
  return [...KNOWN];
}
