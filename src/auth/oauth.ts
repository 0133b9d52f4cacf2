import { isToken, type OAuthEntry, tableOf } from "./credential.ts";

/** Posts a form and gives the answer; throws when none came. */
export type PostForm = (
  url: string,
  form: Readonly<Record<string, string>>,
) => Promise<{ readonly status: number; readonly body: Uint8Array }>;

/** A token that ends within so many seconds is renewed (as rattler does), so that it lasts for what is asked with it. */
const SOON = 300;

export function endsSoon(entry: OAuthEntry, nowMs: number): boolean {
  return entry.expiresAt !== undefined && entry.expiresAt - nowMs / 1000 < SOON;
}

export function hasEnded(entry: OAuthEntry, nowMs: number): boolean {
  return entry.expiresAt !== undefined && entry.expiresAt <= nowMs / 1000;
}

/** New tokens for an entry's old ones, as rattler names them. */
export interface Renewed {
  readonly access_token: string;
  readonly refresh_token: string | null;
  /** Seconds since 1970. */
  readonly expires_at: number | null;
}

/**
 * Asks the token endpoint for new tokens (RFC 6749 §6).
 * @throws Error that says why there are none, without secrets.
 */
export async function renew(entry: OAuthEntry, nowMs: number, post: PostForm): Promise<Renewed> {
  const { refreshToken, tokenEndpoint, clientId } = entry;
  if (refreshToken === undefined) throw new Error("it has ended, and there is no token to renew it with");
  let endpoint: URL;
  try {
    endpoint = new URL(tokenEndpoint);
  } catch {
    throw new Error("the address that renews it is no URL");
  }
  // The token that renews is worth more than the one it renews: never in plain text across a network.
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(endpoint.hostname);
  if (endpoint.protocol !== "https:" && !(endpoint.protocol === "http:" && here))
    throw new Error(`it would be renewed at a ${endpoint.protocol} address, which is not safe`);
  const form = { grant_type: "refresh_token", refresh_token: refreshToken, client_id: clientId };
  const { status, body } = await post(tokenEndpoint, form);
  let said: unknown;
  try {
    said = JSON.parse(Buffer.from(body).toString("utf8"));
  } catch {
    throw new Error(`${endpoint.host} answered ${status} and no JSON`);
  }
  const told = tableOf(said) ? said : {};
  if (status < 200 || status > 299) {
    const error = typeof told["error"] === "string" ? told["error"].replace(/[^\w.-]/g, "").slice(0, 60) : "no reason";
    throw new Error(`${endpoint.host} answered ${status} (${error})`);
  }
  const access = told["access_token"];
  if (!isToken(access)) throw new Error(`${endpoint.host} gave no access token`);
  const renewed = told["refresh_token"];
  const lasts = told["expires_in"];
  return {
    access_token: access,
    refresh_token: typeof renewed === "string" && renewed !== "" ? renewed : refreshToken,
    expires_at: typeof lasts === "number" ? Math.floor(nowMs / 1000 + lasts) : null,
  };
}
