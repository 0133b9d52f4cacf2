/** How the names of archives end that are looked into. Packages are none, though a `.conda` is a zip. */
export const ENDINGS = { zip: /\.zip$/i, tgz: /\.(?:tgz|tar\.gz|tar|tar\.zst|tzst|tbz2?)$/i };

/** Whether a text names an archive of a kind on this machine or at a URL. */
export function namesArchive(text: string, kind: "zip" | "tgz", where: "here" | "url"): boolean {
  if (
    isUrl(text) !== (where === "url") ||
    (!isUrl(text) && /^[a-z][a-z0-9+.-]+:\/\//i.test(text) && !/^file:/i.test(text))
  )
    return false;
  return ENDINGS[kind].test(isUrl(text) ? pathOf(text) : text);
}

/** Whether a text, as typed, is an http(s) URL. */
export function isUrl(text: string): boolean {
  return /^https?:\/\//i.test(text);
}

function pathOf(url: string): string {
  try {
    return new URL(url).pathname;
  } catch {
    return "";
  }
}
