import { SourceError, TransferError } from "../../errors.ts";
import type { ApiAnswer } from "../../transfer/api.ts";
import { redactText, redactUrl } from "../../transfer/redact.ts";

/** A token: for people, where it comes from. */
export interface GitHubToken {
  /** Set where the HTTP client does not know it by itself. */
  readonly value?: string;
  readonly from: string;
}

interface Asked {
  readonly web: string;
  readonly token: GitHubToken | undefined;
  /** A file was asked for, not a list. */
  readonly download: boolean;
}

/**
 * What GitHub means by a refusal, and what helps: which token, with which scope, and where to get it. Undefined for what
 * is no matter of tokens, and for what is there no more (404, 410) where that says enough.
 */
export function refusedByGitHub(
  answer: ApiAnswer,
  what: string,
  asked: Asked,
): TransferError | SourceError | undefined {
  const { status, headers } = answer;
  const { web, token, download } = asked;
  const words = messageOf(answer);
  const said = `GitHub answered ${status}${words ? `: ${words}` : ""}`;
  const refused = (why: string, next: string) => new TransferError("REFUSED", { what, why, next }, { mayPass: false });
  const wanted = scopes(web);
  if (status === 401 && token)
    return refused(
      `the token from ${token.from} is not accepted: it has expired, was revoked or is mistyped (${said})`,
      renew(token, web),
    );
  const sso = /url=(\S+)/.exec(headers.get("x-github-sso") ?? "")?.[1];
  if (status === 403 && sso !== undefined && URL.parse(sso)?.origin === web)
    return refused(
      `the organisation asks for single sign-on, and the token from ${token?.from ?? "nowhere"} has not been through it (${said})`,
      `authorise the token at ${redactUrl(sso)} (the whole address is in GitHub's settings, under the token's "Configure SSO")`,
    );
  if ((status === 401 || status === 403) && !token)
    return refused(
      download
        ? `artifacts are given to those who sign in alone, those of public repositories too (${said})`
        : `it is given to those who sign in alone (${said})`,
      `set GITHUB_TOKEN, or sign in with gh auth login; ${wanted}`,
    );
  if (status === 403 && token) {
    const has = headers.get("x-oauth-scopes");
    const needs = headers.get("x-accepted-oauth-scopes") || headers.get("x-accepted-github-permissions");
    return refused(
      `the token from ${token.from} may not read this (${said}${has === undefined ? "" : `; its scopes: ${has || "none"}`}${needs ? `; needed: ${redactText(needs)}` : ""})`,
      wanted,
    );
  }
  if (status === 410)
    return new TransferError(
      "NOT_FOUND",
      {
        what,
        why: `the artifact has expired: GitHub has removed its content (${said})`,
        next: "run the workflow again; a repository's settings say how long artifacts are kept",
      },
      { mayPass: false },
    );
  if (status === 404 && !download)
    return new SourceError("NOT_FOUND", {
      what,
      why: token
        ? `it does not exist, or the token from ${token.from} may not see it (${said})`
        : `it does not exist, or it is private: no token was given (${said})`,
      next: `check the name and number (a path has to be there to be taken); if it is private, ${wanted}`,
    });
  return undefined;
}

function scopes(web: string): string {
  return `a classic token needs the scope repo, a fine-grained one the permission Actions: read (${web}/settings/tokens)`;
}

function renew(token: GitHubToken, web: string): string {
  const { from } = token;
  return from === "gh" ? "run gh auth login again" : `make a new one, and set GITHUB_TOKEN to it; ${scopes(web)}`;
}

/** GitHub's own words about a refusal, cleaned. */
export function messageOf(answer: ApiAnswer): string {
  const text = Buffer.from(answer.body.subarray(0, 64 * 1024)).toString("utf8");
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === "string" ? redactText(message) : "";
  } catch {
    return /html/i.test(answer.headers.get("content-type") ?? "") ? "" : redactText(text);
  }
}
