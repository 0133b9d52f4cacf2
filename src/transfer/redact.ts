/**
 * A URL as it may be shown: without user and password, conda tokens (`/t/<token>/`) and query values, which hold
 * signatures on storage hosts. What is no URL comes back as it is.
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
    return String(url);
  }
  u.username = "";
  u.password = "";
  u.hash = "";
  const query = u.search ? "?…" : "";
  u.search = "";
  u.pathname = u.pathname.replace(/\/t\/[^/]+/g, "/t/…");
  return decodePercent(u.toString()) + query;
}

/** Text of a server or a system, cleaned for a terminal and a log: one line, no URL secrets, at most 300 characters. */
export function redactText(text: string): string {
  return text
    .replace(/\bhttps?:\/\/[^\s"'<>]+/g, (url) => redactUrl(url))
    .replace(/\b(?:Bearer|Basic|token)\s+[A-Za-z0-9._~+/=-]{8,}/gi, "…")
    .replace(/[\p{Cc}\s]+/gu, " ")
    .trim()
    .slice(0, 300);
}

function decodePercent(text: string): string {
  return text.replace(/%E2%80%A6/g, "…");
}
