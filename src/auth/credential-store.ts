import { existsSync } from "node:fs";
import { join } from "node:path";
import { UsageError } from "../errors.ts";
import type { Credential, Entry, OAuthEntry } from "./credential.ts";
import { keysOf } from "./keys.ts";
import { endsSoon, hasEnded, type PostForm, renew } from "./oauth.ts";
import { BadVault, jsonVault, keyringVault, netrcVault, type Vault } from "./vaults.ts";

/** The credentials that this user has for hosts. */
export interface CredentialStore {
  /**
   * The credential for a URL: of its host, for `s3://` of the longest prefix, or of a `*.domain` that the host lies in.
   * What the URL itself carries is not looked at.
   */
  find(url: string): Promise<Credential | undefined>;
}

export interface CredentialOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Renews OAuth tokens. Carries no credentials of its own. */
  readonly post: PostForm;
  readonly warn: (message: string) => void;
}

/**
 * The store that rattler, pixi and rattler-build use: `RATTLER_AUTH_FILE`, the system's keyring, `~/.rattler/credentials.json`,
 * netrc (`$NETRC`, else `~/.netrc`, on Windows `~/_netrc`), in this order. Files and the keyring are opened when a URL is first
 * asked for. Where the environment names no home, only what it names otherwise is read.
 * @throws UsageError BAD_CONFIG when `RATTLER_AUTH_FILE` can't be used
 */
export async function openCredentialStore(options: CredentialOptions): Promise<CredentialStore> {
  const { env, now, warn } = options;
  const vaults = vaultsOf(env);
  const named = env["RATTLER_AUTH_FILE"];
  if (named) await vaults[0]?.get("").catch((e) => Promise.reject(unusable(named, e)));
  if (named && !existsSync(named)) warn(`RATTLER_AUTH_FILE=${named}: there is no such file; it holds no credentials`);
  const told = new Set<string>();
  const byKey = new Map<string, Promise<Found | undefined>>();
  const renewing = new Map<string, Promise<OAuthEntry | undefined>>();

  const lookUp = async (key: string): Promise<Found | undefined> => {
    for (const vault of vaults) {
      const entry = await vault.get(key).catch((e: Error) => {
        if (!told.has(e.message)) warn(`${e.message}; it is not used`);
        told.add(e.message);
        return undefined;
      });
      if (entry) return { key, vault, entry };
    }
    return undefined;
  };
  const findEntry = async (url: string): Promise<Found | undefined> => {
    for (const key of keysOf(url)) {
      let looked = byKey.get(key);
      if (!looked) {
        looked = lookUp(key);
        byKey.set(key, looked);
      }
      const found = await looked;
      if (found) return found;
    }
    return undefined;
  };

  /** Tokens that last, written back where the old ones came from: a server may have taken back those. */
  const fresh = async ({ key, vault }: Found, old: OAuthEntry): Promise<OAuthEntry | undefined> => {
    const there = (await vault.again?.(key).catch(() => undefined)) ?? old;
    if (there.kind !== "oauth") return undefined;
    if (!endsSoon(there, now())) return there;
    try {
      const renewed = await renew(there, now(), options.post);
      await vault
        .amend?.(key, "OAuth", { ...renewed })
        .catch(() => warn(`the renewed token of ${key} could not be kept in ${vault.name}`));
      const { access_token: accessToken, refresh_token, expires_at } = renewed;
      return {
        ...there,
        accessToken,
        refreshToken: refresh_token ?? undefined,
        expiresAt: expires_at ?? undefined,
      };
    } catch (e) {
      warn(`the token for ${key} could not be renewed: ${(e as Error).message}`);
      return hasEnded(there, now()) ? undefined : there;
    }
  };

  return {
    async find(url) {
      const found = await findEntry(url);
      if (found?.entry.kind !== "oauth") return found?.entry;
      if (!endsSoon(found.entry, now())) return { kind: "oauth", accessToken: found.entry.accessToken };
      let work = renewing.get(found.key);
      if (!work) {
        const { entry } = found;
        work = fresh(found, entry).then((renewed) => {
          if (renewed) byKey.set(found.key, Promise.resolve({ ...found, entry: renewed }));
          // One that failed is not tried again for every package.
          if (renewed && !endsSoon(renewed, now())) renewing.delete(found.key);
          return renewed;
        });
        renewing.set(found.key, work);
      }
      const renewed = await work;
      return renewed && { kind: "oauth", accessToken: renewed.accessToken };
    },
  };
}

interface Found {
  readonly key: string;
  readonly vault: Vault;
  readonly entry: Entry;
}

function vaultsOf(env: NodeJS.ProcessEnv): Vault[] {
  const vaults: Vault[] = [];
  const named = env["RATTLER_AUTH_FILE"];
  const home = env["HOME"] || env["USERPROFILE"];
  if (named) vaults.push(jsonVault(named));
  if (home && mayHaveKeyring(env)) vaults.push(keyringVault());
  if (home) vaults.push(jsonVault(join(home, ".rattler", "credentials.json")));
  const netrc = env["NETRC"] || (home && join(home, process.platform === "win32" ? "_netrc" : ".netrc"));
  if (netrc) vaults.push(netrcVault(netrc));
  return vaults;
}

/** Linux has its keyring behind the session's bus; without one the library, which takes 10 ms to load, finds nothing. */
function mayHaveKeyring(env: NodeJS.ProcessEnv): boolean {
  return process.platform !== "linux" || Boolean(env["DBUS_SESSION_BUS_ADDRESS"] || env["XDG_RUNTIME_DIR"]);
}

function unusable(path: string, e: unknown): UsageError {
  return new UsageError("BAD_CONFIG", {
    what: `RATTLER_AUTH_FILE=${path}: can't be used`,
    why: e instanceof BadVault ? e.message.slice(path.length + 2) : (e as Error).message,
    next: "correct the file, or write it anew with rattler auth login or pixi auth login",
    cause: e,
  });
}
