import { authorizationOf } from "./credential.ts";
import type { CredentialStore } from "./credential-store.ts";
import type { Credentials } from "./credentials.ts";

/** A URL as it is asked for, and the header that goes with it. Plain data: it crosses threads. */
export interface Proven {
  /** May carry a conda token in its path. */
  readonly url: string;
  /** For the URL's own origin alone. */
  readonly authorization?: string;
}

/** Adds to a URL what the store has for it. */
export type Prove = (url: string) => Promise<Proven>;

/**
 * What the store has for a URL's host, unless something else proves who we are: user and password or a token in the URL, or
 * a token of the settings.
 */
export function prover(tokens: Credentials, store: CredentialStore): Prove {
  return async (text) => {
    const bare = { url: text };
    let url: URL;
    try {
      url = new URL(text);
    } catch {
      return bare;
    }
    if (url.username || url.password || url.pathname.startsWith("/t/")) return bare;
    if (tokens.headersFor(url)["authorization"] !== undefined) return bare;
    const credential = await store.find(text);
    if (!credential) return bare;
    if (credential.kind === "conda-token") {
      url.pathname = `/t/${encodeURIComponent(credential.token)}${url.pathname}`;
      return { url: url.toString() };
    }
    const authorization = authorizationOf(credential);
    return authorization === undefined ? bare : { url: text, authorization };
  };
}
