import type { Pull } from "../ci/checks.ts";
import { githubAddress, webOf } from "./address.ts";
import type { Repository } from "./artifacts.ts";

/** A pull request, or the repository whose pull requests are asked for by author or label. */
export type PullAddress = (Pull & { readonly commit?: string }) | (Repository & { readonly number?: undefined });

/** Where names without an owner are looked for. */
const OWNER = "conda-forge";

/**
 * Reads a pull request's address: `owner/repo/pull/N`, `staged-recipes#N`, its web address; and a repository.
 * @returns undefined for what is none of these
 */
export function pullAddress(text: string, apiUrl: string): PullAddress | undefined {
  const [, repo, number] = /^([A-Za-z0-9._-]{1,100})(?:#(\d{1,19}))?$/.exec(text) ?? [];
  if (/^\d{1,19}$/.test(text)) return { owner: OWNER, repo: "staged-recipes", number: text };
  if (repo !== undefined && repo !== "." && repo !== "..")
    return { owner: OWNER, repo, ...(number === undefined ? {} : { number }) } as PullAddress;
  const found = githubAddress(text, webOf(apiUrl), apiUrl);
  if (!found) return undefined;
  const of = { owner: found.owner, repo: found.repo };
  if (found.what === "repository") return of;
  if (found.what === "pull")
    return { ...of, number: found.number, ...(found.commit === undefined ? {} : { commit: found.commit }) };
  // "owner/repo#N" is how GitHub itself writes a pull request.
  if (found.what === "artifact" && !text.includes("/actions/")) return { ...of, number: found.number };
  return undefined;
}
