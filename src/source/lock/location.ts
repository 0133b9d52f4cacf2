import { homedir } from "node:os";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { badLock } from "../../lock/bad-lock.ts";
import { baseName } from "../../lock/fields.ts";
import type { LockedPackage } from "../../lock/lock-file.ts";
import { redactUrl } from "../../transfer/redact.ts";
import type { PackageUrl } from "../url.ts";
import type { Base } from "./load.ts";

/**
 * A location as a URL or a path of this machine.
 * @throws SourceError BAD_LOCK for other addresses, and for a path in a lock file from elsewhere: it may not make us read our own files
 */
export function locate(
  { location, relativeTo }: LockedPackage,
  base: Base,
  what: string,
  env: NodeJS.ProcessEnv,
): PackageUrl | { readonly path: string } {
  const bad = (why: string) => badLock(what, `${redactUrl(location)} ${why}`);
  const isWindowsPath = /^[A-Za-z]:[\\/]/.test(location);
  let url: string | undefined;
  if (/^https?:\/\//i.test(location)) url = location;
  else if (/^[a-z][a-z0-9+.-]+:/i.test(location) && !/^file:/i.test(location) && !isWindowsPath)
    throw bad("is at an address that can't be fetched");
  else if ("url" in base) {
    if (isWindowsPath || /^(?:file:|[/\\~$])/i.test(location))
      throw bad("is a path, which a lock file from another machine may not name");
    url = new URL(location.replaceAll("\\", "/"), base.url).toString();
  }
  if (url !== undefined) {
    try {
      return { url: new URL(url).toString(), fileName: baseName(url) };
    } catch {
      throw bad("is no URL");
    }
  }
  if (/^file:/i.test(location)) {
    try {
      return { path: fileURLToPath(location) };
    } catch (e) {
      throw bad(`names no file of this machine: ${(e as Error).message}`);
    }
  }
  if (relativeTo === "working-directory") return { path: resolve(expanded(location, env)) };
  return { path: resolve("folder" in base ? base.folder : ".", location) };
}

/** `~` and variables in a path (CEP 23). Never in a URL: a list from elsewhere could send secrets of the environment anywhere. */
function expanded(path: string, env: NodeJS.ProcessEnv): string {
  return path
    .replace(/^~(?=[/\\]|$)/, homedir())
    .replace(/\$(?:\{(\w+)\}|(\w+))/g, (all, braced: string | undefined, plain: string | undefined) => {
      return env[braced ?? plain ?? ""] ?? all;
    });
}
