import { SourceError, TransferError } from "../../errors.ts";
import type { ApiAnswer } from "../../transfer/api.ts";
import { refusedBy } from "../../transfer/http.ts";
import type { ByteStream, Place } from "../../transfer/place.ts";
import { redactText, redactUrl } from "../../transfer/redact.ts";
import { withRetries } from "../../transfer/retry.ts";
import { badAnswer, type Foreign, listIn, objectIn, parseAnswer } from "../ci/foreign-json.ts";
import { rateLimit } from "../ci/rate-limit.ts";
import type { SourceContext } from "../kinds.ts";
import type { AzureAddress } from "./address.ts";

/** The REST API of Azure DevOps, at dev.azure.com or on a server of one's own. Asked without a token first. */
export interface AzureApi {
  /** An object, by its path below the project ("build/builds/5"); an empty one where there is none. @throws TransferError, SourceError */
  get(of: AzureAddress, path: string, query: Query, signal: AbortSignal): Promise<Foreign>;
  /** The items of all pages, as long as there is a continuation token. */
  all(of: AzureAddress, path: string, query: Query, signal: AbortSignal): AsyncGenerator<Foreign>;
  /** The address of something below the project. */
  url(of: AzureAddress, path: string, query: Query): string;
  /** A file that is at one address for everybody, and at another one for those with a token. */
  file(
    addresses: { readonly open: string | undefined; readonly signedIn: string },
    origin: string,
    of: AzureAddress,
  ): Place;
}

export type Query = Readonly<Record<string, string>>;

/** Understood by the service and by servers since 2020. */
const VERSION = "6.0";
const MOST_PAGES = 10_000;

type Context = Pick<SourceContext, "api" | "http" | "credentials" | "retry" | "tokens" | "warn">;

export function azureApi({ api, http, credentials, retry, tokens, warn }: Context): AzureApi {
  const root = tokens.azure_devops_url.replace(/\/+$/, "");
  let known: Promise<boolean> | undefined;
  const hasToken = (): Promise<boolean> => {
    known ??= Promise.resolve(
      tokens.azure_devops_token !== null || credentials.find(root).then((c) => c !== undefined),
    );
    return known;
  };
  const limits = rateLimit(new URL(root).host, retry.clock, warn);
  /** Organisations whose projects were not shown to everybody: they need not be asked twice. */
  const closed = new Set<string>();

  const url: AzureApi["url"] = ({ organisation, project }, path, query) => {
    const search = new URLSearchParams({ ...query, "api-version": VERSION }).toString();
    return `${root}/${encodeURIComponent(organisation)}/${encodeURIComponent(project)}/_apis/${path}?${search}`;
  };

  const send = (address: string, anonymous: boolean, signal: AbortSignal): Promise<ApiAnswer> => {
    const once = async (): Promise<ApiAnswer> => {
      for (;;) {
        await limits.open(signal);
        const headers = { accept: "application/json", "x-tfs-fedauthredirect": "Suppress" };
        const answer = await api.send({ method: "GET", url: address, headers, anonymous }, signal);
        if (limits.reached(answer, true)) continue;
        const refusal = refusedBy(new URL(address), answer.status, answer.headers, messageOf(answer));
        if (answer.status >= 400 && refusal.mayPass) throw refusal;
        return answer;
      }
    };
    return withRetries(once, { ...retry, signal });
  };

  const ask = async (of: AzureAddress, address: string, signal: AbortSignal): Promise<ApiAnswer> => {
    const key = `${of.organisation}/${of.project}`;
    if (!closed.has(key)) {
      const answer = await send(address, true, signal);
      if (isGood(answer)) return answer;
      const hidden = isPage(answer) || [203, 302, 401, 403, 404].includes(answer.status);
      if (!hidden || !(await hasToken())) throw refusal(answer, address, of, false);
    }
    const answer = await send(address, false, signal);
    if (!isGood(answer)) throw refusal(answer, address, of, true);
    closed.add(key);
    return answer;
  };

  const refusal = (answer: ApiAnswer, address: string, of: AzureAddress, withToken: boolean): Error => {
    const words = messageOf(answer);
    const said = isPage(answer)
      ? "a sign-in page came"
      : `the server answered ${answer.status}${words ? `: ${words}` : ""}`;
    if (isPage(answer) || [203, 302, 401, 403].includes(answer.status))
      return notAllowed(redactUrl(address), said, of, withToken, answer.status === 403);
    if (answer.status === 404)
      return new SourceError("NOT_FOUND", {
        what: `${of.organisation}/${of.project}: ${redactUrl(address)}`,
        why: `it does not exist, or may not be seen ${withToken ? "with this token" : "without a token"} (${said})`,
        next: "check the names and the build's number; old builds are removed with their artifacts",
      });
    return refusedBy(new URL(address), answer.status, answer.headers, words);
  };

  const notAllowed = (what: string, said: string, of: AzureAddress, withToken: boolean, lacks: boolean) =>
    new TransferError(
      "REFUSED",
      {
        what,
        why: !withToken
          ? `the project is not public, and no token was given (${said})`
          : lacks
            ? `the token may not read builds (${said})`
            : `the token is not accepted: it has expired, was revoked or is for another organisation (${said})`,
        next: `set AZURE_DEVOPS_TOKEN to a personal access token with the scope Build (Read), made at ${root}/${of.organisation}/_usersSettings/tokens`,
      },
      { mayPass: false },
    );

  return {
    url,
    async get(of, path, query, signal) {
      const address = url(of, path, query);
      const answer = await ask(of, address, signal);
      if (answer.status === 204) return {};
      return objectIn(parseAnswer(answer.body, redactUrl(address)), redactUrl(address));
    },
    async *all(of, path, query, signal) {
      const seen = new Set<string>();
      for (let token: string | undefined = ""; token !== undefined; ) {
        const address = url(of, path, token ? { ...query, continuationToken: token } : query);
        if (seen.has(token) || seen.size === MOST_PAGES) throw badAnswer(redactUrl(address), "its pages have no end");
        seen.add(token);
        const answer = await ask(of, address, signal);
        const body = objectIn(parseAnswer(answer.body, redactUrl(address)), redactUrl(address));
        for (const item of listIn(body["value"], redactUrl(address))) yield objectIn(item, redactUrl(address));
        token = answer.headers.get("x-ms-continuationtoken") || undefined;
      }
    },
    file({ open: publicly, signedIn }, origin, of) {
      return {
        origin,
        async open(request, signal) {
          const from = async (address: string) => withoutPages(await http.get(address, request, signal), origin);
          if (publicly === undefined) return from(signedIn);
          try {
            return await from(publicly);
          } catch (e) {
            if (!(e instanceof TransferError) || (e.code !== "REFUSED" && e.code !== "SIGN_IN")) throw e;
            if (!(await hasToken())) throw notAllowed(origin, e.why, of, false, false);
          }
          try {
            return await from(signedIn);
          } catch (e) {
            if (!(e instanceof TransferError) || (e.code !== "REFUSED" && e.code !== "SIGN_IN")) throw e;
            throw notAllowed(origin, e.why, of, true, /403/.test(e.why));
          }
        },
      };
    },
  };
}

function isGood(answer: ApiAnswer): boolean {
  return answer.status === 204 || (answer.status === 200 && !isPage(answer));
}

/** Whether an answer is a page for people: what Azure sends to those who have to sign in, with status 200 or 203. */
function isPage(answer: ApiAnswer): boolean {
  return looksLikePage(answer.body);
}

function looksLikePage(bytes: Uint8Array): boolean {
  return /^(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|!--|\?xml)/i.test(
    Buffer.from(bytes.subarray(0, 200)).toString("latin1"),
  );
}

/** The stream, unless it is a sign-in page: then it ends in an error before a byte of it is taken. */
async function withoutPages(stream: ByteStream | "unchanged", origin: string): Promise<ByteStream | "unchanged"> {
  if (stream === "unchanged" || stream.start !== 0) return stream;
  const chunks = stream.chunks[Symbol.asyncIterator]();
  const first = await chunks.next();
  if (!first.done && looksLikePage(first.value)) {
    await chunks.return?.();
    throw new TransferError(
      "SIGN_IN",
      { what: origin, why: "a sign-in page came in place of the file", next: "give a token" },
      { mayPass: false },
    );
  }
  let begun = false;
  const rest = async function* (): AsyncGenerator<Uint8Array> {
    begun = true;
    try {
      if (first.done) return;
      yield first.value;
      for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
    } finally {
      await chunks.return?.();
    }
  };
  return {
    ...stream,
    chunks: rest(),
    cancel: () => {
      if (!begun) void chunks.return?.();
    },
  };
}

function messageOf(answer: ApiAnswer): string {
  if (isPage(answer)) return "";
  const text = Buffer.from(answer.body.subarray(0, 64 * 1024)).toString("utf8");
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === "string" ? redactText(message) : "";
  } catch {
    return redactText(text);
  }
}
