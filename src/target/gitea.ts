import { authorizationOf, basicAuthorization, type Credential, tableOf } from "../auth/credential.ts";
import { parseFileName } from "../conda/file-name.ts";
import { factsOf } from "../conda/record-facts.ts";
import { PackageError, TransferError } from "../errors.ts";
import type { TargetContext } from "./kinds.ts";
import { type Service, serviceTarget, type Upload } from "./service.ts";
import { jsonOf, malformed, type Refusals, refusal } from "./service-answers.ts";
import { channelIndex } from "./service-index.ts";
import { badAddress, type KeySearch, neededKey, readAddress } from "./service-key.ts";
import type { Target } from "./target.ts";

/*
 * The Conda registry of Gitea and Forgejo (docs.gitea.com/packages/packages/conda):
 * PUT {base}/api/packages/{owner}/conda[/{channel}]/{file}, the file as it is; 409 for a file that is there. What is
 * there can only be removed with all other builds of its version.
 */

const NAME = "Gitea";
const EXAMPLE =
  "https://HOST/api/packages/OWNER/conda[/CHANNEL], gitea://HOST/OWNER[/CHANNEL] or forgejo://HOST/OWNER[/CHANNEL]";

/** Opens an owner's registry, or a channel in it. @throws UsageError BAD_TARGET for an address that is none, or where there is no key */
export async function openGitea(text: string, context: TargetContext): Promise<Target> {
  const { base, owner, channel, typed } = addressOf(text);
  const search: KeySearch = {
    service: NAME,
    server: base,
    typed,
    variables: ["GITEA_TOKEN", "FORGEJO_TOKEN"],
    serverVariable: context.env["FORGEJO_SERVER_URL"] ? "FORGEJO_SERVER_URL" : "GITEA_SERVER_URL",
    stored: [base.toString()],
  };
  const proof = () => neededKey(search, context, headerOf);
  await proof();
  const where = new URL(["api/packages", owner, "conda", ...channel].join("/"), base).toString();
  const send = async (method: "GET" | "PUT" | "DELETE", url: string, signal: AbortSignal, body?: Upload["body"]) => {
    const headers = { authorization: await proof(), ...(body ? { "content-type": "application/octet-stream" } : {}) };
    return context.api.send({ method, url, headers, ...(body ? { body } : {}), anonymous: true }, signal);
  };

  /** The files of a version, and its address; undefined where there is no such version. */
  const filesOf = async ({ fileName }: Upload, signal: AbortSignal) => {
    const { name, version } = parseFileName(fileName);
    const full = encodeURIComponent([...channel, name].join("/"));
    const address = new URL(`api/v1/packages/${owner}/conda/${full}/${encodeURIComponent(version)}`, base).toString();
    const answer = await send("GET", `${address}/files`, signal);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw refusal(NAME, fileName, answer, REFUSALS);
    const listed: unknown = jsonOf(NAME, fileName, answer);
    if (!Array.isArray(listed)) throw malformed(NAME, fileName, "it is no list of files");
    return { address, files: listed.filter(tableOf), called: `version ${version} of ${name}` };
  };

  /** Removes the version that a file is of, if that is its only file. False when it has these bytes already. */
  const remove = async (upload: Upload, signal: AbortSignal): Promise<boolean> => {
    const { fileName } = upload;
    const there = await filesOf(upload, signal);
    if (!there) return true;
    const { files, address, called } = there;
    if (files.length !== 1 || files[0]?.["name"] !== fileName) {
      throw new PackageError("CONFLICT", {
        what: `${fileName}: ${NAME} can't replace it alone`,
        why: `${called} has ${files.length} files, and they can only be removed together`,
        next: "nothing was changed; remove the version there yourself, or choose --on-conflict skip",
      });
    }
    // So it is when the answer to an earlier try was lost.
    if (factsOf(files[0]).sha256 === upload.sha256) return false;
    const removed = await send("DELETE", address, signal);
    if (removed.status !== 204 && removed.status !== 200 && removed.status !== 404)
      throw refusal(NAME, fileName, removed, REFUSALS);
    return true;
  };

  /** The server is not told a hash, so it is asked for the one that it found. */
  const check = async (upload: Upload, signal: AbortSignal): Promise<void> => {
    const { fileName, subdir, sha256 } = upload;
    const all = (await filesOf(upload, signal))?.files.filter((f) => f["name"] === fileName) ?? [];
    const hashes = all.flatMap((f) => factsOf(f).sha256 ?? []);
    if (hashes.length === 0 || hashes.includes(sha256)) return;
    // Another subdir may have a file of this name.
    if (all.length === 1) await remove(upload, signal);
    throw new TransferError(
      "HASH_MISMATCH",
      {
        what: `${fileName}: other bytes arrived at ${NAME} than were sent`,
        why: `${subdir}/${fileName} has sha256 ${hashes[0]} there, and ${sha256} here`,
        next: "run again; check what lies between",
      },
      { mayPass: all.length === 1 },
    );
  };

  const service: Service = {
    where,
    name: NAME,
    index: channelIndex(
      async (path) => ({ url: `${where}/${path}`, authorization: await proof() }),
      REFUSALS.key,
      context,
    ),
    async send(upload, replace, signal) {
      if (replace && !(await remove(upload, signal))) return "sent";
      const { fileName, body } = upload;
      const answer = await send("PUT", `${where}/${encodeURIComponent(fileName)}`, signal, body);
      if (answer.status === 200 || answer.status === 201) {
        await check(upload, signal);
        return "sent";
      }
      if (answer.status === 409) return "exists";
      throw refusal(NAME, fileName, answer, REFUSALS);
    },
  };
  return serviceTarget(service, context);
}

const REFUSALS: Refusals = {
  key: "check that GITEA_TOKEN (or FORGEJO_TOKEN, or what the credentials have for the host) may write packages of this owner, and that its quota is not used up",
  400: { error: "package", next: "see what the server says; the package is left out" },
  404: { next: "check the owner's name, and that the server has its package registry switched on" },
};

/** Tokens go where a password goes. */
function headerOf(credential: Credential): string | undefined {
  if (credential.kind === "bearer" || credential.kind === "conda-token")
    return basicAuthorization(credential.token, "x-oauth-basic");
  return authorizationOf(credential);
}

/** The address that the server lies at, which ends in "/", the owner, and the channel's parts. */
function addressOf(text: string) {
  const own = /^(gitea|forgejo)(\+http)?:/i.exec(text);
  const { url, path, credential } = readAddress(text, own?.[1]?.toLowerCase() ?? "gitea", EXAMPLE);
  const at = path.findIndex((p, i) => p === "api" && path[i + 1] === "packages" && path[i + 3] === "conda");
  const [before, owner, channel] =
    at >= 0 ? [path.slice(0, at), path[at + 2], path.slice(at + 4)] : [[], path[0], path.slice(1)];
  if (owner === undefined) throw badAddress(text, "it names no owner", EXAMPLE);
  const base = new URL(before.length > 0 ? `/${before.join("/")}/` : "/", url);
  return { base, owner, channel, typed: credential };
}
