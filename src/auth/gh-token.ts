import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * The token that the `gh` command would use for a host: of its own variables, from its hosts.yml, else, where gh is installed
 * and keeps it in the system's key store, from `gh auth token`. Undefined where there is none.
 * @param host as in addresses, such as "github.com"
 * @param env names the places: GH_CONFIG_DIR, XDG_CONFIG_HOME, AppData or HOME (gh's own order), and PATH.
 */
export async function ghToken(host: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  // gh keeps tokens for its maker's hosts and for Enterprise Server apart (gh help environment).
  const own = host === "github.com" || host.endsWith(".ghe.com") ? "GH_TOKEN" : "GH_ENTERPRISE_TOKEN";
  return nonEmpty(env[own]) ?? (await fromHosts(host, env)) ?? (await fromCommand(host, env));
}

async function fromHosts(host: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const folder =
    env["GH_CONFIG_DIR"] ||
    (env["XDG_CONFIG_HOME"] && join(env["XDG_CONFIG_HOME"], "gh")) ||
    (process.platform === "win32" && env["AppData"] && join(env["AppData"], "GitHub CLI")) ||
    (env["HOME"] && join(env["HOME"], ".config", "gh"));
  if (!folder) return undefined;
  try {
    const text = await readFile(join(folder, "hosts.yml"), "utf8");
    const hosts: unknown = (await import("yaml")).parse(text, { maxAliasCount: 100 });
    const entry = own(hosts, host);
    const user = own(entry, "user");
    return (
      nonEmpty(own(entry, "oauth_token")) ??
      (typeof user === "string" ? nonEmpty(own(own(own(entry, "users"), user), "oauth_token")) : undefined)
    );
  } catch {
    // Another program's file: what can't be read there is no token.
    return undefined;
  }
}

function fromCommand(host: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (!env["PATH"]) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    execFile("gh", ["auth", "token", "--hostname", host], { env, timeout: 10_000 }, (error, stdout) =>
      resolve(error ? undefined : nonEmpty(stdout.trim())),
    );
  });
}

function own(from: unknown, key: string): unknown {
  return typeof from === "object" && from !== null && Object.hasOwn(from, key)
    ? (from as Record<string, unknown>)[key]
    : undefined;
}

/** A token that can stand in a header. */
function nonEmpty(value: unknown): string | undefined {
  return typeof value === "string" && /^[!-~]+$/.test(value) ? value : undefined;
}
