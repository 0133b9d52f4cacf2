import { UsageError } from "../../errors.ts";
import { redactUrl } from "../../transfer/redact.ts";

/** What a text names at GitHub. */
export type GitHubAddress = { readonly owner: string; readonly repo: string } & (
  | { readonly what: "repository" }
  | { readonly what: "artifact" | "run" | "pull"; readonly number: string; readonly commit?: string }
  | { readonly what: "branch"; readonly branch: string }
  | { readonly what: "commit"; readonly commit: string }
  /** No tag: the latest release. */
  | { readonly what: "release"; readonly tag?: string; readonly asset?: string }
);

const OWNER = "[A-Za-z0-9][A-Za-z0-9_-]{0,99}";
const REPO = "[A-Za-z0-9._-]{1,100}";
const NUMBER = "\\d{1,19}";
/** owner/repo, and what may follow it. */
const SHORT = new RegExp(`^(${OWNER})/(${REPO})(?:#(${NUMBER})|@(${NUMBER})|/(.*))?$`);

const FORMS =
  "give owner/repo, owner/repo#ARTIFACT_ID, owner/repo@RUN_ID, owner/repo/pull/N, owner/repo/releases/tag/TAG, or the web address of one of these";

/** Where people look at what an API address serves. @param apiUrl the setting github_api_url */
export function webOf(apiUrl: string): string {
  const url = new URL(apiUrl);
  // GitHub's own hosts and those of ghe.com have the API at api.HOST; Enterprise Server has it at HOST/api/v3.
  if (/^api\./.test(url.hostname) && url.pathname === "/") url.hostname = url.hostname.slice("api.".length);
  return url.origin;
}

/**
 * Reads a text as a repository or something in it: the short forms, web addresses, and addresses of the API.
 * @param web where the web pages are: "https://github.com"
 * @param apiUrl the API's address
 * @returns undefined for what is none of these; the same for addresses of other hosts
 */
export function githubAddress(text: string, web: string, apiUrl: string): GitHubAddress | undefined {
  const host = new URL(web).host;
  // Pasted without its scheme.
  const whole = text.toLowerCase().startsWith(`${host}/`) ? `${web}${text.slice(host.length)}` : text;
  if (!/^https?:\/\//i.test(whole)) return shortAddress(whole);
  const url = URL.parse(whole);
  if (!url || url.username || url.password) return undefined;
  const api = new URL(apiUrl);
  const below = `${api.pathname.replace(/\/+$/, "")}/repos/`;
  if (url.origin === api.origin && url.pathname.startsWith(below))
    return inRepository(url.pathname.slice(below.length));
  if (url.origin !== web) return undefined;
  return inRepository(url.pathname.slice(1));
}

function shortAddress(text: string): GitHubAddress | undefined {
  const [, owner, name, artifact, run, rest] = SHORT.exec(text) ?? [];
  if (owner === undefined || name === undefined) return undefined;
  const repo = name.replace(/\.git$/, "");
  if (!isRepo(repo)) return undefined;
  if (artifact !== undefined) return { owner, repo, what: "artifact", number: artifact };
  if (run !== undefined) return { owner, repo, what: "run", number: run };
  if (rest === undefined) return { owner, repo, what: "repository" };
  return inRepository(`${owner}/${repo}/${rest}`);
}

/** A path as web pages and the API have them: owner/repo/… */
function inRepository(path: string): GitHubAddress | undefined {
  let parts: string[];
  try {
    parts = path.replace(/\/+$/, "").split("/").map(decodeURIComponent);
  } catch {
    return undefined;
  }
  const [owner = "", name = "", ...rest] = parts;
  const repo = name.replace(/\.git$/, "");
  if (!new RegExp(`^${OWNER}$`).test(owner) || !isRepo(repo)) return undefined;
  const in_ = { owner, repo };
  const number = (kind: string) =>
    rest[0] === kind && new RegExp(`^${NUMBER}$`).test(rest[1] ?? "") ? rest[1] : undefined;
  if (rest.length === 0 || (rest[0] === "actions" && rest.length === 1)) return { ...in_, what: "repository" };
  const pull = number("pull") ?? number("pulls");
  if (pull !== undefined) {
    const commit = rest[2] === "commits" && isSha(rest[3]) ? { commit: rest[3] as string } : {};
    return { ...in_, what: "pull", number: pull, ...commit };
  }
  if (rest[0] === "actions" || rest[0] === "suites") {
    const at = (kind: string) =>
      rest.findIndex((p, i) => p === kind && new RegExp(`^${NUMBER}$`).test(rest[i + 1] ?? ""));
    const artifact = at("artifacts");
    if (artifact >= 0) return { ...in_, what: "artifact", number: rest[artifact + 1] as string };
    const run = at("runs");
    return run >= 0 ? { ...in_, what: "run", number: rest[run + 1] as string } : undefined;
  }
  if (rest[0] === "tree" && rest.length > 1) return { ...in_, what: "branch", branch: rest.slice(1).join("/") };
  if ((rest[0] === "commit" || rest[0] === "commits") && isSha(rest[1]))
    return { ...in_, what: "commit", commit: rest[1] as string };
  if (rest[0] !== "releases") return undefined;
  if (rest.length === 1 || (rest[1] === "latest" && rest.length === 2)) return { ...in_, what: "release" };
  // A tag may hold slashes.
  if ((rest[1] === "tag" || rest[1] === "tags") && rest.length > 2)
    return { ...in_, what: "release", tag: rest.slice(2).join("/") };
  if (rest[1] === "download" && rest.length > 3)
    return { ...in_, what: "release", tag: rest.slice(2, -1).join("/"), asset: rest.at(-1) as string };
  return undefined;
}

/** @throws UsageError BAD_SOURCE for what `githubAddress` can't read. */
export function parseGitHubAddress(text: string, web: string, apiUrl: string): GitHubAddress {
  const address = githubAddress(text, web, apiUrl);
  if (address) return address;
  throw new UsageError("BAD_SOURCE", {
    what: `${redactUrl(text)}: nothing at GitHub is named so`,
    why: /^https?:/i.test(text)
      ? `it is no address of a repository, run, artifact, release or pull request at ${web}`
      : "it is not owner/repo, with or without what follows it",
    next: `${FORMS}; github_api_url is the setting for other hosts`,
  });
}

function isRepo(name: string): boolean {
  return new RegExp(`^${REPO}$`).test(name) && name !== "." && name !== "..";
}

function isSha(text: string | undefined): boolean {
  return /^[0-9a-f]{7,64}$/i.test(text ?? "");
}
