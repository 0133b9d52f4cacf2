import { TransferError } from "../errors.ts";
import { redactText } from "../transfer/redact.ts";
import { parseRetryAfter } from "../transfer/retry.ts";
import { textOf } from "./xml.ts";

/** What an S3 server refuses with. */
export class S3Failure extends TransferError {
  readonly status: number;
  /** The server's own code, such as "NoSuchBucket"; "" where it gave none, as in answers to HEAD. */
  readonly s3Code: string;
  /** The region that the bucket lies in, where the answer says so. */
  readonly region: string | undefined;
  constructor(what: string, status: number, headers: ReadonlyMap<string, string>, body: Uint8Array) {
    const xml = Buffer.from(body.subarray(0, 64 * 1024)).toString("utf8");
    const s3Code = (textOf(xml, "Code") ?? "").replace(/[^A-Za-z0-9]/g, "").slice(0, 60);
    // Of the rest of the document nothing is shown: some servers repeat the signed headers in it.
    const words = redactText(textOf(xml, "Message") ?? "");
    const why = `the server answered ${status}${s3Code ? ` ${s3Code}` : ""}${words ? `: ${words}` : ""}`;
    const told = { what, why, next: nextStep(status, s3Code) };
    super(WHO_ARE_WE.has(s3Code) ? "REFUSED" : codeOf(status), told, {
      mayPass: mayPass(status, s3Code),
      retryAfterMs: parseRetryAfter(headers.get("retry-after"), Date.now()),
    });
    this.status = status;
    this.s3Code = s3Code;
    this.region = headers.get("x-amz-bucket-region") ?? textOf(xml, "Region");
  }
}

/** Keys that the server does not know or believe. The last one is versitygw's (1.8), and comes with status 404. */
const WHO_ARE_WE = new Set(["InvalidAccessKeyId", "SignatureDoesNotMatch", "XAdminUserNotFound"]);

function codeOf(status: number): "REFUSED" | "NOT_FOUND" | "SERVER_ERROR" {
  if (status === 401 || status === 403 || status === 407) return "REFUSED";
  return status === 404 || status === 410 ? "NOT_FOUND" : "SERVER_ERROR";
}

/** Errors of a request that was damaged or late on its way. */
const PASSING = new Set([
  "RequestTimeout",
  "BadDigest",
  "IncompleteBody",
  "XAmzContentSHA256Mismatch",
  "XAmzContentChecksumMismatch",
  "InternalError",
  "SlowDown",
  "SlowDownRead",
  "SlowDownWrite",
  "ServiceUnavailable",
  "OperationAborted",
]);

function mayPass(status: number, s3Code: string): boolean {
  if (PASSING.has(s3Code)) return true;
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505);
}

function nextStep(status: number, s3Code: string): string {
  if (WHO_ARE_WE.has(s3Code)) return "check the access key and its secret, and that they are those of this server";
  switch (s3Code) {
    case "NoSuchBucket":
      return "check the bucket's name and the endpoint, or make the bucket";
    case "ExpiredToken":
    case "InvalidToken":
      return "sign in again: the session's keys are no longer good";
    case "RequestTimeTooSkewed":
      return "set this machine's clock";
  }
  if (status === 403) return "check that the keys may read, write and list this bucket";
  if (status === 301 || status === 400) return "check --s3-region and --s3-endpoint";
  return mayPass(status, s3Code)
    ? "run again later, or raise --retry-attempts"
    : "check --s3-endpoint and whoever runs the server";
}
