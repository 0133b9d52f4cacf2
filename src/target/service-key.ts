import type { Credential } from "../auth/credential.ts";
import { UsageError } from "../errors.ts";
import { redactUrl } from "../transfer/redact.ts";
import type { TargetContext } from "./kinds.ts";

/** Where the key of a service is looked for, after the one that the caller gives. */
export interface KeySearch {
  /** What it is called, in errors. */
  readonly service: string;
  /** The server, as the target names it. */
  readonly server: URL;
  /** What the target's address itself carried. */
  readonly typed: Credential | undefined;
  /** Variables of the environment that hold a key. */
  readonly variables: readonly string[];
  /** The variable that says which server those keys are for. */
  readonly serverVariable: string;
  /** Hosts that those keys are for where that variable is not set; any when absent. */
  readonly hosts?: (host: string) => boolean;
  /** Addresses that the store is asked for, in this order. */
  readonly stored: readonly string[];
}

/**
 * The key for a service: the caller's, the address's own, the environment's, the store's. A key of the environment goes to
 * the server that the environment names for it, or the service's own hosts, and to no other.
 */
export async function findKey(search: KeySearch, context: TargetContext): Promise<Credential | undefined> {
  if (context.apiKey !== undefined) return asCredential(context.apiKey);
  if (search.typed) return search.typed;
  const named = search.variables.map((name) => context.env[name]).find((value) => value);
  if (named && keysAreFor(search, context.env)) return asCredential(named);
  for (const url of search.stored) {
    const found = await context.credentials.find(url);
    if (found && found.kind !== "s3") return found;
  }
  return undefined;
}

/** Whether keys of the environment are for this server. */
export function keysAreFor(
  { server, serverVariable, hosts }: Pick<KeySearch, "server" | "serverVariable" | "hosts">,
  env: NodeJS.ProcessEnv,
): boolean {
  const named = env[serverVariable];
  if (!named) return hosts?.(server.hostname) ?? true;
  try {
    return new URL(named).origin === server.origin;
  } catch {
    return false;
  }
}

/** `user:password`, or a token. */
function asCredential(text: string): Credential {
  const key = text.trim();
  const colon = key.indexOf(":");
  return colon < 0
    ? { kind: "bearer", token: key }
    : { kind: "basic", username: key.slice(0, colon), password: key.slice(colon + 1) };
}

/** The key itself, for services that know no users: a password counts as one. */
export function tokenOf(credential: Credential): string | undefined {
  switch (credential.kind) {
    case "bearer":
    case "conda-token":
      return credential.token;
    case "oauth":
      return credential.accessToken;
    case "basic":
      return credential.password || credential.username;
    default:
      return undefined;
  }
}

/**
 * What goes into a request: the key, or what `read` makes of the credential. Looked for anew each time, so that one that ends
 * is renewed.
 * @throws UsageError BAD_TARGET where there is none
 */
export async function neededKey(search: KeySearch, context: TargetContext, read = tokenOf): Promise<string> {
  const found = await findKey(search, context);
  const key = found && read(found);
  if (!key) throw noKey(search);
  return key;
}

export function noKey(search: KeySearch): UsageError {
  const { service, server, variables, serverVariable } = search;
  return new UsageError("BAD_TARGET", {
    what: `${server.host}: no key for ${service}`,
    why: "it takes packages only from those it knows",
    next: `give --api-key, set ${variables[0]} (and ${serverVariable}, for a server of your own), or log in with pixi auth login`,
  });
}

/** An address as typed, with what it carried taken out: user and password, or a conda token. */
export interface TypedAddress {
  /** Without user, password, token, query and fragment. */
  readonly url: URL;
  readonly credential: Credential | undefined;
  /** The parts of its path, decoded; none is empty, "." or "..". */
  readonly path: readonly string[];
}

/**
 * Reads a service's address. Its own scheme, such as `quetz:`, stands for https; `quetz+http:` for plain http.
 * @param example an address that is right, for the error.
 * @throws UsageError BAD_TARGET
 */
export function readAddress(text: string, scheme: string, example: string): TypedAddress {
  const own = new RegExp(`^${scheme}(\\+http)?://`, "i").exec(text);
  const spelled = own ? `${own[1] ? "http" : "https"}://${text.slice(own[0].length)}` : text;
  let url: URL;
  try {
    url = new URL(spelled);
  } catch {
    throw badAddress(text, "it is no URL", example);
  }
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw badAddress(text, `${url.protocol} addresses are something else`, example);
  let credential: Credential | undefined;
  let path: string[];
  try {
    if (url.username || url.password) {
      const [username, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
      credential = password === "" ? { kind: "bearer", token: username } : { kind: "basic", username, password };
    }
    path = url.pathname
      .split("/")
      .filter((p) => p !== "")
      .map(decodeURIComponent);
  } catch {
    throw badAddress(text, "its escapes are not percent-encoded UTF-8", example);
  }
  const at = path.indexOf("t");
  if (at >= 0 && at + 2 < path.length && !credential) {
    credential = { kind: "conda-token", token: path[at + 1] as string };
    path.splice(at, 2);
  }
  if (!path.every((p) => /^[\w.~+@-]+$/.test(p) && p !== "." && p !== ".."))
    throw badAddress(text, "its path holds characters that no channel's name has", example);
  url.username = "";
  url.password = "";
  url.search = "";
  url.hash = "";
  url.pathname = `/${path.join("/")}`;
  return { url, credential, path };
}

export function badAddress(text: string, why: string, example: string): UsageError {
  return new UsageError("BAD_TARGET", {
    what: `${redactUrl(text)}: not an address that packages can go to`,
    why,
    next: `give it as ${example}`,
  });
}
