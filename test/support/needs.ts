import { existsSync } from "node:fs";
import { resolve } from "node:path";

const root = new URL("../..", import.meta.url).pathname;

/** The folder of shared fixtures: `MESO_FORGE_FIXTURES`, else ../shared/fixtures. */
export const fixtures = resolve(process.env["MESO_FORGE_FIXTURES"] ?? `${root}../shared/fixtures`);

/** Python with the real client in it, brought by `npm test`. */
export const python = resolve(root, ".cache/venv", process.platform === "win32" ? "Scripts/python.exe" : "bin/python");

/** A browser: `CHROMIUM`, else where Debian puts it. */
export const chromium = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

/**
 * Options for tests that need something which may be missing: skipped with a notice on a developer's machine, an error
 * where CI=true.
 */
export function needs(path: string, what: string): { skip: string | false } {
  if (existsSync(path)) return { skip: false };
  if (process.env["CI"] === "true") throw new Error(`${what} is missing (${path}), and CI may leave nothing untested`);
  return { skip: `${what} is not here (${path})` };
}
