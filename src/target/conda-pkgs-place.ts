import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";

/** What the choice depends on. */
export interface CondaPlaceContext {
  readonly env: NodeJS.ProcessEnv;
  readonly warn: (message: string) => void;
  /** Default: this system's. */
  readonly home?: string;
}

/**
 * The `pkgs` folder that conda or mamba would write to: the first of those that they look through which can be written
 * (conda `context.pkgs_dirs`): `CONDA_PKGS_DIRS`, `pkgs_dirs` in their configuration, `pkgs` below the root, `~/.conda/pkgs`.
 */
export async function defaultPkgs(context: CondaPlaceContext): Promise<string> {
  const { env } = context;
  const home = context.home ?? (env["HOME"] || homedir());
  const inEnvironment = (env["CONDA_PKGS_DIRS"] ?? "").split(delimiter).flatMap((p) => p.split(","));
  const root = rootOf(env);
  const choices = [
    ...inEnvironment.filter((p) => p.trim() !== "").map((p) => resolve(p.trim())),
    ...(await configured(home, root, context)),
    ...(root === undefined ? [] : [join(root, "pkgs")]),
    join(home, ".conda", "pkgs"),
  ];
  for (const folder of choices) if (await isWritable(folder)) return folder;
  return choices[0] as string;
}

/** Where conda or mamba itself is installed. */
function rootOf(env: NodeJS.ProcessEnv): string | undefined {
  if (env["MAMBA_ROOT_PREFIX"]) return resolve(env["MAMBA_ROOT_PREFIX"]);
  // <root>/bin/conda, or <root>\Scripts\conda.exe
  return env["CONDA_EXE"] ? dirname(dirname(resolve(env["CONDA_EXE"]))) : undefined;
}

/** `pkgs_dirs` of the configuration files, those of the strongest first. */
async function configured(home: string, root: string | undefined, context: CondaPlaceContext): Promise<string[]> {
  const { env, warn } = context;
  const files = [
    env["MAMBARC"],
    env["CONDARC"],
    env["CONDA_PREFIX"] && join(env["CONDA_PREFIX"], ".condarc"),
    join(home, ".mambarc"),
    join(home, ".condarc"),
    join(home, ".conda", ".condarc"),
    join(env["XDG_CONFIG_HOME"] || join(home, ".config"), "conda", ".condarc"),
    root && join(root, ".condarc"),
    "/etc/conda/.condarc",
  ];
  const found: string[] = [];
  for (const file of files) {
    const text = file ? await readFile(file, "utf8").catch(() => undefined) : undefined;
    if (!text?.includes("pkgs_dirs")) continue;
    try {
      const { parse } = await import("yaml");
      const value = (parse(text) as { pkgs_dirs?: unknown } | null)?.pkgs_dirs;
      const paths = Array.isArray(value) ? value : [value];
      for (const path of paths) if (typeof path === "string" && path) found.push(resolve(expanded(path, home, env)));
    } catch (e) {
      warn(`${file} can't be read, so that conda's cache may be elsewhere: ${(e as Error).message.split("\n")[0]}`);
    }
  }
  return found;
}

function expanded(path: string, home: string, env: NodeJS.ProcessEnv): string {
  const atHome = path === "~" || path.startsWith("~/") ? join(home, path.slice(1)) : path;
  return atHome.replace(/\$(\w+)|\$\{(\w+)\}/g, (all, a: string, b: string) => env[a ?? b] ?? all);
}

/** Whether the folder, or the nearest one above it that is there, can be written. */
async function isWritable(folder: string): Promise<boolean> {
  for (let at = folder; ; at = dirname(at)) {
    try {
      await access(at, constants.W_OK);
      return true;
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== "ENOENT" || dirname(at) === at) return false;
    }
  }
}
