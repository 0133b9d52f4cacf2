import { ghToken } from "../../auth/gh-token.ts";
import { TransferError } from "../../errors.ts";
import type { ApiAnswer } from "../../transfer/api.ts";
import { redirected, refusedBy } from "../../transfer/http.ts";
import type { Place } from "../../transfer/place.ts";
import { redactUrl } from "../../transfer/redact.ts";
import { withRetries } from "../../transfer/retry.ts";
import { badAnswer, type Foreign, listIn, objectIn, parseAnswer } from "../ci/foreign-json.ts";
import { rateLimit } from "../ci/rate-limit.ts";
import type { SourceContext } from "../kinds.ts";
import { webOf } from "./address.ts";
import { type GitHubToken, messageOf, refusedByGitHub } from "./refusal.ts";

/** GitHub's REST API, at github.com or an Enterprise host. */
export interface GitHubApi {
  /** Where people look at it, without a slash at its end: "https://github.com". */
  readonly web: string;
  /** An object, by its path below the API's address ("/repos/o/r"). @throws TransferError, SourceError */
  get(path: string, signal: AbortSignal): Promise<Foreign>;
  /**
   * The items of all pages, following Link headers to the end.
   * @param key the list's name where a page is an object; undefined where a page is a list.
   */
  all(path: string, key: string | undefined, signal: AbortSignal): AsyncGenerator<Foreign>;
  /** A file that the API gives by redirecting to where it is stored, which must not get our token. */
  stored(path: string, origin: string): Place;
  /** A file that the API redirects to or sends itself. */
  file(path: string, origin: string): Place;
}

const VERSION = "2022-11-28";
const OCTETS = "application/octet-stream";
/** A page holds so many items at most, everywhere. */
const PER_PAGE = 100;
/** A file's address is good for a minute; a range that is asked for within this time needs no new one. */
const LOCATION_MS = 40_000;
/** No list is followed for longer than this: a server that always names a next page must not hold us for ever. */
const MOST_PAGES = 10_000;

type Context = Pick<SourceContext, "api" | "http" | "credentials" | "retry" | "env" | "tokens" | "answers" | "warn">;

/** @param about for people: what is asked for, first in every refusal */
export function githubApi(
  about: string,
  { api, http, credentials, retry, env, tokens, answers, warn }: Context,
): GitHubApi {
  const root = tokens.github_api_url.replace(/\/+$/, "");
  const web = webOf(root);
  const host = new URL(web).host;
  const findToken = async (): Promise<GitHubToken | undefined> => {
    if (tokens.github_token) return { from: "GITHUB_TOKEN or the configuration" };
    if (await credentials.find(root)) return { from: "rattler's credential store" };
    const value = await ghToken(host, env);
    return value === undefined ? undefined : { value, from: "gh" };
  };
  let found: Promise<GitHubToken | undefined> | undefined;
  const token = (): Promise<GitHubToken | undefined> => {
    found ??= findToken();
    return found;
  };
  const headers = async (accept: string): Promise<Record<string, string>> => {
    const own = (await token())?.value;
    return {
      accept,
      "x-github-api-version": VERSION,
      ...(own === undefined ? {} : { authorization: `Bearer ${own}` }),
    };
  };
  const limits = rateLimit(host, retry.clock, warn);

  /** One answer of 200, 302 or 304; every other status is thrown. */
  const ask = async (
    url: string,
    signal: AbortSignal,
    options: { stored?: boolean; accept?: string } = {},
  ): Promise<ApiAnswer> => {
    const sent = await headers(options.accept ?? "application/vnd.github+json");
    const known = options.stored ? undefined : answers.get(url);
    const request = {
      method: "GET" as const,
      url,
      headers: known ? { ...sent, "if-none-match": known.etag } : sent,
      ...(options.stored ? { follow: false } : {}),
    };
    const once = async (): Promise<ApiAnswer> => {
      for (;;) {
        await limits.open(signal);
        const answer = await api.send(request, signal);
        if (answer.status === 304 && known) return { ...answer, body: known.body, headers: known.headers };
        if (answer.status === 200 || (options.stored && [301, 302, 307, 308].includes(answer.status))) return answer;
        if (limits.reached(answer, (await token()) !== undefined)) continue;
        const refusal = refusedByGitHub(answer, `${about}: ${redactUrl(url)}`, {
          web,
          token: await token(),
          download: options.stored === true,
        });
        throw refusal ?? refusedBy(new URL(url), answer.status, answer.headers, messageOf(answer));
      }
    };
    // What opens a file tries again by itself.
    const answer = await (options.stored ? once() : withRetries(once, { ...retry, signal }));
    const etag = answer.headers.get("etag");
    if (answer.status === 200 && etag !== undefined && !options.stored)
      answers.set(url, { etag, headers: answer.headers, body: answer.body });
    return answer;
  };

  const locations = new Map<string, { readonly url: string; readonly until: number }>();
  const locate = async (url: string, signal: AbortSignal): Promise<string> => {
    const known = locations.get(url);
    if (known && known.until > retry.clock.now()) return known.url;
    let from = url;
    let answer = await ask(from, signal, { stored: true });
    // A repository that was renamed: the operation itself has moved, to the API's own host.
    for (let hops = 0; [301, 307, 308].includes(answer.status); hops++) {
      const moved = redirected(new URL(from), answer.headers.get("location"), hops);
      if (moved.origin !== new URL(url).origin)
        throw badAnswer(redactUrl(url), "the repository has moved to another host");
      from = moved.toString();
      answer = await ask(from, signal, { stored: true });
    }
    if (answer.status !== 302) throw badAnswer(redactUrl(url), "no address of the file came");
    const location = redirected(new URL(from), answer.headers.get("location"), 0).toString();
    locations.set(url, { url: location, until: retry.clock.now() + LOCATION_MS });
    return location;
  };

  return {
    web,
    async get(path, signal) {
      const url = `${root}${path}`;
      const answer = await ask(url, signal);
      return objectIn(parseAnswer(answer.body, url), url);
    },
    async *all(path, key, signal) {
      const seen = new Set<string>();
      let url: string | undefined = `${root}${path}${path.includes("?") ? "&" : "?"}per_page=${PER_PAGE}`;
      while (url !== undefined) {
        if (seen.has(url) || seen.size === MOST_PAGES) throw badAnswer(redactUrl(url), "its pages have no end");
        seen.add(url);
        const answer: ApiAnswer = await ask(url, signal);
        const body = parseAnswer(answer.body, url);
        for (const item of listIn(key === undefined ? body : objectIn(body, url)[key], url)) yield objectIn(item, url);
        url = nextPage(answer.headers.get("link"), url);
      }
    },
    stored(path, origin) {
      const url = `${root}${path}`;
      return {
        origin,
        async open(request, signal) {
          // Its address proves by itself that it may be read: nothing else is sent along.
          const location = await locate(url, signal);
          try {
            return await http.get({ url: location }, request, signal);
          } catch (e) {
            // An address that is no longer good is refused; a new one is for nothing.
            const over = e instanceof TransferError && (e.code === "REFUSED" || e.code === "NOT_FOUND");
            if (!over || locations.get(url)?.url !== location) throw e;
            locations.delete(url);
            return http.get({ url: await locate(url, signal) }, request, signal);
          }
        },
      };
    },
    file(path, origin) {
      const url = `${root}${path}`;
      return {
        origin,
        async open(request, signal) {
          const get = async () => http.get(url, { ...request, headers: await headers(OCTETS) }, signal);
          try {
            return await get();
          } catch (e) {
            if (!(e instanceof TransferError) || e.code !== "REFUSED") throw e;
            // Asked for as an answer, it tells which token is missing, or is given when a limit has been waited out.
            await ask(url, signal, { stored: true, accept: OCTETS });
            return get();
          }
        },
      };
    },
  };
}

/** The next page, at the same origin alone: our token goes there. @throws SourceError BAD_ANSWER */
function nextPage(link: string | undefined, from: string): string | undefined {
  const next = /<([^>]+)>\s*;[^,]*\brel="?next"?/.exec(link ?? "")?.[1];
  if (next === undefined) return undefined;
  const url = URL.parse(next, from);
  if (!url || url.origin !== new URL(from).origin) throw badAnswer(redactUrl(from), "its next page is at another host");
  return url.toString();
}
