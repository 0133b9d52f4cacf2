import { readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";

/** Where a package cache is: the folder of its entries, and the one that is marked as a cache. */
export interface CachePlace {
  readonly packages: string;
  readonly root: string;
  /** For people: what decided it. */
  readonly because: string;
}

/** What the choice depends on. */
export interface PlaceContext {
  readonly env: NodeJS.ProcessEnv;
  readonly warn: (message: string) => void;
  /** Default: this system's. */
  readonly platform?: NodeJS.Platform;
  readonly home?: string;
}

/**
 * The packages folder that a client on this machine would use: pixi's rules where pixi has been, which end in those of
 * rattler (pixi_config, `cache`; rattler_cache `default_cache_dir`).
 */
export async function defaultPlace(context: PlaceContext): Promise<CachePlace> {
  const { env } = context;
  const home = context.home ?? (env["HOME"] || homedir());
  const set = (name: string) => (env[name] ? resolve(env[name]) : undefined);
  const inRoot = (root: string, because: string): CachePlace => ({ root, packages: join(root, "pkgs"), because });

  const own = set("PIXI_CACHE_CONDA_PACKAGES_DIR");
  if (own) return { root: own, packages: own, because: "PIXI_CACHE_CONDA_PACKAGES_DIR" };
  const config = await pixiCache(home, context);
  if (config.packages) return { root: config.packages, packages: config.packages, because: config.file };
  for (const name of ["PIXI_CACHE_DIR", "RATTLER_CACHE_DIR"]) {
    const root = set(name);
    if (root) return inRoot(root, name);
  }
  if (config.root) return inRoot(config.root, config.file);
  const cache = cacheFolder(home, context);
  const pixi = join(cache, "pixi");
  if ((await stat(pixi).catch(() => undefined))?.isDirectory()) return inRoot(pixi, "pixi's cache is there");
  return inRoot(join(cache, "rattler", "cache"), "rattler's default");
}

/**
 * The place that a path names: the folder of packages itself, as py-rattler's `cache_dir` and `PIXI_CACHE_CONDA_PACKAGES_DIR` mean
 * it, or the `pkgs` in it where it is the root of a cache, which `RATTLER_CACHE_DIR` means. No entry can be called `pkgs`.
 */
export async function placeAt(path: string): Promise<CachePlace> {
  const at = resolve(path);
  const inside = join(at, "pkgs");
  if ((await stat(inside).catch(() => undefined))?.isDirectory())
    return { root: at, packages: inside, because: "the path given is a cache's root" };
  return { root: at, packages: at, because: "the path given" };
}

/** The system's folder for caches (the crate `dirs`). */
function cacheFolder(home: string, { env, platform = process.platform }: PlaceContext): string {
  if (platform === "win32") return env["LOCALAPPDATA"] || join(home, "AppData", "Local");
  if (platform === "darwin") return join(home, "Library", "Caches");
  const xdg = env["XDG_CACHE_HOME"];
  return xdg?.startsWith("/") ? xdg : join(home, ".cache");
}

interface PixiCache {
  readonly file: string;
  readonly root: string | undefined;
  readonly packages: string | undefined;
}

/** What pixi's configuration says of its cache: the system's file, then the user's, then the one in pixi's home; later ones win. */
async function pixiCache(home: string, { env, warn, platform = process.platform }: PlaceContext): Promise<PixiCache> {
  let found: PixiCache = { file: "", root: undefined, packages: undefined };
  if (env["PIXI_NO_CONFIG"]) return found;
  const xdg = env["XDG_CONFIG_HOME"];
  const system = platform === "win32" ? join(env["ProgramData"] || "C:\\ProgramData", "pixi") : "/etc/pixi";
  const user =
    platform === "win32"
      ? join(env["APPDATA"] || join(home, "AppData", "Roaming"), "pixi")
      : xdg?.startsWith("/")
        ? join(xdg, "pixi")
        : platform === "darwin"
          ? join(home, "Library", "Application Support", "pixi")
          : join(home, ".config", "pixi");
  for (const folder of [system, user, env["PIXI_HOME"] || join(home, ".pixi")]) {
    const file = join(folder, "config.toml");
    const text = await readFile(file, "utf8").catch(() => undefined);
    if (!text?.includes("cache")) continue;
    try {
      const { parse } = await import("smol-toml");
      const { cache } = parse(text) as { cache?: { root?: unknown; "conda-packages"?: unknown } };
      const path = (value: unknown) =>
        typeof value === "string" && value ? resolve(dirname(file), tilde(value, home)) : undefined;
      found = {
        file,
        root: path(cache?.root) ?? found.root,
        packages: path(cache?.["conda-packages"]) ?? found.packages,
      };
    } catch (e) {
      warn(`${file} can't be read, so that pixi's cache may be elsewhere: ${(e as Error).message.split("\n")[0]}`);
    }
  }
  return found;
}

function tilde(path: string, home: string): string {
  return path === "~" || path.startsWith("~/") ? join(home, path.slice(1)) : path;
}
