import { TransferError } from "../errors.ts";
import type { ApiAnswer } from "../transfer/api.ts";
import { refusedBy } from "../transfer/http.ts";

/** What a registry says of blobs that a manifest names and that it does not see whole. */
const UNSEEN = new Set(["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "DIGEST_INVALID"]);

/**
 * A manifest is sent when all that it names is there. Where the registry does not see that, another run is just writing a blob of the
 * same content once more (distribution 3 on a file system writes over what it knows of a blob, empty for a moment), or one of the
 * registry's own machines has not heard of it yet: both pass.
 */
export function manifestRefused(url: URL, answer: ApiAnswer): TransferError {
  const refused = failed(url, answer);
  if (!errorsOf(answer)?.some((e) => UNSEEN.has(String(e.code)))) return refused;
  const { code, what, why } = refused;
  return new TransferError(code, { what, why, next: "run again later, or raise --retry-attempts" }, { mayPass: true });
}

/** An answer that is none, in the registry's own words. */
export function failed(url: URL, answer: ApiAnswer): TransferError {
  const words = errorsOf(answer)
    ?.map((e) => [e.code, e.message].filter((t) => typeof t === "string").join(": "))
    .join("; ");
  // What are no words of a registry is shown as it is.
  const text = words ?? Buffer.from(answer.body.subarray(0, 4096)).toString("utf8");
  return refusedBy(url, answer.status, answer.headers, text);
}

/** distribution-spec "error codes"; undefined where the answer is of another form. */
function errorsOf(answer: ApiAnswer): { code?: unknown; message?: unknown }[] | undefined {
  try {
    const { errors = [] } = JSON.parse(Buffer.from(answer.body.subarray(0, 4096)).toString("utf8")) as {
      errors?: { code?: unknown; message?: unknown }[];
    };
    return errors.map(({ code, message }) => ({ code, message }));
  } catch {
    return undefined;
  }
}
