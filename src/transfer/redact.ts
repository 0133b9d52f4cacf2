/**
 * A URL as it may be shown: without user and password, conda tokens (`/t/<token>/`) and query values, which hold
 * signatures on storage hosts. What is no URL comes back as it is; what only begins like one (a password with a slash in it ends
 * the host's name) without all that could be a secret in it.
 */
export function redactUrl(url: string | URL): string {
  // A Windows path would pass for a URL of scheme "c".
  if (typeof url === "string" && !/^[a-z][a-z0-9+.-]+:\/\//i.test(url)) return url;
  // Most addresses hold nothing to hide, and thousands of them pass here.
  if (typeof url === "string" && !/[@?#\s]|\/t\//.test(url)) return url;
  let u: URL;
  try {
    u = new URL(url);
  } catch {
    return withoutParts(String(url));
  }
  u.username = "";
  u.password = "";
  u.hash = "";
  const query = u.search ? "?…" : "";
  u.search = "";
  u.pathname = u.pathname.replace(/\/t\/[^/]+/g, "/t/…");
  return decodePercent(u.toString()) + query;
}

/** What begins like a URL and is none: user and password are whatever stands before the last "@". */
function withoutParts(text: string): string {
  const behind = text.indexOf("://") + 3;
  const rest = text.slice(Math.max(behind, text.lastIndexOf("@") + 1));
  const bare = rest.replace(/[?#].*$/s, (cut) => (cut.startsWith("?") ? "?…" : ""));
  return `${text.slice(0, behind)}${bare.replace(/\/t\/[^/]+/g, "/t/…")}`;
}

/** What this thread has sent to prove who we are: servers repeat it in what they say. */
const secrets = new Set<string>();

/** Shorter ones would blot out words that are none. */
const SHORTEST = 6;

/** Keeps a secret, and what it looks like in a URL, from being shown by `redactText`. */
export function hideSecret(secret: string): void {
  if (secret.length < SHORTEST || secrets.has(secret)) return;
  secrets.add(secret);
  secrets.add(encodeURIComponent(secret));
}

/** Keeps what an `Authorization` header proves from being shown. */
export function hideAuthorization(header: string): void {
  if (secrets.has(header)) return;
  secrets.add(header);
  const [scheme, proof] = header.split(" ", 2);
  if (proof === undefined) return;
  hideSecret(proof);
  if (scheme?.toLowerCase() !== "basic") return;
  const pair = Buffer.from(proof, "base64").toString("utf8");
  hideSecret(pair.slice(pair.indexOf(":") + 1));
}

/** Keeps a conda token in a URL's path from being shown. */
export function hideToken(url: URL): void {
  const token = /^\/t\/([^/]+)\//.exec(url.pathname)?.[1];
  if (token === undefined) return;
  hideSecret(token);
  try {
    hideSecret(decodeURIComponent(token));
  } catch {
    // A "%" that stands for itself.
  }
}

/** Names of what signs an address. */
const SIGNING = /sig|token|key|secret|credential|passw|auth|code/i;

/** A server's words about an address, without what signs it: servers repeat the address that they refuse. */
export function withoutSignature(words: string, url: URL): string {
  let clean = words;
  for (const [name, value] of url.searchParams) {
    if (value.length < SHORTEST || !SIGNING.test(name)) continue;
    // As it is, as we write it, and as it stood in the address.
    const raw = url.search
      .slice(1)
      .split("&")
      .find((pair) => pair.startsWith(`${name}=`))
      ?.slice(name.length + 1);
    for (const form of [value, encodeURIComponent(value), raw]) if (form) clean = clean.replaceAll(form, "…");
  }
  return clean;
}

/** Whether an address proves by itself that it may be read. */
export function isSigned(address: string): boolean {
  const url = /^https?:/i.test(address) ? URL.parse(address) : null;
  return url !== null && (url.username !== "" || [...url.searchParams.keys()].some((name) => SIGNING.test(name)));
}

function withoutSecrets(text: string): string {
  let clean = text;
  for (const secret of secrets) if (clean.includes(secret)) clean = clean.replaceAll(secret, "…");
  return clean;
}

/** Text of a server or a system, cleaned for a terminal and a log: one line, no secrets, at most 300 characters. */
export function redactText(text: string): string {
  return withoutSecrets(text)
    .replace(/\bhttps?:\/\/[^\s"'<>]+/g, (url) => redactUrl(url))
    .replace(/\/t\/[^\s/"'<>]+/g, "/t/…")
    .replace(/\b(?:Bearer|Basic|token)\s+[A-Za-z0-9._~+/=-]{8,}/gi, "…")
    .replace(/[\p{Cc}\s]+/gu, " ")
    .trim()
    .slice(0, 300);
}

function decodePercent(text: string): string {
  return text.replace(/%E2%80%A6/g, "…");
}
