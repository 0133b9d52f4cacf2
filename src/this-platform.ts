import { isSubdir } from "./conda/file-name.ts";

/** The platform of this machine, as conda names it. */
export function thisPlatform(): string {
  const system = { linux: "linux", darwin: "osx", win32: "win" }[process.platform as string] ?? process.platform;
  const machine = process.arch === "arm64" ? (system === "linux" ? "aarch64" : "arm64") : "64";
  const platform = `${system}-${machine}`;
  return isSubdir(platform) ? platform : "linux-64";
}
