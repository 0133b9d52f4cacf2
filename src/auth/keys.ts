import { isIP } from "node:net";

/**
 * The names under which a URL's credentials may be stored, the most particular first (rattler_networking:
 * `get_by_url_with_host`): host and port, the host, for `s3://` each prefix of the URL, then `*.domain`, climbing. The host
 * is what the URL parser says it is, so that user, port, case and escapes can't pass for it. A name that ends in a dot, and
 * an IP address, belong to no domain.
 * @param url none for what is no URL or has no host.
 */
export function keysOf(url: string): string[] {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    return [];
  }
  const { hostname, host, protocol } = parsed;
  if (hostname === "") return [];
  const keys = [host, hostname];
  if (protocol === "s3:") {
    const path = parsed.pathname.split("/").slice(1);
    for (let n = path.length; n >= 0; n--) keys.push(`s3://${[host, ...path.slice(0, n)].join("/")}`);
  }
  if (!isIP(hostname.replace(/^\[|\]$/g, "")) && !hostname.endsWith(".")) {
    const labels = hostname.split(".");
    for (let i = 0; i < labels.length; i++) keys.push(`*.${labels.slice(i).join(".")}`);
  }
  return [...new Set(keys)];
}
