/** What proves who we are to a host. */
export type Credential =
  | { readonly kind: "bearer"; readonly token: string }
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  /** Goes into the path of a URL: `/t/<token>/`. */
  | { readonly kind: "conda-token"; readonly token: string }
  | {
      readonly kind: "s3";
      readonly accessKeyId: string;
      readonly secretAccessKey: string;
      readonly sessionToken?: string;
    }
  /** An access token that is valid now. */
  | { readonly kind: "oauth"; readonly accessToken: string };

/** What an OAuth entry of a store holds. */
export interface OAuthEntry {
  readonly kind: "oauth";
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  /** Seconds since 1970. */
  readonly expiresAt: number | undefined;
  readonly tokenEndpoint: string;
  readonly clientId: string;
}

/** What a store holds under one name. */
export type Entry = Exclude<Credential, { kind: "oauth" }> | OAuthEntry;

/** An entry as rattler writes it (rattler_networking: `Authentication`); undefined for what is none. */
export function parseEntry(value: unknown): Entry | undefined {
  const [[variant, held] = [], ...more] = tableOf(value) ? Object.entries(value as object) : [];
  if (variant === undefined || more.length > 0) return undefined;
  if (variant === "BearerToken" || variant === "CondaToken") {
    if (!isToken(held)) return undefined;
    return { kind: variant === "BearerToken" ? "bearer" : "conda-token", token: held };
  }
  if (!tableOf(held)) return undefined;
  const text = (key: string): string | undefined => (typeof held[key] === "string" ? held[key] : undefined);
  switch (variant) {
    case "BasicHTTP": {
      const [username, password] = [text("username"), text("password")];
      return username === undefined || password === undefined ? undefined : { kind: "basic", username, password };
    }
    case "S3Credentials": {
      const [accessKeyId, secretAccessKey] = [text("access_key_id"), text("secret_access_key")];
      const sessionToken = text("session_token");
      if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
      return { kind: "s3", accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
    }
    case "OAuth": {
      const [accessToken, tokenEndpoint] = [text("access_token"), text("token_endpoint")];
      const clientId = text("client_id");
      if (!isToken(accessToken) || tokenEndpoint === undefined || clientId === undefined) return undefined;
      const expires = held["expires_at"];
      const expiresAt = typeof expires === "number" ? expires : undefined;
      return { kind: "oauth", accessToken, refreshToken: text("refresh_token"), expiresAt, tokenEndpoint, clientId };
    }
    default:
      return undefined;
  }
}

/** What can stand in a header and in a path. */
export function isToken(value: unknown): value is string {
  return typeof value === "string" && /^[!-~]+$/.test(value);
}

/** The value of an `Authorization` header; undefined where that is not how it is shown. */
export function authorizationOf(credential: Credential): string | undefined {
  switch (credential.kind) {
    case "bearer":
      return `Bearer ${credential.token}`;
    case "oauth":
      return `Bearer ${credential.accessToken}`;
    case "basic":
      return basicAuthorization(credential.username, credential.password);
    default:
      return undefined;
  }
}

export function basicAuthorization(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

export function tableOf(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
