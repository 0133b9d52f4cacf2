import { type MirrorError, PackageError, TransferError } from "../errors.ts";
import type { ApiAnswer, ApiClient, ApiRequest } from "../transfer/api.ts";
import { refusedBy } from "../transfer/http.ts";
import { redactText } from "../transfer/redact.ts";

/** Asks in JSON, or sends some. @param own headers that prove who we are, which go nowhere else */
export function askJson(
  api: ApiClient,
  method: ApiRequest["method"],
  url: string,
  own: Readonly<Record<string, string>>,
  signal: AbortSignal,
  json?: object,
): Promise<ApiAnswer> {
  const sent = json ? { body: JSON.stringify(json) } : {};
  const headers = { ...own, accept: "application/json", ...(json ? { "content-type": "application/json" } : {}) };
  return api.send({ method, url, headers, ...sent, anonymous: true }, signal);
}

/** What is to be said and done about statuses that mean something particular to a service. */
export interface Refusals {
  /** Who has to be let in, and how: for 401 and 403. */
  readonly key: string;
  readonly [status: number]: { readonly error?: "hash" | "package"; readonly why?: string; readonly next: string };
}

/**
 * An answer with an error status, as an error of ours that names the package and has the service's own words.
 * @returns a TransferError that may pass where another try may succeed.
 */
export function refusal(service: string, fileName: string, answer: ApiAnswer, rules: Refusals): MirrorError {
  const { status, headers } = answer;
  const words = wordsOf(answer);
  const general = refusedBy(new URL(answer.url), status, headers, words);
  const rule = rules[status];
  const what = `${fileName}: ${service} did not take it`;
  const said = `the server answered ${status}${words ? `: ${words}` : ""}`;
  const why = rule?.why === undefined ? said : `${rule.why} (${said})`;
  const retry = { mayPass: general.mayPass, retryAfterMs: general.retryAfterMs };
  if (rule?.error === "hash")
    return new TransferError("HASH_MISMATCH", { what, why, next: rule.next }, { mayPass: true });
  if (rule?.error === "package") return new PackageError("BAD_METADATA", { what, why, next: rule.next });
  if (status === 401 || status === 403 || status === 407)
    return new TransferError("REFUSED", { what, why, next: rule?.next ?? rules.key }, retry);
  if (status === 413)
    return new PackageError("TOO_LARGE", { what, why, next: rule?.next ?? "ask whoever runs it for a higher limit" });
  if (status === 404)
    return new TransferError(
      "NOT_FOUND",
      { what, why, next: rule?.next ?? "check the channel's name and address; it has to be there already" },
      retry,
    );
  return new TransferError(general.code, { what, why, next: rule?.next ?? general.next }, retry);
}

/** The server's own words, out of whatever they are wrapped in. */
function wordsOf({ headers, body }: ApiAnswer): string {
  const text = Buffer.from(body.subarray(0, 4000)).toString("utf8");
  if (/html/i.test(headers.get("content-type") ?? "") || /^\s*</.test(text)) return "";
  try {
    return redactText(wordsIn(JSON.parse(text)).join("; "));
  } catch {
    return redactText(text);
  }
}

function wordsIn(value: unknown, depth = 0): string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null || depth > 3) return [];
  return Object.values(value).flatMap((v) => wordsIn(v, depth + 1));
}

/** The members of a JSON answer. @throws TransferError SERVER_ERROR when it is none */
export function jsonOf(service: string, fileName: string, answer: ApiAnswer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(answer.body).toString("utf8"));
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Told below.
  }
  throw malformed(service, fileName, "it is not the JSON that was expected");
}

export function malformed(service: string, fileName: string, why: string): TransferError {
  return new TransferError(
    "SERVER_ERROR",
    {
      what: `${fileName}: the answer of ${service} can't be understood`,
      why,
      next: "check the address; run again, or tell whoever runs it",
    },
    { mayPass: false },
  );
}

export function isFine({ status }: ApiAnswer): boolean {
  return status >= 200 && status < 300;
}
