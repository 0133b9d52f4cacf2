import { tableOf } from "../auth/credential.ts";
import { factsOf } from "../conda/record-facts.ts";
import { PackageError, TransferError } from "../errors.ts";
import type { Present } from "../plan/plan.ts";
import type { ApiAnswer, ApiRequest } from "../transfer/api.ts";
import { fileBody } from "../transfer/multipart.ts";
import { redactText } from "../transfer/redact.ts";
import { withRetries } from "../transfer/retry.ts";
import type { TargetContext } from "./kinds.ts";
import { retryOf, type Service, serviceTarget, type Upload } from "./service.ts";
import { askJson, isFine, jsonOf, malformed, type Refusals, refusal } from "./service-answers.ts";
import type { ServiceIndex } from "./service-index.ts";
import { badAddress, type KeySearch, neededKey, readAddress } from "./service-key.ts";
import { formFields, notStored, storeForm } from "./service-storage.ts";
import type { Target } from "./target.ts";

/*
 * A repository on Cloudsmith (its API: files_create, files_complete, packages_upload_conda, packages_status): a slot is
 * asked for, the file is sent to where the answer says, in one piece or in parts, a package is made of it, and the server
 * takes a while to look into it. That is waited for: what it refuses, duplicates among it, it refuses then. Where
 * rattler_upload 0.7 differs (parts from 0, another address to complete them), this is as Cloudsmith's own client does it.
 */

const NAME = "Cloudsmith";
const EXAMPLE = "cloudsmith://OWNER/REPOSITORY";
const API = "https://api.cloudsmith.io/v1";

/** Files from this size on are sent in parts of this size (rattler_upload: CHUNK_SIZE). */
const PART_BYTES = 100 * 1024 * 1024;

/** Between looks at what the server makes of a package, at first and at most. */
const FIRST_LOOK_MS = 500;
const LONGEST_LOOK_MS = 10_000;

/** Opens a repository. @throws UsageError BAD_TARGET for an address that is none, or where there is no key */
export async function openCloudsmith(text: string, context: TargetContext): Promise<Target> {
  const { owner, repository, typed } = addressOf(text);
  const api = new URL(context.env["CLOUDSMITH_API_URL"] || API);
  const search: KeySearch = {
    service: NAME,
    server: new URL(api.origin),
    typed,
    variables: ["CLOUDSMITH_API_KEY"],
    serverVariable: "CLOUDSMITH_API_URL",
    stored: [api.toString()],
  };
  const key = await neededKey(search, context);

  const ask = (method: ApiRequest["method"], path: string, signal: AbortSignal, json?: object): Promise<ApiAnswer> => {
    const url = `${api.toString().replace(/\/+$/, "")}/${path}`;
    return askJson(context.api, method, url, { "x-api-key": key }, signal, json);
  };
  const told = async (fileName: string, answer: Promise<ApiAnswer>): Promise<Record<string, unknown>> => {
    const got = await answer;
    if (!isFine(got)) throw refusal(NAME, fileName, got, REFUSALS);
    return jsonOf(NAME, fileName, got);
  };
  const textIn = (fileName: string, table: Record<string, unknown>, member: string): string => {
    const value = table[member];
    if (typeof value === "string" && value !== "") return value;
    throw malformed(NAME, fileName, `it has no ${member}`);
  };

  /** Gives the slot's identifier. */
  const store = async (upload: Upload, signal: AbortSignal): Promise<string> => {
    const { fileName, md5, sha256, size, body, stagedPath } = upload;
    const inParts = size >= PART_BYTES;
    const hashes = { md5_checksum: md5, sha256_checksum: sha256 };
    const wanted = { filename: fileName, ...hashes, method: inParts ? "put_parts" : "post" };
    const slot = await told(fileName, ask("POST", `files/${owner}/${repository}/`, signal, wanted));
    const identifier = textIn(fileName, slot, "identifier");
    const { url, fields } = formFields(NAME, fileName, slot["upload_url"], slot["upload_fields"] ?? {});
    if (!inParts) {
      await storeForm(NAME, fileName, url, [...fields, { name: "file", fileName, value: body }], context, signal);
      return identifier;
    }
    // Parts go through Cloudsmith itself; our key goes nowhere else.
    const headers: Record<string, string> = isOwn(new URL(url), api) ? { "x-api-key": key } : {};
    for (let part = 1, at = 0; at < size; part++, at += PART_BYTES) {
      const to = new URL(url);
      to.searchParams.set("upload_id", identifier);
      to.searchParams.set("part_number", String(part));
      const bytes = fileBody(stagedPath, size, at, Math.min(size, at + PART_BYTES));
      const one = async () => {
        const stored = await context.api.send(
          { method: "PUT", url: to.toString(), headers, body: bytes, anonymous: true },
          signal,
        );
        if (!isFine(stored)) throw notStored(NAME, fileName, stored);
      };
      await withRetries(one, { ...retryOf(context), signal });
    }
    const done = { upload_id: identifier, complete: true };
    const slotPath = `files/${owner}/${repository}/${encodeURIComponent(identifier)}`;
    const completed = await ask("POST", `${slotPath}/complete/`, signal, done);
    if (!isFine(completed)) throw refusal(NAME, fileName, completed, REFUSALS);
    return identifier;
  };

  /** Waits until the server has looked into a package. */
  const accepted = async (fileName: string, slug: string, signal: AbortSignal): Promise<"sent" | "exists"> => {
    const path = `packages/${owner}/${repository}/${encodeURIComponent(slug)}`;
    let waited = 0;
    for (let wait = FIRST_LOOK_MS; waited <= context.longestWaitMs; wait = Math.min(wait * 2, LONGEST_LOOK_MS)) {
      const look = () => told(fileName, ask("GET", `${path}/status/`, signal));
      const status = await withRetries(look, { ...retryOf(context), signal });
      if (status["is_sync_completed"] === true) return "sent";
      if (status["is_sync_failed"] === true) {
        // It would stay as a failed entry beside the good one.
        await ask("DELETE", `${path}/`, signal).catch(() => undefined);
        const reason = redactText(String(status["status_reason"] ?? status["stage_str"] ?? "it gives no reason"));
        if (/duplicate|already exists/i.test(reason)) return "exists";
        throw new PackageError("BAD_METADATA", {
          what: `${fileName}: ${NAME} did not take it`,
          why: reason,
          next: "see what the server says; the package is left out",
        });
      }
      await context.clock.sleep(wait, signal);
      waited += wait;
    }
    throw new TransferError(
      "TIMEOUT",
      {
        what: `${fileName}: ${NAME} has it, but did not say whether it takes it`,
        why: `it was still looking into it after ${Math.round(waited / 1000)} s`,
        next: "run again later, or raise --timeout-seconds",
      },
      { mayPass: false },
    );
  };

  const service: Service = {
    where: `cloudsmith://${owner}/${repository}`,
    name: NAME,
    index: repositoryIndex((fileName, signal) => {
      const query = encodeURIComponent(`filename:^${fileName}$`);
      return ask("GET", `packages/${owner}/${repository}/?page_size=100&query=${query}`, signal);
    }, context),
    async send(upload, replace, signal) {
      const { fileName } = upload;
      const identifier = await store(upload, signal);
      // Said in any case: what happens otherwise is a setting of the repository.
      const wanted = { package_file: identifier, republish: replace };
      const made = await ask("POST", `packages/${owner}/${repository}/upload/conda/`, signal, wanted);
      if (made.status === 409) return "exists";
      const slug = textIn(fileName, await told(fileName, Promise.resolve(made)), "slug_perm");
      return accepted(fileName, slug, signal);
    },
  };
  return serviceTarget(service, context);
}

const REFUSALS: Refusals = {
  key: "check that the key (CLOUDSMITH_API_KEY, --api-key, or what pixi auth login stored) may write to this repository",
  400: { error: "package", next: "see what the server says; the package is left out" },
  402: { next: "see the plan and the limits of the Cloudsmith account" },
  404: { next: "create the repository first, or check the names of owner and repository" },
  422: { error: "package", next: "see what the server says; the package is left out" },
};

/** Whether an address is the API's, or another of Cloudsmith's where the API is. */
function isOwn(url: URL, api: URL): boolean {
  const both = [url, api].every((u) => u.protocol === "https:" && /(^|\.)cloudsmith\.(io|com)$/.test(u.hostname));
  return url.origin === api.origin || both;
}

/** What the repository's own list says, one question a file name. */
function repositoryIndex(
  ask: (fileName: string, signal: AbortSignal) => Promise<ApiAnswer>,
  context: TargetContext,
): ServiceIndex {
  const asked = new Map<string, Promise<Present[]>>();
  const find = async (fileName: string, signal: AbortSignal): Promise<Present[]> => {
    const once = async () => {
      const got = await ask(fileName, signal);
      // A repository that is not there has nothing; that it is not there shows when something is sent.
      if (got.status === 404) return [];
      if (got.status !== 200) throw refusal(NAME, fileName, got, REFUSALS);
      return jsonOf(NAME, fileName, got);
    };
    const answer: unknown = await withRetries(once, { ...retryOf(context), signal });
    if (!Array.isArray(answer)) throw malformed(NAME, fileName, "it is no list of packages");
    return answer.filter(tableOf).flatMap((one): Present[] => {
      if (one["filename"] !== fileName || one["is_sync_failed"] === true) return [];
      const facts = { sha256: one["checksum_sha256"], md5: one["checksum_md5"], size: one["size"] };
      const recorded = factsOf(facts);
      const architectures = Array.isArray(one["architectures"]) ? one["architectures"].filter(tableOf) : [];
      const subdirs = architectures.map((a) => String(a["name"]));
      return subdirs.map((subdir) => ({ subdir, fileName, recorded, fileSize: recorded.size ?? 0 }));
    });
  };
  return {
    async listed(subdir, fileName, signal) {
      let all = asked.get(fileName);
      if (!all) {
        all = find(fileName, signal);
        asked.set(fileName, all);
      }
      return (await all).find((p) => p.subdir === subdir);
    },
    now: async (subdir, fileName, _, signal) => (await find(fileName, signal)).find((p) => p.subdir === subdir),
  };
}

function addressOf(text: string) {
  const { url, path, credential } = readAddress(text, "cloudsmith", EXAMPLE);
  const own = /^cloudsmith(\+http)?:/i.test(text);
  // cloudsmith://OWNER/REPOSITORY; https://cloudsmith.io/~OWNER/repos/REPOSITORY/…; app.cloudsmith.com and conda.cloudsmith.io.
  const parts = own ? [url.hostname, ...path] : path.filter((p, i) => !(i === 1 && p === "repos"));
  const [owner, repository] = parts.map((p) => p.replace(/^~/, ""));
  if (!owner || !repository || (own && parts.length > 2))
    throw badAddress(text, "it does not name an owner and a repository", EXAMPLE);
  return { owner, repository, typed: credential };
}
