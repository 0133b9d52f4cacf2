import { authorizationOf, type Credential } from "../auth/credential.ts";
import { TransferError } from "../errors.ts";
import type { ApiClient } from "../transfer/api.ts";
import { refusedBy } from "../transfer/http.ts";
import { hideSecret, redactUrl } from "../transfer/redact.ts";
import { parseChallenge } from "./challenge.ts";

export type Actions = "pull" | "pull,push" | "pull,push,delete";

/** Proves to one registry who we are, repository by repository. */
export interface Authority {
  /** The `Authorization` header for a repository, where one was asked for before. */
  current(repository: string, actions: Actions): string | undefined;
  /**
   * The header that answers a registry's 401.
   * @throws TransferError REFUSED where it can't be answered
   */
  answer(header: string | undefined, repository: string, actions: Actions, signal: AbortSignal): Promise<string>;
}

/** Tokens that say nothing of it last so many seconds (distribution "token authentication"). */
const DEFAULT_LIFE_S = 60;

/** A token that ends within so many milliseconds is not used any more. */
const MARGIN_MS = 10_000;

/**
 * @param registry origin, such as "https://ghcr.io".
 * @param credential asked for once, when the registry wants to know who we are.
 */
export function openAuthority(
  registry: string,
  api: ApiClient,
  credential: () => Promise<Credential | undefined>,
  now: () => number,
): Authority {
  const tokens = new Map<string, { readonly header: string; readonly until: number }>();
  const asking = new Map<string, Promise<string>>();
  let ours: Promise<Credential | undefined> | undefined;
  let everywhere: string | undefined;
  const host = new URL(registry).host;

  const refused = (why: string) =>
    new TransferError(
      "REFUSED",
      {
        what: registry,
        why,
        next: `give ORAS_USER and ORAS_PASS, an entry for ${host} in rattler's credentials, or log in with docker or oras`,
      },
      { mayPass: false },
    );

  const answer: Authority["answer"] = async (header, repository, actions, signal) => {
    ours ??= credential();
    const mine = await ours;
    const challenge = parseChallenge(header);
    const own = mine && authorizationOf(mine);
    if (mine && mine.kind !== "basic" && own !== undefined) {
      everywhere = own;
      return own;
    }
    if (!challenge || challenge.scheme === "basic") {
      if (own === undefined) throw refused("the registry wants to know who we are, and no credentials for it are here");
      everywhere = own;
      return own;
    }
    const scope = `repository:${repository}:${actions}`;
    // Many packages of one repository come at once; one token serves them all.
    let asked = asking.get(scope);
    if (!asked) {
      asked = askFor(scope, challenge.realm, challenge.service, own, signal).finally(() => asking.delete(scope));
      asking.set(scope, asked);
    }
    return asked;
  };

  async function askFor(
    scope: string,
    realm: string,
    service: string | undefined,
    own: string | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    let url: URL;
    try {
      url = new URL(realm);
    } catch {
      throw refused(`the registry names no address where tokens are to be had: ${realm}`);
    }
    // Whoever can answer for the registry may name any server: our password goes nowhere in the clear.
    const home = new URL(registry);
    if (url.protocol !== "https:" && (home.protocol === "https:" || url.hostname !== home.hostname))
      throw refused(`the registry sends us to ${redactUrl(url)} for a token, without TLS`);
    if (service !== undefined) url.searchParams.set("service", service);
    url.searchParams.set("scope", scope);
    url.username = "";
    url.password = "";
    const asked = await api.send(
      {
        method: "GET",
        url: url.toString(),
        headers: own === undefined ? {} : { authorization: own },
        anonymous: true,
        maxAnswerBytes: 1024 * 1024,
      },
      signal,
    );
    if (asked.status === 401 || asked.status === 403)
      throw refused(
        `${redactUrl(url)} answered ${asked.status}${own === undefined ? ": no credentials are here" : ""}`,
      );
    if (asked.status !== 200) throw refusedBy(url, asked.status, asked.headers, Buffer.from(asked.body).toString());
    const { token, until } = readToken(asked.body, now());
    if (token === undefined) throw refused(`${redactUrl(url)} gave no token`);
    hideSecret(token);
    const header = `Bearer ${token}`;
    tokens.set(scope, { header, until });
    return header;
  }

  return {
    current(repository, actions) {
      if (everywhere !== undefined) return everywhere;
      const known = tokens.get(`repository:${repository}:${actions}`);
      return known && known.until - MARGIN_MS > now() ? known.header : undefined;
    },
    answer,
  };
}

function readToken(body: Uint8Array, now: number): { token: string | undefined; until: number } {
  try {
    const value = JSON.parse(Buffer.from(body).toString("utf8")) as Record<string, unknown>;
    const token = value["token"] ?? value["access_token"];
    const life = typeof value["expires_in"] === "number" ? value["expires_in"] : DEFAULT_LIFE_S;
    return {
      token: typeof token === "string" && /^[!-~]+$/.test(token) ? token : undefined,
      until: now + Math.max(life, DEFAULT_LIFE_S) * 1000,
    };
  } catch {
    return { token: undefined, until: 0 };
  }
}

/** Credentials for a registry, as docker and oras keep them (`auths` of `config.json`). */
export function dockerCredential(configText: string, registry: string): Credential | undefined {
  const { host } = new URL(registry);
  try {
    const { auths } = JSON.parse(configText) as { auths?: Record<string, { auth?: unknown } | null> };
    for (const key of [host, registry, `${registry}/v1/`, `${registry}/v2/`]) {
      const auth = auths?.[key]?.auth;
      if (typeof auth !== "string") continue;
      const pair = Buffer.from(auth, "base64").toString("utf8");
      const colon = pair.indexOf(":");
      if (colon < 1) continue;
      return { kind: "basic", username: pair.slice(0, colon), password: pair.slice(colon + 1) };
    }
  } catch {
    // Not ours to mend, and there may be other credentials.
  }
  return undefined;
}
