import { tableOf } from "../auth/credential.ts";
import type { MirrorError } from "../errors.ts";
import type { ApiAnswer } from "../transfer/api.ts";
import { type FormPart, multipart } from "../transfer/multipart.ts";
import { hideSecret } from "../transfer/redact.ts";
import type { TargetContext } from "./kinds.ts";
import { isFine, malformed, type Refusals, refusal } from "./service-answers.ts";

/*
 * Services that let a file be sent to the storage behind them: their answer names the place, and the fields of a form that
 * prove that it may be.
 */

/**
 * Where a file is to be sent, and the form fields that prove that it may be, as an answer tells it.
 * @throws TransferError SERVER_ERROR when it does not, or tells of a place that nothing is sent to
 */
export function formFields(
  service: string,
  fileName: string,
  address: unknown,
  fields: unknown,
): { readonly url: string; readonly fields: FormPart[] } {
  let url: URL;
  try {
    url = new URL(String(address));
  } catch {
    throw malformed(service, fileName, "it names no place to send the file to");
  }
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw malformed(service, fileName, `it wants the file at a ${url.protocol} address`);
  url.username = "";
  url.password = "";
  if (!tableOf(fields)) throw malformed(service, fileName, "its form has no fields");
  const parts = Object.entries(fields).map(([name, value]) => {
    if (typeof value !== "string") throw malformed(service, fileName, `the field ${name} of its form is no text`);
    hideSecret(value);
    return { name, value };
  });
  return { url: url.toString(), fields: parts };
}

/** Sends a form to where `formFields` said, without a key of ours. @throws what the storage refuses it with */
export async function storeForm(
  service: string,
  fileName: string,
  url: string,
  parts: readonly FormPart[],
  context: TargetContext,
  signal: AbortSignal,
): Promise<void> {
  const { contentType, body } = multipart(parts);
  const headers = { "content-type": contentType, accept: "application/json" };
  const stored = await context.api.send({ method: "POST", url, headers, body, anonymous: true }, signal);
  if (!isFine(stored)) throw notStored(service, fileName, stored);
}

export function notStored(service: string, fileName: string, answer: ApiAnswer): MirrorError {
  return refusal(`the storage of ${service}`, fileName, answer, STORAGE_REFUSALS);
}

const STORAGE_REFUSALS: Refusals = {
  key: "run again: the permission to store it may have ended",
  400: { error: "hash", why: "other bytes arrived than were announced", next: "run again; check what lies between" },
};
